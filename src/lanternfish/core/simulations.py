"""``Simulations``: parameters, outputs, what became of each, seeds: appendable and durable."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lanternfish.core.columns import Column, known_by_column, width
from lanternfish.core.mapped import joined, take
from lanternfish.core.model import Model
from lanternfish.core.table import Table, as_table

_ROUNDING = 1e-6  # of the prior's range, by which single precision may leave it


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

    @classmethod
    def of(cls, model: Model, theta, x, weight=None) -> Simulations:
        """Simulations of a model that were made elsewhere, such as ``theta`` and ``x`` of sbi.

        >>> import lanternfish as lf
        >>> model = lf.Model(lf.Prior(a=lf.Uniform(0, 1)), lf.Elsewhere(outputs=("b", "c")))
        >>> lf.Simulations.of(model, theta=[[0.1], [0.2]], x=[[1.0, 2.0], [1.5, float("nan")]])
        Simulations: 2 simulations: 1 gave finite statistics; 1 gave a statistic that is not a \
finite number.

        Args:
            model: whose prior the parameters are draws of, and whose statistics x holds.
            theta: a table, a mapping of names, or an array (n, d), inside the prior's bounds.
            x: a table, a mapping of names to arrays (n, *shape), or an array (n, k). Rows with NaN
                or infinity are invalid; hand them over too, they tell where the model fails.
            weight: prior over proposal density of each row, (n,), where parameters were not drawn
                from the prior; of mean 1.

        Raises:
            ValueError: if shapes or names do not fit, or parameters lie outside the prior.
        """
        theta, x = as_table(theta, model.parameters, "theta"), as_table(x, model.statistics, "x")
        n, low, high = len(theta), model.prior.low, model.prior.high
        if len(x) != n:
            raise ValueError(f"Expected as many rows of x as of theta, {n:,}; got {len(x):,}.")
        held = np.clip(theta.array, low, high)
        rounded = np.abs(held - theta.array) <= _ROUNDING * (
            np.abs(held) + np.minimum(1, high - low)
        )
        theta = model.prior.check_inside(np.where(rounded, held, theta.array))
        whole = known_by_column(x.array, x.columns).all(axis=1)
        status = np.where(whole, Status.OK, Status.INVALID).astype(np.int8)
        return cls(theta, x, status, _weights(weight, n), np.zeros(n, np.uint64))

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


def _weights(weight, n: int) -> np.ndarray:
    """Importance weights (n,), 1 where none are given."""
    if weight is None:
        return np.ones(n)
    found = np.asarray(weight, np.float64)
    if found.shape != (n,) or not np.all(np.isfinite(found) & (found >= 0)):
        raise ValueError(
            f"Expected weights of shape ({n},), finite and of 0 or more; got shape {found.shape}: "
            "each is the prior's density over the proposal's."
        )
    return found


def report_counts(counts: dict[Status, int]) -> str:
    """Counts of ends, in words."""
    n = sum(counts.values())
    if not n:
        return "no simulation yet"
    parts = [f"{m:,} {status.sentence}" for status, m in sorted(counts.items())]
    return f"{n:,} simulation{'s' if n > 1 else ''}: " + "; ".join(parts) + "."
