"""How much a posterior constrains each parameter, whatever its scale.

The central 90 % interval of the posterior holds a share m of the prior. A posterior that learned
nothing has m = 0.9, so

    narrowing = 0.9 / m

is by how much the parameter was narrowed down. It stays the same when a parameter is written as its
logarithm; for a uniform prior it is the ratio of the two intervals' widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lanternfish.core import Column, Posterior, Table

MASS = 0.9
_EDGE = 0.02  # share of the prior that counts as its edge
_PILED = 0.3  # share of the posterior at an edge that is worth a warning


@dataclass(frozen=True)
class Constraint:
    """One parameter, before and after.

    Attributes:
        column: name, unit and label.
        mean: of the posterior.
        low, high: ends of the posterior's central 90 % interval.
        prior_low, prior_high: the prior's bounds, or its central 99.8 % interval where it has none.
        narrowing: 0.9 over the share of the prior that the interval holds.
        edge: "lower" or "upper" where the posterior piles up at that end of the prior, else "".
    """

    column: Column
    mean: float
    low: float
    high: float
    prior_low: float
    prior_high: float
    narrowing: float
    edge: str


def constraints(posterior: Posterior, samples: Table, draws: int = 20_000) -> list[Constraint]:
    """Every parameter of a posterior, in its order.

    Args:
        posterior: whose prior is drawn from.
        samples: of the posterior, (n, d).
        draws: of the prior.
    """
    prior = posterior.prior.sample(draws, seed=0)
    bounds = zip(posterior.prior.low, posterior.prior.high, strict=True)
    return [
        _constraint(column, samples[column.name], np.sort(prior[column.name]), ends)
        for column, ends in zip(posterior.parameters, bounds, strict=True)
    ]


def _constraint(column: Column, samples: np.ndarray, prior: np.ndarray, ends) -> Constraint:
    low, high = np.quantile(samples, [(1 - MASS) / 2, (1 + MASS) / 2])
    held = np.searchsorted(prior, high, "right") - np.searchsorted(prior, low, "left")
    first, below, above, last = np.quantile(prior, [0.001, _EDGE, 1 - _EDGE, 0.999])
    edge = "lower" if np.mean(samples < below) > _PILED else ""
    edge = "upper" if np.mean(samples > above) > _PILED else edge
    return Constraint(
        column=column,
        mean=float(np.mean(samples)),
        low=float(low),
        high=float(high),
        prior_low=float(ends[0] if np.isfinite(ends[0]) else first),
        prior_high=float(ends[1] if np.isfinite(ends[1]) else last),
        narrowing=float(MASS * len(prior) / max(held, 1)),
        edge=edge,
    )
