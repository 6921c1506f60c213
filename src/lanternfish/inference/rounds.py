"""A study as a method is given it, what the method hands back, and the pairs to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import Folder, Model, Observation, Posterior, Simulations
from lanternfish.inference.progress import Progress
from lanternfish.inference.training import Pairs

_FEWEST = 50  # valid simulations that a first posterior is worth building on


@dataclass(frozen=True)
class Study:
    """What a method is given: the model, its target and where and how to work."""

    model: Model
    target: Observation
    seed: int
    folder: Folder | None = None
    executor: Any = None
    tell: Callable[[Progress], None] = lambda progress: None


@dataclass(frozen=True)
class Fitted:
    """What a method hands back."""

    posterior: Posterior
    simulations: Simulations
    history: dict[str, list]


def training_pairs(model: Model, simulations: Simulations) -> Pairs:
    """Valid simulations as (unbounded parameters, statistics, weight).

    Raises:
        ValueError: if too few are valid, or a statistic never varies.
    """
    kept = simulations[simulations.valid]
    if len(kept) < _FEWEST:
        raise ValueError(
            f"Expected at least {_FEWEST} valid simulations to learn from; got {len(kept)}: "
            f"{simulations.report()} Raise the number of simulations, or narrow the prior to where "
            "the model gives finite statistics."
        )
    constant = [c.name for c in kept.x.columns if np.ptp(kept.x[c.name]) == 0]
    if constant:
        raise ValueError(
            f"Expected statistics that vary from simulation to simulation; got "
            f"{', '.join(constant)} constant: leave them out of the model and the observation."
        )
    return Pairs(unbounded(model, kept.theta.array), kept.x.array, kept.weight)


def unbounded(model: Model, theta: np.ndarray) -> np.ndarray:
    """Parameters (n, d) in the prior's unbounded space, in chunks of one compiled shape."""
    size = 8_192
    inverse = jax.jit(jax.vmap(model.prior.bijection.inverse))
    padded = np.concatenate([theta, np.repeat(theta[:1], -len(theta) % size, axis=0)])
    chunks = [np.asarray(inverse(jnp.asarray(c))) for c in np.split(padded, len(padded) // size)]
    return np.concatenate(chunks)[: len(theta)]
