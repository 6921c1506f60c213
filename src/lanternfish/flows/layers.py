"""Layers of conditional flows, as FlowJAX bijections from data to noise.

``transform`` runs from data to noise, the direction that training takes.

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

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection, Scan
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

from lanternfish.flows import spline
from lanternfish.flows.networks import MaskedNetwork, ResidualNetwork
from lanternfish.flows.stacks import through

NO_CONDITION: Any = None  # FlowJAX's default; layers here always get a condition
_BOUND = 5.0  # splines act on [-bound, bound] and are the identity outside


class SplineCoupling(AbstractBijection):
    """Splines on one half of the coordinates, given the other half and the condition.

    Args:
        rng: for the network's first weights.
        dim: d, coordinates; the last d - d // 2 are transformed.
        cond_dim: length of the condition.
        width, depth: of the network, a residual perceptron.
        bins: of the splines.
    """

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    passing: int = eqx.field(static=True)
    network: ResidualNetwork

    def __init__(self, rng, dim, cond_dim, *, width, depth, bins) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        self.passing = dim // 2
        outputs = (dim - self.passing) * spline.parameters_per_dimension(bins)
        self.network = ResidualNetwork(rng, self.passing + cond_dim, outputs, width, depth)

    def _raw(self, held: Array, condition: Array) -> Array:
        out = self.network(jnp.concatenate([held, condition]))
        return out.reshape(-1, self.shape[0] - self.passing)

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        held, moved = x[: self.passing], x[self.passing :]
        moved, log_det = spline.forward(moved, self._raw(held, condition), _BOUND)
        return jnp.concatenate([held, moved]), jnp.sum(log_det)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        held, moved = y[: self.passing], y[self.passing :]
        moved, log_det = spline.inverse(moved, self._raw(held, condition), _BOUND)
        return jnp.concatenate([held, moved]), jnp.sum(log_det)


class SplineAutoregressive(AbstractBijection):
    """A spline on coordinate i, given those before it and the condition.

    Args: as those of ``SplineCoupling``.
    """

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    network: MaskedNetwork

    def __init__(self, rng, dim, cond_dim, *, width, depth, bins) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        size = spline.parameters_per_dimension(bins)
        self.network = MaskedNetwork(rng, dim, cond_dim, size=size, width=width, depth=depth)

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        y, log_det = spline.forward(x, self.network(x, condition), _BOUND)
        return y, jnp.sum(log_det)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        def inverse(x):
            return spline.inverse(y, self.network(x, condition), _BOUND)

        x = _one_by_one(lambda x: inverse(x)[0], y)
        return x, jnp.sum(inverse(x)[1])


class AffineAutoregressive(AbstractBijection):
    """z_i -> (z_i - shift_i) exp(-log_scale_i), both given z_1 to z_{i-1} and the condition.

    Args:
        rng: for the network's first weights.
        dim: d, coordinates.
        cond_dim: length of the condition.
        width, depth: of the masked network.
    """

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    network: MaskedNetwork

    def __init__(self, rng, dim, cond_dim, *, width, depth) -> None:
        self.shape, self.cond_shape = (dim,), (cond_dim,)
        self.network = MaskedNetwork(rng, dim, cond_dim, size=2, width=width, depth=depth)

    def _shift_and_log_scale(self, x: Array, condition: Array) -> tuple[Array, Array]:
        shift, raw = self.network(x, condition)
        return shift, 3.0 * jnp.tanh(raw / 3.0)

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        shift, log_scale = self._shift_and_log_scale(x, condition)
        return (x - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        def inverse(x):
            shift, log_scale = self._shift_and_log_scale(x, condition)
            return y * jnp.exp(log_scale) + shift

        x = _one_by_one(inverse, y)
        return x, jnp.sum(self._shift_and_log_scale(x, condition)[1])


def _one_by_one(inverse, y: Array) -> Array:
    """x from y (d,): each pass sets one more coordinate right, whatever those after it are."""
    return lax.scan(lambda x, _: (inverse(x), None), y, length=len(y))[0]


class Layers(Scan):
    """Layers of one structure, one after the other (``stacks``)."""

    def __init__(self, layers: AbstractBijection) -> None:
        super().__init__(layers)

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        step = lambda layer, x: layer.transform_and_log_det(x, condition)  # noqa: E731
        return through(self.bijection, step, x, jnp.zeros((), x.dtype))

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        step = lambda layer, y: layer.inverse_and_log_det(y, condition)  # noqa: E731
        return through(self.bijection, step, y, jnp.zeros((), y.dtype), reverse=True)


class Shuffle(AbstractBijection):
    """Coordinates in another order."""

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    order: Array | np.ndarray
    back: Array | np.ndarray

    def __init__(self, order: np.ndarray) -> None:
        self.shape, self.cond_shape = (len(order),), None
        self.order, self.back = (a.astype(np.int32) for a in (order, np.argsort(order)))

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        return x[self.order], jnp.zeros(())

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        return y[self.back], jnp.zeros(())


class LinearGaussian(AbstractBijection):
    """z -> W (z - A c - b), with W = L^-1 lower triangular and a positive diagonal."""

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
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

    def _whitening(self) -> Array:
        return jnp.tril(self.lower, -1) + jnp.diag(jnp.exp(self.log_diagonal))

    def transform_and_log_det(self, x: Array, condition: Array = NO_CONDITION):
        residual = x - self.matrix @ condition - self.offset
        return self._whitening() @ residual, jnp.sum(self.log_diagonal)

    def inverse_and_log_det(self, y: Array, condition: Array = NO_CONDITION):
        residual = solve_triangular(self._whitening(), y, lower=True)
        return residual + self.matrix @ condition + self.offset, -jnp.sum(self.log_diagonal)
