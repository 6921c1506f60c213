"""A posterior's log density as a function that compiled programs take as an argument."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import Posterior
from lanternfish.landscape.space import BLOCK


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


def _rows(posterior: Posterior) -> np.ndarray:
    """Points inside the prior, as many as are evaluated together everywhere."""
    low, high = posterior.prior.low, posterior.prior.high
    low, high = np.where(np.isfinite(low), low, -1e6), np.where(np.isfinite(high), high, 1e6)
    return np.tile((low + high) / 2, (BLOCK, 1))


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
    middle = jnp.zeros(len(posterior.prior))  # its shape alone is looked at

    def total(theta):
        value = posterior.log_density(theta)
        return value if score is None else value + jnp.reshape(score(theta), ())

    try:
        posterior.log_prob(_rows(posterior))  # what is worked out once is so before tracing
        density = eqx.filter_closure_convert(total, middle)
        jax.eval_shape(jax.grad(density) if slope else density, middle)
    except (jax.errors.JAXTypeError, NotImplementedError, TypeError) as error:
        what = "that JAX can differentiate" if slope else "in JAX"
        raise ValueError(
            f"Expected a log density (and score) {what}; got {type(error).__name__}: write "
            "posterior.log_density with jax.numpy, or use a posterior of NPE, NLE or EPI."
        ) from error
    return density
