"""An exponential family of statistics whose natural parameters are linear in theta.

    log p(x | theta) = (x - x_o)^T N u - A(u) + log h(x),    u = W (theta - c),
    A(u) = l^T u + 1/2 u^T Q u + a^T softplus(B u + b).

The base measure h is not known and does not matter to a posterior, which needs the rest alone.
Linear Gaussian models are of this form with A a square, and generalised linear models with their
sufficient statistics with A a sum of convex functions of projections of theta (McCullagh & Nelder
1989, Generalized Linear Models, section 2.2; Wainwright & Jordan 2008, section 3.1).
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class ExponentialFamily(eqx.Module):
    """log p(x | theta) up to a function of x, for x - x_o (k,) and theta (d,).

    Beyond ``reach``, in squared length of u, nothing was learned: the density falls off there.
    """

    centre: Array
    whiten: Array
    natural: Array
    linear: Array
    square: Array
    heights: Array
    projections: Array
    offsets: Array
    reach: Array

    def local(self, theta: Array) -> Array:
        """u (d,): parameters in units of the region that it was learned in."""
        return self.whiten @ (theta - self.centre)

    def normaliser(self, u: Array) -> Array:
        """A(u), a number."""
        bent = jax.nn.softplus(self.projections @ u + self.offsets)
        return self.linear @ u + 0.5 * u @ self.square @ u + self.heights @ bent

    def log_prob(self, away: Array, theta: Array) -> Array:
        """log p(x | theta) + a function of x; away is x - x_o."""
        u = self.local(theta)
        fit = away @ (self.natural @ u) - self.normaliser(u)
        return fit - jax.nn.relu(u @ u - self.reach)


def empty_exponential(statistics: int, parameters: int, bends: int) -> ExponentialFamily:
    """One of the shapes of another, to be filled from a file.

    Args:
        bends: softplus functions in A.
    """
    k, d, s = statistics, parameters, bends
    shapes = ((d,), (d, d), (k, d), (d,), (d, d), (s,), (s, d), (s,), ())
    return ExponentialFamily(*(jnp.asarray(np.zeros(shape, np.float32)) for shape in shapes))
