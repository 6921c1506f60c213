"""Simulations that are there already, as the first round of a study.

They are trained on as draws from the prior, or as weighted draws from another proposal,

    w_i = p(theta_i) / p~(theta_i).

Whether they can be is checked on each parameter by itself: the greatest distance D between the
weighted distribution function of its values and that of fresh draws from the prior
(Kolmogorov & Smirnov), for n_eff = (sum w)^2 / sum w^2 values against m draws.
"""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
from scipy.special import kolmogorov

from lanternfish.core import Model, Simulations

_DRAWS = 20_000
_CHANCE = 1e-6  # that draws from the prior are called something else, over all parameters


def check_given(model: Model, simulations: Simulations) -> None:
    """Raise where they are of another model; warn where they are no draws of its prior.

    Raises:
        TypeError, ValueError: if they are no simulations, or of other parameters or statistics.
    """
    if not isinstance(simulations, Simulations):
        raise TypeError(
            f"Expected Simulations; got {type(simulations).__name__}: arrays become some by "
            "Simulations.of(model, theta, x)."
        )
    parts = (
        ("parameters", simulations.theta.columns, model.parameters),
        ("statistics", simulations.x.columns, model.statistics),
    )
    for what, found, expected in parts:
        if [c.spec for c in found] != [c.spec for c in expected]:
            raise ValueError(
                f"Expected simulations with the model's {what}, "
                f"{', '.join(c.name for c in expected)}; got {', '.join(c.name for c in found)}."
            )
    model.prior.check_inside(simulations.theta)
    elsewhere = not_from_prior(model, simulations)
    if elsewhere:
        warnings.warn(
            "Expected simulations whose parameters are draws from the prior; got others in "
            f"{', '.join(elsewhere)}: give Simulations.of(..., weight=...), the prior's density "
            "over the proposal's, or the first round's simulations alone. Where only invalid ones "
            "were left out, the posterior stays right.",
            stacklevel=3,
        )


def not_from_prior(model: Model, simulations: Simulations) -> list[str]:
    """Names of the parameters whose values are no draws from the prior, beyond chance."""
    w = simulations.weight
    if not w.sum() > 0:
        return []
    effective = w.sum() ** 2 / np.sum(w**2)
    size = np.sqrt(effective * _DRAWS / (effective + _DRAWS))
    prior = model.prior.sample(_DRAWS, seed=0)
    level = _CHANCE / len(model.prior)
    return [
        name
        for name in model.prior.names
        if kolmogorov(size * _distance(simulations.theta[name], w, prior[name])) < level
    ]


def _distance(values: np.ndarray, weight: np.ndarray, draws: np.ndarray) -> float:
    """Greatest distance between the distribution functions of weighted values and of draws."""
    order = np.argsort(values)
    ends = np.searchsorted(values[order], np.concatenate([values, draws]), side="right")
    cumulated = np.concatenate([[0.0], np.cumsum(weight[order])]) / weight.sum()
    places = np.searchsorted(np.sort(draws), np.concatenate([values, draws]), side="right")
    return float(np.max(np.abs(cumulated[ends] - places / len(draws))))


def digest(simulations: Simulations) -> str:
    """What tells these simulations from others, to recognise a study by."""
    parts = (simulations.theta.array, simulations.x.array, simulations.weight)
    found = hashlib.sha256()
    for part in parts:
        found.update(np.ascontiguousarray(part, np.float64).tobytes())
    return found.hexdigest()[:16]
