"""Elliptical slice sampling in the prior's unbounded space (Murray, Adams & MacKay 2010).

There the prior is N(0, I) for most laws, exactly; what it has beyond counts as likelihood. A step
draws an ellipse through the current point and shrinks an arc of it until a point is likely
enough: no step size, no gradient, and a step is always possible. Steps and shrinkages are counted,
so the cost is fixed, and a chain depends on its start and its key alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


class _State(NamedTuple):
    """Of a chain: where it is (z), and the arc of the ellipse through z and ``other`` in trial."""

    step: Array
    tries: Array
    z: Array
    value: Array
    level: Array
    other: Array
    angle: Array
    low: Array
    high: Array


def walk(log_likelihood: Callable[[Array], Array], z: Array, key: Array, steps: int) -> Array:
    """The end of a chain of ``steps`` from z (d,).

    One loop runs over the trials of all steps: chains side by side then wait for the one whose
    steps took the most trials in all, not in each step for the slowest of that step.
    """

    def trial(state: _State) -> _State:
        point = state.z * jnp.cos(state.angle) + state.other * jnp.sin(state.angle)
        value = log_likelihood(point)
        found = value > state.level
        z, at = jnp.where(found, point, state.z), jnp.where(found, value, state.value)
        ends = found | (state.tries + 1 >= _SHRINKS)
        anew = _ellipse(state.step + 1, z, at, jr.fold_in(key, state.step + 1))
        return jax.tree.map(lambda a, b: jnp.where(ends, a, b), anew, _shrunk(state, key))

    first = _ellipse(jnp.zeros((), jnp.int32), z, log_likelihood(z), jr.fold_in(key, 0))
    return jax.lax.while_loop(lambda state: state.step < steps, trial, first).z


def _ellipse(step: Array, z: Array, value: Array, key: Array) -> _State:
    """A new ellipse through z, with the level that a point on it must exceed."""
    ellipse_key, level_key, angle_key = jr.split(key, 3)
    level = value + jnp.log(jr.uniform(level_key, minval=1e-12))
    angle = jr.uniform(angle_key, maxval=2 * jnp.pi)
    other = jr.normal(ellipse_key, z.shape)
    tries = jnp.zeros((), jnp.int32)
    return _State(step, tries, z, value, level, other, angle, angle - 2 * jnp.pi, angle)


def _shrunk(state: _State, key: Array) -> _State:
    """The arc without the part beyond the angle that failed, and a new angle in it."""
    low = jnp.where(state.angle < 0, state.angle, state.low)
    high = jnp.where(state.angle < 0, state.high, state.angle)
    share = jr.uniform(jr.fold_in(jr.fold_in(key, state.step), 1 + state.tries))
    angle = low + (high - low) * share
    return state._replace(tries=state.tries + 1, low=low, high=high, angle=angle)
