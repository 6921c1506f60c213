"""Layers of conditional flows, as FlowJAX bijections from data to noise.

``transform`` runs from data to noise, the direction that training takes. There points of a batch
go through together and stand along the last axis, (d, n), which is what arithmetic is fastest with.

* ``SplineCoupling``: half of the coordinates pass, and a network of them and of the condition
  gives the rational-quadratic splines of the other half (Durkan et al. 2019, section 3).
* ``SplineAutoregressive``: coordinate i has a spline given by those before it and the condition;
  its inverse takes d passes.
* ``AffineAutoregressive``: coordinate i is shifted and scaled, given those before it and the
  condition (Papamakarios, Pavlakou & Murray 2017).
* ``Layers``: any of these, one after the other.
* ``LinearGaussian``: z -> W (z - A c - b). Fitted by ridge regression before training, it
  makes the exact answer of a linear Gaussian problem the starting point of every other.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection, Chain
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

from lanternfish.flows import spline
from lanternfish.flows.networks import MaskedNetwork, ResidualNetwork, along
from lanternfish.flows.stacks import through

NO_CONDITION: Any = None  # FlowJAX's default; layers here always get a condition
_BOUND = 5.0  # splines act on [-bound, bound] and are the identity outside


class Layer(AbstractBijection):
    """A bijection from data to noise that takes one point, or points along a further axis."""

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    @abstractmethod
    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        """y and log |det dy/dx| of points x (d, ...) and conditions (k, ...) or (k, 1, ...)."""

    @abstractmethod
    def backward(self, y: Array, condition: Array) -> Array:
        """The x that ``forward`` takes to y."""

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        return self.forward(x, condition)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        x = self.backward(y, condition)
        return x, -self.forward(x, condition)[1]


def forward(bijection, x: Array, condition: Array) -> tuple[Array, Array]:
    """``Layer.forward``, through chains of layers."""
    if not isinstance(bijection, Chain):
        return bijection.forward(x, condition)
    total = jnp.zeros(x.shape[1:], x.dtype)
    for layer in bijection.bijections:
        x, log_det = forward(layer, x, condition)
        total = total + log_det
    return x, total


def backward(bijection, y: Array, condition: Array) -> Array:
    """``Layer.backward``, through chains of layers."""
    if not isinstance(bijection, Chain):
        return bijection.backward(y, condition)
    for layer in reversed(bijection.bijections):
        y = backward(layer, y, condition)
    return y


class SplineCoupling(Layer):
    """Splines on one half of the coordinates, given the other half and the condition.

    Args:
        rng: for the network's first weights.
        dim: d, coordinates; the last d - d // 2 are transformed.
        cond_dim: length of the condition.
        width, depth: of the network, a residual perceptron.
        bins: of the splines.
    """

    passing: int = eqx.field(static=True)
    network: ResidualNetwork

    def __init__(self, rng, dim, cond_dim, *, width, depth, bins) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        self.passing = dim // 2
        outputs = (dim - self.passing) * spline.parameters_per_dimension(bins)
        self.network = ResidualNetwork(rng, self.passing + cond_dim, outputs, width, depth)

    def _raw(self, held: Array, condition: Array) -> Array:
        condition = jnp.broadcast_to(condition, (len(condition), *held.shape[1:]))
        out = self.network(jnp.concatenate([held, condition]))
        return out.reshape(-1, self.shape[0] - self.passing, *held.shape[1:])

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        held, moved = x[: self.passing], x[self.passing :]
        moved, log_det = spline.forward(moved, self._raw(held, condition), _BOUND)
        return jnp.concatenate([held, moved]), jnp.sum(log_det, axis=0)

    def backward(self, y: Array, condition: Array) -> Array:
        held, moved = y[: self.passing], y[self.passing :]
        moved, _ = spline.inverse(moved, self._raw(held, condition), _BOUND)
        return jnp.concatenate([held, moved])


class SplineAutoregressive(Layer):
    """A spline on coordinate i, given those before it and the condition.

    Args: as those of ``SplineCoupling``.
    """

    network: MaskedNetwork

    def __init__(self, rng, dim, cond_dim, *, width, depth, bins) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        size = spline.parameters_per_dimension(bins)
        self.network = MaskedNetwork(rng, dim, cond_dim, size=size, width=width, depth=depth)

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        y, log_det = spline.forward(x, self.network(x, condition), _BOUND)
        return y, jnp.sum(log_det, axis=0)

    def backward(self, y: Array, condition: Array) -> Array:
        inverse = lambda x: spline.inverse(y, self.network(x, condition), _BOUND)[0]  # noqa: E731
        return _one_by_one(inverse, y)


class AffineAutoregressive(Layer):
    """z_i -> (z_i - shift_i) exp(-log_scale_i), both given z_1 to z_{i-1} and the condition.

    Args:
        rng: for the network's first weights.
        dim: d, coordinates.
        cond_dim: length of the condition.
        width, depth: of the masked network.
    """

    network: MaskedNetwork

    def __init__(self, rng, dim, cond_dim, *, width, depth) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        self.network = MaskedNetwork(rng, dim, cond_dim, size=2, width=width, depth=depth)

    def _shift_and_log_scale(self, x: Array, condition: Array) -> tuple[Array, Array]:
        shift, raw = self.network(x, condition)
        return shift, 3.0 * jnp.tanh(raw / 3.0)

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        shift, log_scale = self._shift_and_log_scale(x, condition)
        return (x - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale, axis=0)

    def backward(self, y: Array, condition: Array) -> Array:
        def inverse(x):
            shift, log_scale = self._shift_and_log_scale(x, condition)
            return y * jnp.exp(log_scale) + shift

        return _one_by_one(inverse, y)


def _one_by_one(inverse, y: Array) -> Array:
    """x from y (d, ...): each pass sets one more coordinate right, whatever those after it are."""
    return lax.scan(lambda x, _: (inverse(x), None), y, length=len(y))[0]


class Layers(Layer):
    """Layers of one structure, one after the other (``stacks``)."""

    bijection: AbstractBijection

    def __init__(self, layers: AbstractBijection) -> None:
        self.shape, self.cond_shape = layers.shape, layers.cond_shape
        self.bijection = layers

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        step = lambda layer, x: forward(layer, x, condition)  # noqa: E731
        return through(self.bijection, step, x, jnp.zeros(x.shape[1:], x.dtype))

    def backward(self, y: Array, condition: Array) -> Array:
        none = jnp.zeros((), y.dtype)
        step = lambda layer, y: (backward(layer, y, condition), none)  # noqa: E731
        return through(self.bijection, step, y, none, reverse=True)[0]


class Shuffle(Layer):
    """Coordinates in another order."""

    order: Array | np.ndarray
    back: Array | np.ndarray

    def __init__(self, order: np.ndarray) -> None:
        self.shape, self.cond_shape = (len(order),), None
        self.order, self.back = (a.astype(np.int32) for a in (order, np.argsort(order)))

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        return _in_order(x, self.order), jnp.zeros(x.shape[1:], x.dtype)

    def backward(self, y: Array, condition: Array) -> Array:
        return _in_order(y, self.back)


def _in_order(x: Array, order: Array | np.ndarray) -> Array:
    return x.at[order].get(mode="promise_in_bounds", unique_indices=True)


class LinearGaussian(Layer):
    """z -> W (z - A c - b), with W = L^-1 lower triangular and a positive diagonal."""

    matrix: Array | np.ndarray
    offset: Array | np.ndarray
    lower: Array | np.ndarray
    log_diagonal: Array | np.ndarray

    def __init__(self, matrix: np.ndarray, offset: np.ndarray, root: np.ndarray) -> None:
        dim, cond_dim = matrix.shape
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        whitening = np.linalg.inv(root)
        parts = (matrix, offset, np.tril(whitening, -1), np.log(np.diag(whitening)))
        self.matrix, self.offset, self.lower, self.log_diagonal = (
            np.asarray(part, np.float32) for part in parts
        )

    def _below(self) -> Array:
        return jnp.asarray(self.lower) * np.tri(len(self.offset), k=-1, dtype=np.float32)

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        residual = x - self.matrix @ condition - along(self.offset, x)
        white = self._below() @ residual + jnp.exp(along(self.log_diagonal, x)) * residual
        return white, jnp.broadcast_to(jnp.sum(self.log_diagonal), x.shape[1:])

    def backward(self, y: Array, condition: Array) -> Array:
        whitening = self._below() + jnp.diag(jnp.exp(self.log_diagonal))
        residual = solve_triangular(whitening, y, lower=True)
        return residual + self.matrix @ condition + along(self.offset, y)
