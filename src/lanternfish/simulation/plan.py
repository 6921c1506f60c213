"""What a campaign is to do: which simulations, with which parameters and seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lanternfish.core import (
    BatchSimulator,
    Elsewhere,
    JaxSimulator,
    Model,
    Prior,
    PythonSimulator,
)
from lanternfish.core.columns import width
from lanternfish.core.seeds import check_seed, simulation_seeds


class Source(Protocol):
    """Where parameters come from. ``name`` recognises it in a store."""

    @property
    def name(self) -> str: ...

    def draw(self, seeds: np.ndarray, row: int) -> np.ndarray:
        """Parameters (m, d) of simulations with these seeds, the first being number ``row``."""
        ...


@dataclass(frozen=True)
class FromPrior:
    """Each simulation's own draw from the prior."""

    prior: Prior
    name: str = "prior"

    def draw(self, seeds: np.ndarray, row: int) -> np.ndarray:
        return self.prior.sample_at(seeds)


class Given:
    """Parameters that the user gave, (n, d), inside the prior."""

    def __init__(self, prior: Prior, theta) -> None:
        self._array = np.ascontiguousarray(prior.check_inside(theta).array)
        self.name = f"given:{hashlib.sha256(self._array.tobytes()).hexdigest()[:16]}"

    def __len__(self) -> int:
        return len(self._array)

    def draw(self, seeds: np.ndarray, row: int) -> np.ndarray:
        return self._array[row : row + len(seeds)]


class Enumerable(Protocol):
    """Parameters by number, of which any range can be had without the others."""

    @property
    def name(self) -> str:
        """Tells it from other ones; a few words and a digest."""
        ...

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Parameters (stop - start, d) of numbers ``start`` to ``stop - 1``."""
        ...


@dataclass(frozen=True)
class FromDesign:
    """The parameters of a design from number ``first`` on: simulation i takes its row i."""

    prior: Prior
    design: Enumerable
    first: int

    @property
    def name(self) -> str:
        return f"design:{self.design.name}"

    def draw(self, seeds: np.ndarray, row: int) -> np.ndarray:
        start = self.first + row
        return self.prior.check_inside(self.design.rows(start, start + len(seeds))).array


@dataclass(frozen=True)
class FromProposal:
    """A function of the seeds (m,) that returns parameters (m, d) inside the prior."""

    prior: Prior
    function: Callable[[np.ndarray], np.ndarray]
    name: str = "proposal"

    def draw(self, seeds: np.ndarray, row: int) -> np.ndarray:
        theta = np.asarray(self.function(seeds), np.float64)
        expected = (len(seeds), len(self.prior))
        if theta.shape != expected:
            raise ValueError(f"Expected a proposal of shape {expected}; got {theta.shape}.")
        return self.prior.check_inside(theta).array


@dataclass(frozen=True)
class Plan:
    """Simulations ``first`` to ``first + n - 1`` of the study with this seed."""

    model: Model
    seed: int
    first: int
    n: int
    shard_size: int
    source: Source

    @property
    def stop(self) -> int:
        return self.first + self.n

    def ranges(self) -> Iterator[tuple[int, int]]:
        """First and last-plus-one simulation of each shard."""
        for start in range(self.first, self.stop, self.shard_size):
            yield start, min(start + self.shard_size, self.stop)

    def seeds(self, start: int, stop: int) -> np.ndarray:
        return simulation_seeds(self.seed, start, stop)

    def theta(self, start: int, stop: int) -> np.ndarray:
        """Parameters of simulations ``start`` to ``stop - 1``, (m, d)."""
        return self.source.draw(self.seeds(start, stop), start - self.first)


def make_plan(
    model: Model,
    n: int | None,
    theta,
    proposal: Callable[[np.ndarray], np.ndarray] | None,
    *,
    seed: int,
    first: int,
    shard_size: int,
) -> Plan:
    """The plan, or one sentence on what does not fit together."""
    if isinstance(model.simulator, Elsewhere):
        raise ValueError(
            f"Expected a simulator of {model.name} that runs here; got one that is elsewhere: give "
            "the model its function, or learn in one round from infer(..., simulations=...)."
        )
    if theta is not None and proposal is not None:
        raise ValueError("Expected theta or a proposal; got both.")
    source: Source = FromPrior(model.prior)
    if theta is not None and hasattr(theta, "rows"):
        first = _whole("first", first, 0)
        n = len(theta) - first if n is None else n
        if first + _whole("n", n, 0) > len(theta):
            raise ValueError(
                f"Expected at most {len(theta):,} simulations, the points of the design; got "
                f"numbers up to {first + n:,}."
            )
        source = FromDesign(model.prior, theta, first)
    elif theta is not None:
        source = Given(model.prior, theta)
        if n is not None and n != len(source):
            raise ValueError(f"Expected n of {len(source)}, the rows of theta; got {n}.")
        n = len(source)
    elif proposal is not None:
        if not callable(proposal):
            raise TypeError(f"Expected a proposal that is a function of seeds; got {proposal!r}.")
        source = FromProposal(model.prior, proposal)
    n = _whole("n", n, 0)
    first = _whole("first", first, 0)
    return Plan(model, check_seed(seed), first, n, _whole("shard_size", shard_size, 1), source)


def default_shard_size(model: Model) -> int:
    """Simulations per shard: 4096 in JAX, 1024 in batches, 64 in other Python.

    Some seconds of work and a megabyte or less, for the simulators that each kind is meant for.
    Raw data make shards of fewer simulations, but not fewer than the lanes or the block of a call.
    """
    if not isinstance(model, Model):
        raise TypeError(f"Expected a Model; got {type(model).__name__}.")
    simulator = model.simulator
    fewer = max(1, width(model.statistics) // 128)
    if isinstance(simulator, PythonSimulator):
        return 64
    if isinstance(simulator, JaxSimulator):
        return max(min(simulator.lanes, 4096), 4096 // fewer)
    least = simulator.block if isinstance(simulator, BatchSimulator) else 64
    return max(min(least, 1024), 1024 // fewer)


def _whole(name: str, value, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"Expected {name}, a whole number of at least {least}; got {value!r}.")
    return int(value)
