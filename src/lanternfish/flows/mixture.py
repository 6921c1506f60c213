"""Mixture density network: a mixture of normals whose parts depend on the condition (Bishop 1994).

    q(z | c) = sum_k w_k(c) N(v; m_k(c), (U_k(c)^T U_k(c))^-1) |det W|,    v = W (z - A c - b)

with v what a linear Gaussian fit leaves unexplained, and U_k upper triangular with a positive
diagonal, so that no density of a part needs an inverse.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

from lanternfish.flows.layers import LinearGaussian
from lanternfish.flows.networks import ResidualNetwork


class Mixture(eqx.Module):
    """q(z | c) of features c; a distribution as FlowJAX's are used here.

    Args:
        rng: for the network's first weights.
        first: the linear Gaussian fit.
        parts: normals in the mixture.
        width, depth: of the network.
    """

    first: LinearGaussian
    network: ResidualNetwork
    starts: Array | np.ndarray
    parts: int = eqx.field(static=True)

    def __init__(self, rng, first: LinearGaussian, *, parts: int, width: int, depth: int) -> None:
        dim, cond_dim = first.matrix.shape
        self.first, self.parts = first, parts
        outputs = parts * (1 + 2 * dim + dim * (dim - 1) // 2)
        self.network = ResidualNetwork(rng, cond_dim, outputs, width, depth)
        # parts must differ at first, or they would learn the same for ever
        self.starts = np.asarray(rng.normal(0, 0.1, (parts, dim)), np.float32)

    def _given(self, c: Array) -> tuple[Array, Array, Array]:
        """Log weights (p,), means (p, d) and factors U (p, d, d)."""
        p, d = self.starts.shape
        sizes = np.cumsum([p, p * d, p * d])
        weights, means, diagonal, above = jnp.split(self.network(c), sizes)
        factor = jax.vmap(jnp.diag)(jnp.exp(3.0 * jnp.tanh(diagonal.reshape(p, d) / 3.0)))
        rows, columns = np.triu_indices(d, 1)
        factor = factor.at[:, rows, columns].set(above.reshape(p, -1))
        means = jnp.asarray(self.starts) + means.reshape(p, d)
        return jax.nn.log_softmax(weights), means, factor

    def log_prob(self, z: Array, c: Array) -> Array:
        """log q(z | c) of one point z (d,)."""
        v, slope = self.first.transform_and_log_det(z, c)
        weights, means, factors = self._given(c)
        white = jnp.einsum("pij,pj->pi", factors, v - means)
        diagonals = jnp.diagonal(factors, axis1=1, axis2=2)
        normal = -0.5 * jnp.sum(white**2 + jnp.log(2 * jnp.pi), axis=1)
        return slope + jax.nn.logsumexp(weights + normal + jnp.sum(jnp.log(diagonals), axis=1))

    def sample_and_log_prob(self, key: Array, shape: tuple[()], c: Array) -> tuple[Array, Array]:
        """One draw and its log density."""
        z = self.sample(key, shape, c)
        return z, self.log_prob(z, c)

    def sample(self, key: Array, shape: tuple[()], c: Array) -> Array:
        """One draw, shape (d,)."""
        part_key, normal_key = jr.split(key)
        weights, means, factors = self._given(c)
        chosen = jr.categorical(part_key, weights)
        noise = jr.normal(normal_key, (*shape, means.shape[1]))
        v = means[chosen] + solve_triangular(factors[chosen], noise)
        return self.first.inverse_and_log_det(v, c)[0]
