"""``Simulations``: parameters, outputs, what became of each, seeds: appendable and durable."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lanternfish.core.columns import Column, width
from lanternfish.core.mapped import joined, take
from lanternfish.core.table import Table


class Status(enum.IntEnum):
    """What became of a simulation; ``sentence`` is what people read."""

    OK = 0
    INVALID = 1
    RAISED = 2
    TIMED_OUT = 3
    CRASHED = 4
    WRONG_SHAPE = 5
    ABANDONED = 6

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Status.OK: "gave finite statistics",
    Status.INVALID: "gave a statistic that is not a finite number",
    Status.RAISED: "raised an exception",
    Status.TIMED_OUT: "ran into the time limit",
    Status.CRASHED: "took their process down",
    Status.WRONG_SHAPE: "returned something of the wrong shape",
    Status.ABANDONED: "were abandoned early as hopeless (their share is in the weights)",
}


@dataclass(frozen=True)
class Simulations:
    """Simulations of one model, row by row.

    Attributes:
        theta: parameters, a table (n, d).
        x: statistics, a table (n, k); NaN where a simulation gave none, and in absent trials.
        status: what became of each, (n,) of ``Status``.
        weight: importance weights, (n,): averages over rows with them are unbiased. All 1 unless
            the simulator abandons hopeless rows at random.
        seeds: the seed of each, (n,) uint64.
        messages: a few sentences on failures, as simulators raised them or printed.
    """

    theta: Table
    x: Table
    status: np.ndarray
    weight: np.ndarray
    seeds: np.ndarray
    messages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = (self.theta, self.x, self.status, self.weight, self.seeds)
        lengths = {len(part) for part in parts}
        if len(lengths) != 1:
            raise ValueError(f"Expected as many rows in each part; got {sorted(lengths)}.")

    @classmethod
    def empty(cls, parameters: Sequence[Column], statistics: Sequence[Column]) -> Simulations:
        return cls(
            Table(np.zeros((0, width(parameters))), parameters),
            Table(np.zeros((0, width(statistics))), statistics),
            np.zeros(0, np.int8),
            np.zeros(0),
            np.zeros(0, np.uint64),
        )

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def valid(self) -> np.ndarray:
        """Rows whose statistics are all finite, (n,) of bool."""
        return self.status == Status.OK

    @property
    def valid_fraction(self) -> float:
        """Weighted share of valid rows; NaN where there is no row."""
        return float(np.sum(self.weight * self.valid) / len(self)) if len(self) else float("nan")

    def __getitem__(self, rows: Any) -> Simulations:
        """The rows of a slice, a mask or an array of indices; one row by its number."""
        if isinstance(rows, int | np.integer):
            rows = [rows]
        return replace(
            self,
            theta=Table(take(self.theta.array, rows), self.theta.columns),
            x=Table(take(self.x.array, rows), self.x.columns),
            status=self.status[rows],
            weight=self.weight[rows],
            seeds=self.seeds[rows],
        )

    def __add__(self, other: Simulations) -> Simulations:
        """Both sets, one after the other."""
        if self.theta.names != other.theta.names or self.x.names != other.x.names:
            raise ValueError("Expected simulations of the same model; got other names.")
        return Simulations(
            Table(joined(self.theta.array, other.theta.array), self.theta.columns),
            Table(joined(self.x.array, other.x.array), self.x.columns),
            np.concatenate([self.status, other.status]),
            np.concatenate([self.weight, other.weight]),
            np.concatenate([self.seeds, other.seeds]),
            tuple(dict.fromkeys(self.messages + other.messages))[:20],
        )

    def counts(self) -> dict[Status, int]:
        """How many simulations came to which end; ends that did not happen are left out."""
        kinds, numbers = np.unique(self.status, return_counts=True)
        return {Status(int(k)): int(n) for k, n in zip(kinds, numbers, strict=True)}

    def report(self) -> str:
        """What became of the simulations, in words."""
        return report_counts(self.counts())

    def __repr__(self) -> str:
        return f"Simulations: {self.report()}"

    def arrays(self) -> dict[str, np.ndarray]:
        """Parts by name, as they are stored."""
        return {
            "theta": self.theta.array,
            "x": self.x.array,
            "status": self.status.astype(np.int8),
            "weight": self.weight,
            "seeds": self.seeds,
        }

    @classmethod
    def from_arrays(cls, arrays, parameters, statistics, messages=()) -> Simulations:
        """Simulations from their parts."""
        return cls(
            Table(arrays["theta"], parameters),
            Table(arrays["x"], statistics),
            np.asarray(arrays["status"]),
            np.asarray(arrays["weight"]),
            np.asarray(arrays["seeds"]),
            tuple(messages),
        )


def report_counts(counts: dict[Status, int]) -> str:
    """Counts of ends, in words."""
    n = sum(counts.values())
    if not n:
        return "no simulation yet"
    parts = [f"{m:,} {status.sentence}" for status, m in sorted(counts.items())]
    return f"{n:,} simulation{'s' if n > 1 else ''}: " + "; ".join(parts) + "."
