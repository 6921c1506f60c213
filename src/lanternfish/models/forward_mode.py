"""Gradients carried forward in time, for simulators of few parameters and many steps.

    reverse:  one pass back, whatever the number of parameters; stores or repeats all steps
    forward:  d state / d theta travels with the state; d times the arithmetic, no memory

With two to four parameters and hundreds of noisy steps forward is the cheaper one: nothing is
stored, and noise is drawn once. ``jax.grad`` of what is wrapped here costs that, and composes with
``jit`` and ``vmap`` as before.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array


def forward_mode(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """The same ``function(theta (d,), key) -> (k,)``, whose backward pass is a product with J."""

    @jax.custom_vjp
    def run(theta: Array, key: Array) -> Array:
        return function(theta, key)

    def forward(theta: Array, key: Array) -> tuple[Array, Array]:
        def twice(theta):
            value = function(theta, key)
            return value, value

        jacobian, value = jax.jacfwd(twice, has_aux=True)(theta)
        return value, jacobian

    def backward(jacobian: Array, cotangent: Array) -> tuple[Array, None]:
        return cotangent @ jacobian, None

    run.defvjp(forward, backward)
    return run
