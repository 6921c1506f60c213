"""Layers of one structure, whose arrays have a leading axis over layers, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array


def through(
    layers, step: Callable, x: Array, log_det: Array, *, reverse: bool = False, again: bool = True
) -> tuple[Array, Array]:  # fmt: skip
    """Points after all layers, and log |det| added to what is given.

    Args:
        step: of a layer and points gives points and log |det|.
        reverse: begin with the last layer.
        again: run each layer again for a gradient, in place of remembering its inside, which
            compiles sooner and is no slower where layers are small.
    """
    arrays, structure = eqx.partition(layers, eqx.is_array)

    def body(carry, layer):
        x, total = carry
        x, log_det = step(eqx.combine(layer, structure), x)
        return (x, total + log_det), None

    if again:
        body = jax.checkpoint(body, prevent_cse=False)
    return jax.lax.scan(body, (x, log_det), arrays, reverse=reverse)[0]
