"""A study as a method is given it, what the method hands back, and the pairs to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lanternfish import flows
from lanternfish.core import Column, Folder, Model, Observation, Posterior, Simulations, Status
from lanternfish.core.columns import known_by_column, spans
from lanternfish.core.mapped import allocate, blocks, release, take
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.progress import Progress
from lanternfish.inference.unbounded import to_unbounded

_FEWEST = 50  # valid simulations that a first posterior is worth building on
_FAR = 0.5  # of the range of simulations
_WORTH = (0.05, 0.9)  # share of rows that lack statistics for which they are trained on


@dataclass(frozen=True)
class Study:
    """What a method is given: the model, its target and where and how to work.

    ``given`` are simulations that stand for the first round.
    """

    model: Model
    target: Any  # an Observation, or an EmergentProperty for EPI
    seed: int
    folder: Folder | None = None
    executor: Any = None
    tell: Callable[[Progress], None] = lambda progress: None
    given: Simulations | None = None


@dataclass(frozen=True)
class Fitted:
    """What a method hands back."""

    posterior: Posterior
    simulations: Simulations
    history: dict[str, Any]
    checks: dict[str, dict] = field(default_factory=dict)


def layout_of(columns: Sequence[Column]) -> tuple[flows.Part, ...]:
    """What a flow is told of statistics: their kinds and shapes."""
    return tuple(flows.Part(c.kind, c.shape) for c in columns)


def training_pairs(model: Model, simulations: Simulations, masked: bool | None = False) -> Pairs:
    """Simulations as (unbounded parameters, statistics, weight): the valid ones.

    Args:
        masked: whether also those that lack some of their statistics, as NaN; None: where they are
            many, but not almost all (see ``worth_masking``).

    Raises:
        ValueError: if too few are valid, or a statistic never varies.
    """
    if too_few(simulations):
        valid, parameters = int(simulations.valid.sum()), len(simulations.theta.columns)
        each = f", one for each of {parameters} parameters," if parameters > _FEWEST else ""
        raise ValueError(
            f"Expected at least {max(_FEWEST, parameters)} valid simulations{each} to learn from; "
            f"got {valid}: {simulations.report()} Raise the number of simulations, or narrow the "
            "prior to where the model gives finite statistics."
        )
    low, high = ranges(simulations)
    columns = simulations.x.columns
    constant = [
        c.name for c, places in zip(columns, spans(columns), strict=True)
        if np.all((low == high)[places] | np.isnan(low[places]))
    ]  # fmt: skip
    if constant:
        raise ValueError(
            f"Expected statistics that vary from simulation to simulation; got "
            f"{', '.join(constant)} constant: leave them out of the model and the observation."
        )
    rows = np.flatnonzero(trained_on(simulations, masked))
    theta, x = simulations.theta.array, simulations.x.array
    z, c = (allocate((len(rows), a.shape[1]), np.float32) for a in (theta, x))
    for block in blocks(c):
        z[block] = to_unbounded(model.prior, theta[rows[block]])
        c[block] = np.where(np.isfinite(x[rows[block]]), x[rows[block]], np.nan)
        release(z, c, theta, x)
    return Pairs(z, c, simulations.weight[rows])


def ranges(simulations: Simulations) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of each number of the statistics, (k,), over valid simulations.

    NaN where a number, of a trial that is always absent, never was there.
    """
    x, valid = simulations.x.array, simulations.valid
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    for block in blocks(x):
        part = x[block][valid[block]]
        low = np.fmin(low, np.fmin.reduce(part, axis=0, initial=np.inf))
        high = np.fmax(high, np.fmax.reduce(part, axis=0, initial=-np.inf))
        release(x)
    absent = low > high
    return np.where(absent, np.nan, low), np.where(absent, np.nan, high)


def too_few(simulations: Simulations) -> bool:
    """Whether so few are valid that no posterior can be learned: below 50, or the parameters."""
    return int(simulations.valid.sum()) < max(_FEWEST, len(simulations.theta.columns))


def trained_on(simulations: Simulations, masked: bool | None) -> np.ndarray:
    """Rows to train on, (n,) of bool: the valid ones, and with ``masked`` those partly known."""
    partial = partly_known(simulations)
    if masked is None:
        masked = worth_masking(int(simulations.valid.sum()), int(partial.sum()))
    return simulations.valid | (partial & masked)


def partly_known(simulations: Simulations) -> np.ndarray:
    """Rows that lack some statistics, but not all, (n,) of bool."""
    found = simulations.status == Status.INVALID
    lacking = np.flatnonzero(found)
    known = known_by_column(take(simulations.x.array, lacking), simulations.x.columns)
    found[lacking] = known.any(axis=1)
    return found


def worth_masking(valid: int, partial: int) -> bool:
    """Whether to train on rows that lack statistics: where they are 5 to 90 % of all rows.

    Leaving them out is right for an observation that lacks nothing: so few are not worth the
    indicators, and where almost all lack something, it is they that would be learned.
    """
    share = partial / max(valid + partial, 1)
    return _WORTH[0] <= share <= _WORTH[1]


def far_off(target: Observation, simulations: Simulations) -> str | None:
    """One sentence on statistics of an observation far outside of all simulations, if any are.

    Far: beyond the range of the valid simulations by more than ``_FAR`` of that range.
    """
    far, columns = [], simulations.x.columns
    lows, highs = ranges(simulations)
    for column, places in zip(columns, spans(columns), strict=True):
        if column.is_array:
            continue
        low, high = float(lows[places.start]), float(highs[places.start])
        value, reach = float(target[column.name]), _FAR * (high - low)
        if not low - reach <= value <= high + reach:
            far.append(f"{column.name} of {value:.4g} (simulated: {low:.4g} to {high:.4g})")
    if not far:
        return None
    return (
        f"Expected an observation that the model can produce; got {', '.join(far)}, far outside "
        f"all {int(simulations.valid.sum()):,} valid simulations of the prior: the posterior is "
        "extrapolation there. Check the units, widen the prior, or mend the model."
    )
