"""How far a simulation is from the target, and which are near enough (ABC).

    d(x)^2 = mean_k ((x_k - x_obs,k) / s_k)^2

so that a distance of 1 is one scale s_k from the target in each statistic, however many there are.
s_k is the robust spread of the statistic over simulations of the prior (interquartile range /
1.349), the noise that the user states, or the standard deviation of an emergent property. Weights
of simulations, for a tolerance eps:

    uniform    w = 1 where d <= eps,
    gaussian   w = exp(-sum_k ((x_k - x_obs,k) / s_k)^2 / (2 eps^2)),

which are exact posteriors of another model: one whose statistics carry extra noise of that shape
(Wilkinson 2013, Stat. Appl. Genet. Mol. Biol. 12:129). Invalid simulations are infinitely far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lanternfish.core import EmergentProperty, Model, Observation, Simulations
from lanternfish.core.columns import spans
from lanternfish.core.mapped import blocks, release
from lanternfish.core.table import check_names
from lanternfish.core.weighted import quantile

_ROBUST = 1.3489795003921634  # interquartile range of the standard normal law
_HALVINGS = 60
KERNELS = ("uniform", "gaussian")

Target = Observation | EmergentProperty


@dataclass(frozen=True)
class Distance:
    """Distances of simulations from one target.

    Attributes:
        places: numbers of a row of statistics that count, (k,).
        wanted: their values, (k,).
        scale: of each, (k,), positive.
    """

    places: np.ndarray
    wanted: np.ndarray
    scale: np.ndarray

    def away(self, x: np.ndarray) -> np.ndarray:
        """Differences of rows of statistics (n, ...) from the target, in scales, (n, k)."""
        return (x[:, self.places] - self.wanted) / self.scale

    def of(self, simulations: Simulations) -> np.ndarray:
        """Distance of each simulation, (n,); infinite where it is invalid."""
        x, found = simulations.x.array, np.full(len(simulations), np.inf)
        for block in blocks(x):
            rows = np.flatnonzero(simulations.valid[block]) + block.start
            found[rows] = np.sqrt(np.mean(self.away(x[rows]) ** 2, axis=1))
            release(x)
        return found


def distance_to(
    target: Target, model: Model, reference: Simulations, noise: Mapping[str, float] | None
) -> Distance:
    """The distance from a target.

    Args:
        reference: simulations of the prior.
        noise: scale of each statistic by name, in its unit; robust spreads where left out.

    Raises:
        ValueError: if statistics are trials, never vary, or the noise does not fit.
    """
    columns = model.statistics
    if isinstance(target, EmergentProperty):
        if noise is not None:
            raise ValueError(
                "Expected no noise beside an EmergentProperty, whose standard deviations are the "
                f"scales; got noise for {', '.join(noise)}: leave it out."
            )
        return Distance(target.places(columns), target.means, target.sds)
    trials = [c.name for c in columns if c.kind == "trials"]
    if trials:
        raise ValueError(
            f"Expected statistics that can be subtracted; got {', '.join(trials)}, trials in any "
            "order: let the model report summaries of them, or learn from them with NPE."
        )
    wanted = target.array_for(columns)
    if noise is None:
        return Distance(np.arange(len(wanted)), wanted, _spreads(model, reference))
    check_names(noise, [c.name for c in columns])
    scale = np.empty(len(wanted))
    for column, span in zip(columns, spans(columns), strict=True):
        scale[span] = np.ravel(noise[column.name])
    if not np.all(np.isfinite(scale) & (scale > 0)):
        raise ValueError(f"Expected noise above 0 of each statistic; got {dict(noise)!r:.80}.")
    return Distance(np.arange(len(wanted)), wanted, scale)


def _spreads(model: Model, reference: Simulations) -> np.ndarray:
    """Robust spread of each number over valid simulations; the deviation where that is 0."""
    kept = reference[reference.valid]
    if len(kept) < 2:
        raise ValueError(
            f"Expected valid simulations to measure distances by; got {len(kept)}: "
            f"{reference.report()} Raise the number of simulations, or narrow the prior."
        )
    found = np.empty(kept.x.array.shape[1])
    for k, values in enumerate(kept.x.array.T):
        low, high = quantile(values, kept.weight, [0.25, 0.75])
        found[k] = (high - low) / _ROBUST or values.std()
    constant = [
        c.name
        for c, span in zip(model.statistics, spans(model.statistics), strict=True)
        if not np.all(found[span] > 0)
    ]
    if constant:
        raise ValueError(
            f"Expected statistics that vary from simulation to simulation; got "
            f"{', '.join(constant)} constant: leave them out of the model and the observation, or "
            "state the noise of each statistic."
        )
    return found


def kernel_weight(distance: np.ndarray, tolerance: float, kernel: str, numbers: int) -> np.ndarray:
    """Weight of each distance (n,), from 0 to 1.

    Args:
        numbers: of statistics, over which the distance is a mean.
    """
    if kernel == "uniform":
        return np.where(distance <= tolerance, 1.0, 0.0)
    return np.where(
        np.isfinite(distance),
        np.exp(-0.5 * numbers * np.minimum(distance / tolerance, 1e3) ** 2),
        0,
    )


def effective_size(weight: np.ndarray) -> float:
    """(sum w)^2 / sum w^2; 0 where all weights are 0."""
    square = float(np.sum(weight**2))
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0


def tolerance_for(
    distance: np.ndarray, weight: np.ndarray, size: float, kernel: str, numbers: int
) -> float:
    """The tolerance whose weights have this effective size; the widest, where none does.

    Args:
        distance: (n,), infinite where invalid.
        weight: of each before acceptance, (n,).
        size: effective number of simulations to accept.
    """
    order = np.argsort(distance, kind="stable")
    order = order[np.isfinite(distance[order])]
    if kernel == "uniform":
        w = weight[order]
        sizes = np.cumsum(w) ** 2 / np.maximum(np.cumsum(w**2), np.finfo(float).tiny)
        enough = np.flatnonzero(sizes >= size * (1 - 1e-9))
        return float(distance[order[enough[0] if len(enough) else -1]])
    low, high = 1e-6 * distance[order[-1]], 1e3 * distance[order[-1]]
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        w = weight * kernel_weight(distance, middle, kernel, numbers)
        low, high = (middle, high) if effective_size(w) < size else (low, middle)
    return float(high)
