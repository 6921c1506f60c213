"""Traces of JAX models: the same keys, and so the same noise, as in ``simulate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import Named
from lanternfish.core.prior import key_data


def keys_of(seeds: np.ndarray) -> jax.Array:
    """The keys that a ``JaxSimulator`` is given in simulations of these seeds (n,)."""
    data = jnp.asarray(key_data(np.asarray(seeds, np.uint64)))
    keys = jax.random.wrap_key_data(data, impl="threefry2x32")
    return jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)


def trace_all(
    function: Callable, names: Sequence[str], theta: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
    """``function(theta by name, key)`` of each row, such as (channels, t); shape (n, ...).

    Raises:
        ValueError: if theta is not of shape (n, parameters), or seeds not of shape (n,).
    """
    theta = np.asarray(theta, np.float64)
    if theta.ndim != 2 or theta.shape[1] != len(names):
        raise ValueError(f"Expected theta of shape (n, {len(names)}); got {theta.shape}.")
    if np.shape(seeds) != (len(theta),):
        raise ValueError(f"Expected seeds of shape ({len(theta)},); got {np.shape(seeds)}.")

    def one(values, key):
        return function(Named(values, names), key)

    rows = jnp.asarray(theta, jnp.result_type(float))
    return np.asarray(jax.jit(jax.vmap(one))(rows, keys_of(seeds)), np.float64)
