"""What a model does along a path: many noise seeds at each of its points.

At each point the share of trials whose statistics are all finite is estimated with Wilson's (1927)
interval, and every statistic has its mean and standard deviation over the trials that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lanternfish.core import Column, Model, Simulations, Table, Traces
from lanternfish.core.seeds import check_seed, stream
from lanternfish.core.summaries import in_numbers
from lanternfish.core.weighted import Share, share
from lanternfish.landscape.path import Path
from lanternfish.landscape.perturbation import moments
from lanternfish.landscape.words import aligned, named, percent
from lanternfish.simulation import simulate


@dataclass(frozen=True)
class Walk:
    """Statistics of a model along a path.

    Attributes:
        distances: of the points from the start, along the path, in prior standard deviations, (m,).
        theta: the points, a table (m, d).
        log_density: of the posterior at each, shape (m,).
        trials: simulations of each.
        valid: share of them whose statistics are all finite, one ``Share`` for each point.
        mean, sd: of each statistic over the trials in which it is finite, tables (m, k); NaN where
            there is none (for sd: one).
        lacking: share of the trials in which each statistic is NaN, shape (m, k).
        simulations: all trials, point after point.
        traces: one of each point, where the model has traces and they were asked for.
    """

    distances: np.ndarray
    theta: Table
    log_density: np.ndarray
    trials: int
    valid: tuple[Share, ...]
    mean: Table
    sd: Table
    lacking: np.ndarray
    simulations: Simulations = field(repr=False)
    traces: Traces | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.distances)

    @property
    def shares(self) -> np.ndarray:
        """Share of valid trials at each point, (m,)."""
        return np.array([s.value for s in self.valid])

    @property
    def whole(self) -> float:
        """Share of valid trials over all points."""
        return float(self.shares.mean())

    @property
    def sentence(self) -> str:
        worst = int(np.argmin(self.shares))
        low = self.valid[worst]
        told = (
            f"{percent(self.whole)} of {self.trials * len(self):,} trials are valid; the worst of "
            f"{len(self)} points, at {self.distances[worst]:.3g}, has {percent(low.value)} "
            f"({percent(low.low)} to {percent(low.high)})."
        )
        never = np.flatnonzero((self.lacking >= 1).any(axis=0))
        if len(never):
            where = (self.lacking[:, never] >= 1).any(axis=1)
            names = ", ".join(self.mean.names[i] for i in never[:3])
            more = f" and {len(never) - 3} more" if len(never) > 3 else ""
            told += (
                f" {names}{more} cannot be measured in any trial at {where.sum()} of {len(self)} "
                f"points, first at {self.distances[np.argmax(where)]:.3g}: there the model does "
                "something else."
            )
        return told

    def __repr__(self) -> str:
        ends = [0, len(self) // 2, len(self) - 1]
        rows = [["", "start", "middle", "end"]]
        rows.append(["valid", *[percent(self.valid[i].value) for i in ends]])
        for j, column in enumerate(self.mean.columns):
            pairs = [(self.mean.array[i, j], self.sd.array[i, j]) for i in ends]
            rows.append([named(column), *[f"{m:.4g} ± {s:.2g}" for m, s in pairs]])
        return f"Walk along a path\n  {self.sentence}\n{aligned(rows)}"


def walk(
    model: Model,
    path: Path,
    *,
    points: int = 20,
    trials: int = 64,
    traces: bool = False,
    statistics: Sequence[str] | None = None,
    seed: int = 0,
    executor=None,
) -> Walk:
    """Simulate a model along a path, with many noise seeds at each point.

    Args:
        model: whose parameters the path is of.
        path: of ``landscape.path`` or ``landscape.orthogonal_path``.
        points: of the path, the same length apart, ends included.
        trials: simulations of each.
        traces: whether to record a trace of each point, with the same noise at all of them.
        statistics: names of those to report; all where left out. A trial is valid where all that
            the model has are finite.
        seed: of the simulations.
        executor: as for ``lanternfish.simulate``.

    Raises:
        ValueError: if the path is of other parameters, an option does not fit, or traces are asked
            of a model that has none.
    """
    _check(model, path, points, trials, traces)
    places = np.linspace(0, 1, int(points))
    theta = np.clip(path.at(places).array, model.prior.low, model.prior.high)
    simulations = simulate(
        model,
        theta=np.repeat(theta, trials, axis=0),
        seed=stream(check_seed(seed), "walk"),
        executor=executor,
        progress=False,
    )
    table = in_numbers(simulations.x)
    columns = _chosen(table.columns, statistics)
    values = table[[c.name for c in columns]].array.reshape(len(theta), trials, len(columns))
    weight = simulations.weight.reshape(len(theta), trials)
    valid = (simulations.valid & (simulations.weight > 0)).reshape(len(theta), trials)
    known = np.isfinite(values)
    parts = [moments(values[:, :, [j]], weight * known[:, :, j]) for j in range(len(columns))]
    mean, sd = (np.concatenate([p[i] for p in parts], axis=1) for i in (0, 1))
    recorded = None
    if traces:
        one = np.full(len(theta), stream(seed, "walk traces"), np.uint64)
        recorded = model.traces(theta, one)
    return Walk(
        places * path.length,
        Table(theta, path.theta.columns),
        np.interp(places * path.length, path.position, path.log_density),
        int(trials),
        tuple(share(v, w) for v, w in zip(valid, weight, strict=True)),
        Table(mean, columns),
        Table(sd, columns),
        1 - known.mean(axis=1),
        simulations,
        recorded,
    )


def _check(model: Model, path: Path, points: int, trials: int, traces: bool) -> None:
    if not isinstance(model, Model) or not isinstance(path, Path):
        raise TypeError(
            f"Expected a Model and a Path; got {type(model).__name__} and {type(path).__name__}."
        )
    if model.prior.names != path.theta.names:
        raise ValueError(
            f"Expected a path of the model's parameters, {', '.join(model.prior.names[:4])}, ...; "
            f"got one of {', '.join(path.theta.names[:4])}, ...."
        )
    for name, value, least in (("points", points, 2), ("trials", trials, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"Expected {name}, a whole number of at least {least}; got {value!r}.")
    if traces and model.traces is None:
        raise ValueError(
            f"Expected a model with traces; got {model.name}, which has none: leave traces out."
        )


def _chosen(columns: tuple[Column, ...], names: Sequence[str] | None) -> tuple[Column, ...]:
    if names is None:
        return columns
    by_name = {c.name: c for c in columns}
    names = [names] if isinstance(names, str) else list(names)
    unknown = [n for n in names if n not in by_name]
    if unknown or not names:
        got = ", ".join(map(str, unknown)) or "none"
        raise ValueError(f"Expected statistics among {', '.join(by_name)}; got {got}.")
    return tuple(by_name[n] for n in names)
