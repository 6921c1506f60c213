"""Elliptical slice sampling in the prior's unbounded space (Murray, Adams & MacKay 2010).

There the prior is N(0, I) for most laws, exactly; what it has beyond counts as likelihood. A step
draws an ellipse through the current point and shrinks an arc of it until a point is likely
enough: no step size, no gradient, and a step is always possible. Steps and shrinkages are counted,
so the cost is fixed, and a chain depends on its start and its key alone.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array

from lanternfish.core import Prior

_SHRINKS = 16


def log_prior(prior: Prior, z: Array) -> Array:
    """Log density of the prior in its unbounded space."""
    theta, slope = prior.bijection.transform_and_log_det(z)
    return prior.log_density(theta) + slope


def beyond_normal(prior: Prior, z: Array) -> Array:
    """What the prior's log density has beyond that of N(0, I), up to a constant."""
    return log_prior(prior, z) + 0.5 * jnp.sum(z**2)


def walk(log_likelihood: Callable[[Array], Array], z: Array, key: Array, steps: int) -> Array:
    """The end of a chain of ``steps`` from z (d,)."""
    keys = jr.split(key, steps)
    return jax.lax.scan(lambda z, k: (_step(log_likelihood, z, k), None), z, keys)[0]


def _step(log_likelihood, z: Array, key: Array) -> Array:
    """One step; stays if no point was found."""
    ellipse_key, level_key, angle_key, shrink_key = jr.split(key, 4)
    other = jr.normal(ellipse_key, z.shape)
    level = log_likelihood(z) + jnp.log(jr.uniform(level_key, minval=1e-12))
    angle = jr.uniform(angle_key, maxval=2 * jnp.pi)
    draws = jr.uniform(shrink_key, (_SHRINKS,))

    def unfinished(state):
        tries, _, _, _, found, _ = state
        return (tries < _SHRINKS) & ~found

    def shrink(state):
        tries, angle, low, high, _, _ = state
        point = z * jnp.cos(angle) + other * jnp.sin(angle)
        found = log_likelihood(point) > level
        low, high = jnp.where(angle < 0, angle, low), jnp.where(angle < 0, high, angle)
        return tries + 1, low + (high - low) * draws[tries], low, high, found, point

    start = (0, angle, angle - 2 * jnp.pi, angle, False, z)
    _, _, _, _, found, point = jax.lax.while_loop(unfinished, shrink, start)
    return jnp.where(found, point, z)
