"""What comes back from running some simulations, and the sentences about what went wrong.

This module and those that workers import (``children``, ``python_call``, ``batch_call``) do without
JAX and what needs it, so that a worker starts at once and stays small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lanternfish.simulation.child import INVALID, OK, Output, complete

MESSAGES = 20  # distinct messages kept, of a shard and of a campaign


class SimulationError(RuntimeError):
    """The campaign cannot go on; the sentence says why, what is kept and what to do."""


class Stopped(Exception):
    """The campaign was stopped while this task ran."""


@dataclass
class Outcome:
    """What became of m simulations.

    Attributes:
        x: statistics, (m, k) float64; NaN where there are none.
        status: (m,) int8 of ``Status``.
        weight: importance weights, (m,).
        messages: sentences on failures.
        seconds: time that it took, where it ran.
    """

    x: np.ndarray
    status: np.ndarray
    weight: np.ndarray
    messages: tuple[str, ...] = ()
    seconds: float = 0.0

    @classmethod
    def blank(cls, m: int, k: int) -> Outcome:
        return cls(np.full((m, k), np.nan), np.zeros(m, np.int8), np.ones(m))

    def put(self, rows: slice, part: Outcome) -> None:
        """Take over the outcome of some of the rows."""
        self.x[rows], self.status[rows], self.weight[rows] = part.x, part.status, part.weight
        self.note(part.messages)

    def note(self, messages: Iterable[str]) -> None:
        self.messages = distinct([*self.messages, *messages])


def finite_status(x: np.ndarray, outputs: Sequence[Output]) -> np.ndarray:
    """OK where all statistics of a row are complete, INVALID elsewhere, (m,) int8."""
    return np.where(complete(x, outputs), OK, INVALID).astype(np.int8)


def distinct(messages: Iterable[str]) -> tuple[str, ...]:
    """The first of each kind: messages that differ in their numbers alone are of one kind."""
    kinds: dict[str, str] = {}
    for message in messages:
        if message:
            kinds.setdefault(kind_of(message), message)
    return tuple(kinds.values())[:MESSAGES]


def kind_of(message: str) -> str:
    return re.sub(r"[-+.\d]+(e[-+]?\d+)?", "#", message)


def aligned(start: int, stop: int, block: int) -> Iterator[tuple[int, int]]:
    """Parts of [start, stop) cut at the multiples of ``block``."""
    while start < stop:
        end = min(stop, (start // block + 1) * block)
        yield start, end
        start = end
