"""Rows of parameters to the prior's unbounded space and back, in chunks of one compiled shape.

A row's result depends on neither the other rows nor how many there are.
"""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from lanternfish.core import Prior
from lanternfish.core.compilation import fast_jit

_CHUNK = 1_024


def to_unbounded(prior: Prior, theta: np.ndarray) -> np.ndarray:
    """Parameters (n, d) as points of unbounded space, (n, d) float64."""
    return _chunked(_inverse, prior, theta)


def from_unbounded(prior: Prior, z: np.ndarray) -> np.ndarray:
    """Points of unbounded space (n, d) as parameters inside the prior's bounds, (n, d) float64."""
    return np.clip(_chunked(_forward, prior, z), prior.low, prior.high)


def log_prior(prior: Prior, z: np.ndarray) -> np.ndarray:
    """Log density of the prior at points of unbounded space, with respect to these, (n,).

    Raises:
        ValueError: if the prior has no density.
    """
    return _chunked(_density, prior, z)


def _chunked(function, prior: Prior, rows: np.ndarray) -> np.ndarray:
    n = len(rows)
    if not n:
        return np.zeros(rows.shape if function is not _density else 0)
    padded = np.concatenate([rows, np.repeat(rows[:1], -n % _CHUNK, axis=0)])
    chunks = np.split(padded, len(padded) // _CHUNK)
    return np.concatenate([np.asarray(function(prior.bijection, c), float) for c in chunks])[:n]


@partial(fast_jit, brief=True)
def _inverse(bijection, theta: ArrayLike) -> Array:
    return jax.vmap(bijection.inverse)(jnp.asarray(theta, float))


@eqx.filter_jit
def _forward(bijection, z: ArrayLike) -> Array:
    return jax.vmap(bijection.transform)(jnp.asarray(z, float))


@eqx.filter_jit
def _density(bijection, z: ArrayLike) -> Array:
    def one(z):
        theta, slope = bijection.transform_and_log_det(z)
        parts = [b.log_prob(theta[np.asarray(b.places)]) for b in bijection.blocks]
        return sum(parts, start=jnp.zeros(())) + slope

    return jax.vmap(one)(jnp.asarray(z, float))
