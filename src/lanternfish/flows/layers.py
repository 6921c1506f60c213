"""Layers of conditional flows, as FlowJAX bijections from data to noise.

``transform`` runs from data to noise, the direction that training takes.

* ``SplineCoupling``: half of the coordinates pass, and a network of them and of the condition
  gives the rational-quadratic splines of the other half (Durkan et al. 2019, section 3).
* ``AffineAutoregressive``: coordinate i is shifted and scaled by a masked network of those before
  it and of the condition (Papamakarios, Pavlakou & Murray 2017); its inverse takes d passes.
* ``LinearGaussian``: z -> W (z - A c - b). Fitted by ridge regression before training, it
  makes the exact answer of a linear Gaussian problem the starting point of every other.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import AbstractBijection
from flowjax.bijections.masked_autoregressive import masked_autoregressive_mlp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

from lanternfish.flows import spline

NO_CONDITION: Any = None  # FlowJAX's default; layers here always get a condition


class SplineCoupling(AbstractBijection):
    """Splines on one half of the coordinates, given the other half and the condition.

    Args:
        key: for the network's first weights.
        dim: d, coordinates; the last d - d // 2 are transformed.
        cond_dim: length of the condition.
        width, depth: of the network, a residual perceptron.
        bins: of the splines.
        bound: splines act on [-bound, bound].
    """

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    passing: int = eqx.field(static=True)
    bound: float = eqx.field(static=True)
    network: ResidualNetwork

    def __init__(self, key, dim, cond_dim, *, width, depth, bins=8, bound=5.0) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        self.passing, self.bound = dim // 2, bound
        outputs = (dim - self.passing) * spline.parameters_per_dimension(bins)
        self.network = ResidualNetwork(key, self.passing + cond_dim, outputs, width, depth)

    def _raw(self, held: Array, condition: Array) -> Array:
        out = self.network(jnp.concatenate([held, condition]))
        return out.reshape(-1, self.shape[0] - self.passing)

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        held, moved = x[: self.passing], x[self.passing :]
        moved, log_det = spline.forward(moved, self._raw(held, condition), self.bound)
        return jnp.concatenate([held, moved]), jnp.sum(log_det)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        held, moved = y[: self.passing], y[self.passing :]
        moved, log_det = spline.inverse(moved, self._raw(held, condition), self.bound)
        return jnp.concatenate([held, moved]), jnp.sum(log_det)


class AffineAutoregressive(AbstractBijection):
    """z_i -> (z_i - shift_i) exp(-log_scale_i), both given z_1 to z_{i-1} and the condition.

    Args:
        key: for the network's first weights.
        dim: d, coordinates.
        cond_dim: length of the condition.
        width, depth: of the masked network.
    """

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    network: eqx.nn.MLP

    def __init__(self, key, dim, cond_dim, *, width, depth) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        conditions = -jnp.ones(cond_dim, int)
        network = masked_autoregressive_mlp(
            jnp.concatenate([jnp.arange(dim), conditions]),
            jnp.arange(width) % dim - 1,
            jnp.tile(jnp.arange(dim), 2),
            depth=depth,
            activation=jax.nn.silu,
            key=key,
        )
        self.network = eqx.tree_at(lambda m: m.layers[-1], network, replace_fn=_silent)

    def _shift_and_log_scale(self, x: Array, condition: Array) -> tuple[Array, Array]:
        shift, raw = jnp.split(self.network(jnp.concatenate([x, condition])), 2)
        return shift, 3.0 * jnp.tanh(raw / 3.0)

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        shift, log_scale = self._shift_and_log_scale(x, condition)
        return (x - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        def one_more(x, _):
            shift, log_scale = self._shift_and_log_scale(x, condition)
            return y * jnp.exp(log_scale) + shift, None

        x, _ = jax.lax.scan(one_more, y, length=len(y))
        return x, jnp.sum(self._shift_and_log_scale(x, condition)[1])


class ResidualNetwork(eqx.Module):
    """Perceptron with residual blocks; its last layer starts at zero, so that it starts silent."""

    first: eqx.nn.Linear
    blocks: tuple[tuple[eqx.nn.Linear, eqx.nn.Linear], ...]
    last: eqx.nn.Linear

    def __init__(self, key, inputs: int, outputs: int, width: int, depth: int) -> None:
        keys = jr.split(key, 2 * depth + 2)
        self.first = eqx.nn.Linear(inputs, width, key=keys[0])
        self.blocks = tuple(
            (
                eqx.nn.Linear(width, width, key=keys[2 * i + 1]),
                _scaled(eqx.nn.Linear(width, width, key=keys[2 * i + 2]), 0.1),
            )
            for i in range(depth)
        )
        self.last = _scaled(eqx.nn.Linear(width, outputs, key=keys[-1]), 0.0)

    def __call__(self, x: Array) -> Array:
        h = self.first(x)
        for inner, outer in self.blocks:
            h = h + outer(jax.nn.silu(inner(jax.nn.silu(h))))
        return self.last(jax.nn.silu(h))


def _silent(linear: eqx.nn.Linear) -> eqx.nn.Linear:
    """The layer with weights and biases of zero; masks stay as they are."""
    weights, rest = eqx.partition(linear, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(jnp.zeros_like, weights), rest)


def _scaled(linear: eqx.nn.Linear, factor: float) -> eqx.nn.Linear:
    return jax.tree.map(lambda leaf: leaf * factor, linear)


class LinearGaussian(AbstractBijection):
    """z -> W (z - A c - b), with W = L^-1 lower triangular and a positive diagonal."""

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    matrix: Array
    offset: Array
    lower: Array
    log_diagonal: Array

    def __init__(self, matrix: Array, offset: Array, root: Array) -> None:
        dim, cond_dim = matrix.shape
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        self.matrix, self.offset = matrix, offset
        whitening = solve_triangular(root, jnp.eye(dim, dtype=root.dtype), lower=True)
        self.lower = jnp.tril(whitening, -1)
        self.log_diagonal = jnp.log(jnp.diag(whitening))

    def _whitening(self) -> Array:
        return jnp.tril(self.lower, -1) + jnp.diag(jnp.exp(self.log_diagonal))

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        residual = x - self.matrix @ condition - self.offset
        return self._whitening() @ residual, jnp.sum(self.log_diagonal)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        residual = solve_triangular(self._whitening(), y, lower=True)
        return residual + self.matrix @ condition + self.offset, -jnp.sum(self.log_diagonal)
