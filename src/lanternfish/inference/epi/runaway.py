"""Whether entropy has a largest value at all.

Of parameters without bounds, entropy relative to their volume has no largest value where the
property does not hold them: the density grows and grows. A density whose spread along one of them
has passed ``_FAR`` times the prior's is taken for such a one.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import Prior
from lanternfish.flows import Pushforward, Steered
from lanternfish.inference.epi.problem import Problem

_FAR = 20.0  # of the prior's spread
_DRAWS = 256


def check_held(flow: Pushforward | Steered, problem: Problem) -> None:
    """Raise one sentence if the density runs away.

    Raises:
        ValueError: if the property does not hold parameters without bounds.
    """
    loose = _loose(problem.prior)
    if problem.base == "prior" or not loose.any():
        return
    run = (np.asarray(_spreads(flow)) > _FAR) & loose
    if run.any():
        names = ", ".join(np.array(problem.prior.names)[run])
        raise ValueError(
            f"Expected a property that holds every parameter without bounds; got {names} spread "
            f"over more than {_FAR:g} times the prior's width and growing, so that no entropy is "
            "the largest: bound it, add a statistic that depends on it, or use base='prior'."
        )


def _loose(prior: Prior) -> np.ndarray:
    """Which parameters lack a bound, (d,) of bool."""
    return ~(np.isfinite(prior.low) & np.isfinite(prior.high))


@eqx.filter_jit
def _spreads(flow: Pushforward | Steered) -> Array:
    """Distance between the quartiles of q in unbounded space, over the normal's, (d,)."""
    z = flow.forward(jax.random.normal(jax.random.key(0), (flow.dim, _DRAWS)))[0]
    low, high = jnp.quantile(z, jnp.array([0.25, 0.75]), axis=1)
    return (high - low) / (2 * 0.6745)
