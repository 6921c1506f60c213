"""A posterior's log density as a function that compiled programs take as an argument."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import Posterior


def check_density(posterior: Posterior) -> None:
    """One sentence where there is no density.

    Raises:
        TypeError: if it is not a posterior.
        ValueError: if it is a set of samples.
    """
    if not isinstance(posterior, Posterior):
        raise TypeError(f"Expected a Posterior; got {type(posterior).__name__}.")
    if not posterior.has_density:
        raise ValueError(
            "Expected a posterior with a density to follow; got a set of samples, which has "
            "neither density nor gradients: use a method that learns one, such as NPE or NLE."
        )


def density_of(posterior: Posterior, score: Callable | None = None, slope: bool = True) -> Callable:
    """Log density, and score where there is one, of a point (d,): its numbers are arguments.

    Args:
        posterior: any.
        score: ``score(theta)`` in nats, added to the log density.
        slope: whether gradients are needed.

    Raises:
        ValueError: if it is not a JAX function, or not differentiable where that is needed.
    """
    check_density(posterior)
    middle = jnp.asarray(posterior.sample(1, seed=0).array[0], jnp.float32)

    def total(theta):
        value = posterior.log_density(theta)
        return value if score is None else value + jnp.reshape(score(theta), ())

    try:
        density = eqx.filter_closure_convert(total, middle)
        found = jax.grad(density)(middle) if slope else density(middle)
    except (jax.errors.JAXTypeError, NotImplementedError, TypeError) as error:
        what = "that JAX can differentiate" if slope else "in JAX"
        raise ValueError(
            f"Expected a log density (and score) {what}; got {type(error).__name__}: write "
            "posterior.log_density with jax.numpy, or use a posterior of NPE, NLE or EPI."
        ) from error
    if slope and not np.isfinite(np.asarray(found)).all():
        raise ValueError(
            "Expected a finite gradient of the log density at a sample of the posterior; got NaN "
            "or infinity: the posterior gives no gradients to follow."
        )
    return density
