"""Samples of a density within bounds, by slices along random directions, many chains at once.

From a point u a level log p(u) + log U is drawn and a direction v ~ N(0, S); along u + t v the
bracket t_0 <= 0 <= t_0 + 1, placed at random around 0 and cut at the bounds, is shrunk towards 0
until a point lies above the level (Neal 2003, Ann Stat 31:705, sections 4.1 and 5). S is a rough
covariance: what it is changes how fast chains mix, not what they converge to.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

_SHRINKS = 40


class Box(eqx.Module):
    """Where chains move, and along which directions."""

    low: Array
    high: Array
    root: Array  # of the covariance of directions, (k, k)


def _step(density: Callable, box: Box, u: Array, value: Array, key: Array) -> tuple[Array, Array]:
    level_key, way_key, place_key, shrink_key = jr.split(key, 4)
    level = value + jnp.log(jr.uniform(level_key, minval=1e-12))
    way = box.root @ jr.normal(way_key, u.shape)
    ends = jnp.stack([(box.low - u) / way, (box.high - u) / way])
    ends = jnp.where(way == 0, jnp.array([[-jnp.inf], [jnp.inf]]), jnp.sort(ends, axis=0))
    place = jr.uniform(place_key)
    low = jnp.maximum(-place, jnp.max(ends[0]))
    high = jnp.minimum(1 - place, jnp.min(ends[1]))

    def trial(state):
        tries, low, high, _, _, _ = state
        t = low + (high - low) * jr.uniform(jr.fold_in(shrink_key, tries))
        point = jnp.clip(u + t * way, box.low, box.high)
        found = density(point)
        good = found > level
        low, high = jnp.where(t < 0, t, low), jnp.where(t < 0, high, t)
        return tries + 1, low, high, point, found, good

    def going(state):
        return (state[0] < _SHRINKS) & ~state[-1]

    start = (jnp.zeros((), jnp.int32), low, high, u, value, jnp.asarray(False))
    *_, point, found, good = jax.lax.while_loop(going, trial, start)
    return jnp.where(good, point, u), jnp.where(good, found, value)


@eqx.filter_jit
def _run(density, arguments, box: Box, starts: Array, key: Array, burn: int, keep: int, thin: int):
    def one(u, key):
        def at(point):
            value = density(arguments, point)
            return jnp.where(jnp.isnan(value), -jnp.inf, value)

        def step(carry, k):
            return _step(at, box, *carry, k), None

        def kept(carry, k):
            carry = jax.lax.scan(step, carry, jr.split(k, thin))[0]
            return carry, carry[0]

        burn_key, keep_key = jr.split(key)
        carry = jax.lax.scan(step, (u, at(u)), jr.split(burn_key, burn))[0]
        return jax.lax.scan(kept, carry, jr.split(keep_key, keep))[1]

    return jax.vmap(one)(starts, jr.split(key, len(starts)))


def draw(
    density: Callable, arguments, box: Box, starts: np.ndarray, seed: int, *,
    burn: int, keep: int, thin: int,
) -> np.ndarray:  # fmt: skip
    """Draws of chains from starts (c, k), shape (c, keep, k).

    Args:
        density: ``density(arguments, u)``, log density of one point (k,) up to a constant.
        arguments: what it takes beside the point; its numbers are not compiled in.
        box: bounds and directions.
        starts: points of finite density, one for each chain.
        seed: of the chains.
        burn: steps before the first draw.
        keep: draws of each chain.
        thin: steps between two.
    """
    key = jr.key(seed % 2**32)
    found = _run(density, arguments, box, jnp.asarray(starts, jnp.float32), key, burn, keep, thin)
    return np.asarray(found, np.float64)


def rhat(chains: np.ndarray) -> np.ndarray:
    """Split R-hat of each coordinate of chains (c, m, k), shape (k,): 1 where they agree.

    Gelman et al., Bayesian Data Analysis (2013), section 11.4.
    """
    half = chains.shape[1] // 2
    if half < 2:
        return np.full(chains.shape[2], np.nan)
    parts = np.concatenate([chains[:, :half], chains[:, half : 2 * half]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = parts.mean(axis=1).var(axis=0, ddof=1)
    within = np.maximum(within, 1e-300)
    return np.sqrt((half - 1) / half + between / within)
