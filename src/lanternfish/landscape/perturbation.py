"""Perturbation test: what the model does along a direction of its parameters.

Around a point theta* the model is simulated, several trials each, at

    theta = theta* + delta v

for distances delta along the direction v. A stiff direction of the posterior should change the
behaviour, a sloppy one should not. The test is a straight line through the means over trials

    mean_i = a + slope delta_i + error,    or    |x - target|_i = a + slope |delta_i| + error

where there is a target, each mean weighted by its number of trials. Its p-value is that of
Student's t with m - 2 degrees of freedom for m distances: the error holds the noise of trials and
what a line cannot follow, so that more trials of a bent curve do not feign certainty.

Reference: Bittner et al. (2021), eLife 10:e56265, figures 1 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lanternfish.core import Column, Model, Observation, Simulations, Table
from lanternfish.core.columns import width
from lanternfish.core.seeds import check_seed, stream
from lanternfish.core.summaries import in_numbers
from lanternfish.core.table import as_table
from lanternfish.landscape.modes import Mode, Modes
from lanternfish.landscape.space import as_one_point
from lanternfish.landscape.words import aligned, named
from lanternfish.simulation import simulate

_SLACK = 1e-9  # of the prior's width, by which rounding may pass a bound


@dataclass(frozen=True)
class Slope:
    """A straight line through the means of one quantity.

    Attributes:
        column: the statistic.
        of: "statistic" against the distance, or "misfit", |statistic - target|, against its size.
        value: change for a distance of 1, in the statistic's unit.
        error: standard error of the value.
        p: of a slope at least as far from 0, were there none; NaN with fewer than three distances.
    """

    column: Column
    of: str
    value: float
    error: float
    p: float


@dataclass(frozen=True)
class Perturbation:
    """Statistics of a model along a direction.

    Attributes:
        distances: shape (m,).
        theta: the points, a table (m, d).
        inside: whether a point lies inside the prior's bounds, (m,); others are not simulated.
        valid: trials of each point that gave finite statistics, (m,).
        trials: how many were simulated.
        mean, sd: of the valid trials, tables (m, k); NaN where there is none (for sd: one).
        slopes: one for each statistic.
        target: mean and standard deviation (0 where none was given) of statistics by name.
        simulations: all trials, point after point.
    """

    distances: np.ndarray
    theta: Table
    inside: np.ndarray
    valid: np.ndarray
    trials: int
    mean: Table
    sd: Table
    slopes: tuple[Slope, ...]
    target: Mapping[str, tuple[float, float]]
    simulations: Simulations = field(repr=False)

    def __repr__(self) -> str:
        m = len(self.distances)
        ends = f"{self.distances.min():.4g} to {self.distances.max():.4g}"
        lines = [f"Perturbation: {m} distances from {ends}, {self.trials} trials each"]
        rows = [["", "slope", "error", "p"]]
        for s in self.slopes:
            name = named(s.column) if s.of == "statistic" else f"|{s.column.name} − target|"
            p = "< 1e-4" if s.p < 1e-4 else "unknown" if np.isnan(s.p) else f"{s.p:.2g}"
            rows.append([name, f"{s.value:.4g}", f"{s.error:.2g}", p])
        lines.append(aligned(rows))
        out, bad = int(np.sum(~self.inside)), int(np.sum(self.inside & (self.valid == 0)))
        if out:
            lines.append(f"  {out} of {m} points lie outside the prior and were not simulated")
        if bad:
            lines.append(f"  {bad} of {m} points gave no valid trial")
        return "\n".join(lines)


def perturb(
    model: Model,
    at: Mode | Modes | Table,
    direction,
    distances,
    *,
    trials: int = 25,
    statistics: Sequence[str] | None = None,
    target: Mapping | None = None,
    seed: int = 0,
    executor=None,
) -> Perturbation:
    """Simulate a model along a direction from a point, and test whether its statistics change.

    Args:
        model: prior, simulator and statistics.
        at: a mode, or one point by name or in order.
        direction: change of the parameters for a distance of 1, by name, shape (d,) or a table of
            one row, such as ``sensitivity(posterior).directions[0]``.
        distances: shape (m,), either sign.
        trials: simulations of each point.
        statistics: names of those to look at; all where left out. Of raw data the mean and the
            standard deviation of each channel.
        target: values of statistics by name: a number, or its mean and standard deviation. Those
            named are tested by their misfit |statistic - target|.
        seed: of the simulations.
        executor: as for ``lanternfish.simulate``.

    Raises:
        ValueError: if shapes or names do not fit, the direction is 0, the point lies outside the
            bounds, or every point of the walk does.
    """
    prior = model.prior
    start = as_one_point(prior.check_inside(_theta(at)), prior.columns, "at")
    step = _direction(direction, prior.columns)
    delta = _distances(distances)
    if isinstance(trials, bool) or not isinstance(trials, int | np.integer) or trials < 1:
        raise ValueError(f"Expected trials, a whole number of at least 1; got {trials!r}.")
    theta = start + delta[:, None] * step
    inside = _inside(prior, theta)
    if not inside.any():
        raise ValueError(
            "Expected distances that stay inside the prior's bounds; got none: shorten them."
        )
    columns = _columns(model, statistics)
    goal = _target(target, columns)
    held = np.clip(theta[inside], prior.low, prior.high)
    simulations = simulate(
        model,
        theta=np.repeat(held, trials, axis=0),
        seed=stream(check_seed(seed), "perturbation"),
        executor=executor,
        progress=False,
    )
    x = in_numbers(simulations.x)[[c.name for c in columns]]
    values = np.full((len(delta), trials, len(columns)), np.nan)
    weight = np.zeros((len(delta), trials))
    values[inside] = x.array.reshape(-1, trials, len(columns))
    weight[inside] = (simulations.weight * simulations.valid).reshape(-1, trials)
    mean, sd = moments(values, weight)
    valid = np.sum(weight > 0, axis=1)
    slopes = [_slope(c, delta, values[:, :, j], weight, goal) for j, c in enumerate(columns)]
    tables = Table(theta, prior.columns), Table(mean, columns), Table(sd, columns)
    return Perturbation(
        delta, tables[0], inside, valid, int(trials), *tables[1:], tuple(slopes), goal, simulations
    )


def moments(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over trials, shape (m, k), of values (m, trials, k)."""
    share = weight[:, :, None]
    known = np.where(share > 0, values, 0.0)
    total = share.sum(axis=1)
    count = np.sum(share > 0, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(share * known, axis=1) / total
        away = np.where(share > 0, values - mean[:, None], 0.0)
        square = np.sum(share * away**2, axis=1) / total * count / (count - 1)
        return mean, np.sqrt(np.where(count > 1, square, np.nan))


def line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Slope, its standard error and p-value of a weighted straight line; NaN where unknown."""
    from scipy.stats import t as student

    kept = np.isfinite(y) & (weight > 0)
    x, y, w = x[kept], y[kept], weight[kept]
    if len(np.unique(x)) < 2:
        return np.nan, np.nan, np.nan
    x = x - np.average(x, weights=w)
    y = y - np.average(y, weights=w)
    spread = np.sum(w * x**2)
    slope = np.sum(w * x * y) / spread
    left = len(x) - 2
    if left < 1:
        return float(slope), np.nan, np.nan
    error = np.sqrt(np.sum(w * (y - slope * x) ** 2) / left / spread)
    if error == 0:
        return float(slope), 0.0, 0.0 if slope else 1.0
    return float(slope), float(error), float(2 * student.sf(abs(slope) / error, left))


def _slope(
    column: Column, delta: np.ndarray, values: np.ndarray, weight: np.ndarray, goal: Mapping
) -> Slope:
    of, x = "statistic", delta
    if column.name in goal:
        of, x = "misfit", np.abs(delta)
        values = np.abs(values - goal[column.name][0])
    mean = moments(values[:, :, None], weight)[0][:, 0]
    return Slope(column, of, *line(x, mean, weight.sum(axis=1)))


def _theta(at):
    if isinstance(at, Modes):
        at = at[0]
    return at.theta if isinstance(at, Mode) else at


def _direction(direction, columns: tuple[Column, ...]) -> np.ndarray:
    if isinstance(direction, Mapping):
        unknown = [n for n in direction if n not in [c.name for c in columns]]
        if not unknown:
            direction = {c.name: 0.0 for c in columns} | dict(direction)
    step = as_one_point(as_table(direction, columns, "direction"), columns, "direction")
    if not np.isfinite(step).all() or not np.any(step):
        raise ValueError(f"Expected a finite direction other than 0; got {step}.")
    return step


def _distances(distances) -> np.ndarray:
    delta = np.atleast_1d(np.asarray(distances, np.float64))
    if delta.ndim != 1 or not len(delta) or not np.isfinite(delta).all():
        raise ValueError(f"Expected finite distances of shape (m,); got {distances!r:.80}.")
    return delta


def _inside(prior, theta: np.ndarray) -> np.ndarray:
    """Points inside the bounds, up to rounding."""
    with np.errstate(invalid="ignore"):
        width = prior.high - prior.low
    slack = np.where(np.isfinite(width), _SLACK * width, 0.0)
    return np.all((theta >= prior.low - slack) & (theta <= prior.high + slack), axis=1)


def _columns(model: Model, statistics: Sequence[str] | None) -> tuple[Column, ...]:
    columns = in_numbers(Table(np.zeros((1, width(model.statistics))), model.statistics)).columns
    if statistics is None:
        return columns
    if isinstance(statistics, str):
        statistics = [statistics]
    by_name = {c.name: c for c in columns}
    unknown = [name for name in statistics if name not in by_name]
    if unknown or not len(statistics):
        got = ", ".join(map(str, unknown)) or "none"
        raise ValueError(f"Expected statistics among {', '.join(by_name)}; got {got}.")
    return tuple(by_name[name] for name in statistics)


def _target(target: Mapping | None, columns: tuple[Column, ...]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation by name; an observation may know further statistics."""
    names = [c.name for c in columns]
    found = {}
    for name, value in (target or {}).items():
        if name not in names:
            if isinstance(target, Observation):
                continue
            raise ValueError(f"Expected a target of {', '.join(names)}; got {name} too.")
        pair = np.atleast_1d(np.asarray(value, np.float64))
        if pair.shape not in ((1,), (2,)) or not np.isfinite(pair).all() or (pair[1:] < 0).any():
            raise ValueError(
                f"Expected a number, or mean and standard deviation, for {name}; got {value!r:.80}."
            )
        found[name] = (float(pair[0]), float(pair[1]) if len(pair) > 1 else 0.0)
    return found
