"""Running a ``BatchSimulator``: blocks of parameter sets in compiled code, over threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import cloudpickle
import numpy as np

from lanternfish.simulation.child import ABANDONED, RAISED, described, explain, width
from lanternfish.simulation.outcome import (
    Outcome,
    SimulationError,
    Stopped,
    aligned,
    finite_status,
)
from lanternfish.simulation.python_call import pickled

if TYPE_CHECKING:
    from lanternfish.core import BatchSimulator


class BatchCall:
    """Calls the function on blocks of rows that are aligned to multiples of the block's size.

    Where a block raises, its rows are run one by one, so that those which raise are alone in it.
    """

    def __init__(self, simulator: BatchSimulator, names: tuple[str, ...]) -> None:
        self._function = simulator.function
        self._outputs = tuple(c.spec for c in simulator.columns)
        self._k = width(self._outputs)
        self._block = simulator.block
        self._stopped = False
        self._sent = b""

    def __getstate__(self) -> dict:
        self._sent = self._sent or pickled(self._function)
        return {**self.__dict__, "_function": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _function=_loaded(state["_sent"]))

    def __call__(self, theta: np.ndarray, seeds: np.ndarray, start: int) -> Outcome:
        began = time.perf_counter()
        out = Outcome.blank(len(theta), self._k)
        for a, b in aligned(start, start + len(theta), self._block):
            if self._stopped:
                raise Stopped
            rows = slice(a - start, b - start)
            out.put(rows, self._run(theta[rows], seeds[rows]))
        out.seconds = time.perf_counter() - began
        return out

    def _run(self, theta: np.ndarray, seeds: np.ndarray) -> Outcome:
        try:
            result = self._function(theta.copy(), seeds.copy())
        except Exception as error:
            return self._run_singly(theta, seeds, error)
        return self._read(result, len(theta))

    def _run_singly(self, theta, seeds, error: Exception) -> Outcome:
        out = Outcome.blank(len(theta), self._k)
        if len(theta) == 1:
            out.status[:] = RAISED
            out.note([explain(error)])
            return out
        for i in range(len(theta)):
            out.put(slice(i, i + 1), self._run(theta[i : i + 1], seeds[i : i + 1]))
        return out

    def _read(self, result, m: int) -> Outcome:
        x, weight = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        k = self._k
        expected = f"Expected statistics of shape ({m}, {k}) ({described(self._outputs)})"
        x = self._named(x, m, expected) if isinstance(x, Mapping) else _numbers(x, expected)
        if len(self._outputs) == 1 and x.shape == (m, *self._outputs[0][1]):
            x = x.reshape(m, k)
        if x.shape != (m, k):
            raise SimulationError(f"{expected} from the simulator; got shape {x.shape}.")
        if weight is None:
            return Outcome(x, finite_status(x, self._outputs), np.ones(m))
        weight = _numbers(weight, f"Expected weights of shape ({m},)")
        if weight.shape != (m,):
            raise SimulationError(
                f"Expected weights of shape ({m},) from the simulator; got shape {weight.shape}."
            )
        if not (np.isfinite(weight).all() and (weight >= 0).all()):
            raise SimulationError("Expected finite weights of at least 0; got others.")
        status = np.where(weight == 0, np.int8(ABANDONED), finite_status(x, self._outputs))
        return Outcome(x, status, weight)

    def _named(self, result: Mapping, m: int, expected: str) -> np.ndarray:
        """The values of a dictionary, side by side."""
        if set(result) != {name for name, _, _ in self._outputs}:
            got = ", ".join(map(str, result)) or "no name"
            raise SimulationError(f"{expected} from the simulator; got {got}.")
        parts = [_numbers(result[name], expected) for name, _, _ in self._outputs]
        for (name, shape, _), part in zip(self._outputs, parts, strict=True):
            if part.shape != (m, *shape):
                raise SimulationError(f"{expected}; got shape {part.shape} for {name}.")
        return np.concatenate([part.reshape(m, -1) for part in parts], axis=1)

    def stop(self) -> None:
        self._stopped = True


def _numbers(values, expected: str) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise SimulationError(
            f"{expected} from the simulator; got {type(values).__name__}: return an array."
        ) from None


@lru_cache(maxsize=8)
def _loaded(data: bytes) -> Callable:
    return cloudpickle.loads(data)
