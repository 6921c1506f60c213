"""Laws of several parameters together: correlated normal, samples, a user's own.

Each acts on one point, a vector of its parameters, and brings its bijection to unbounded space.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from jaxtyping import Array, ArrayLike
from scipy.special import ndtri

from lanternfish.core.columns import Column, as_columns
from lanternfish.core.table import Table

_LOG_SQRT_2PI = 0.5 * float(np.log(2 * np.pi))
_LEAST = 1e-30  # keeps logarithms and their slopes finite in float32 at a bound
NO_DENSITY = (
    "Expected a prior with a density for this; got Custom(..., log_prob=None): "
    "give log_prob, or use a method that only samples the prior, such as NPE(rounds=1)."
)


class JointLaw(eqx.Module):
    """Distribution of several named parameters."""

    columns: eqx.AbstractVar[tuple[Column, ...]]

    @property
    @abc.abstractmethod
    def low(self) -> np.ndarray:
        """Lower ends of the support, shape (k,)."""

    @property
    @abc.abstractmethod
    def high(self) -> np.ndarray:
        """Upper ends of the support, shape (k,)."""

    @abc.abstractmethod
    def sample(self, key: Array) -> Array:
        """One draw, shape (k,)."""

    @abc.abstractmethod
    def log_prob(self, theta: Array) -> Array:
        """Log density of one point, a number."""

    @abc.abstractmethod
    def constrain(self, z: Array) -> tuple[Array, Array]:
        """Parameters of an unbounded point, and log |d theta / d z|."""

    @abc.abstractmethod
    def unconstrain(self, theta: Array) -> Array:
        """Unbounded point of parameters inside the support."""

    @property
    def has_density(self) -> bool:
        return True

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Points (n, k) of places u (n, k) in the unit cube, uniform ones giving the law."""
        names = ", ".join(c.name for c in self.columns)
        raise ValueError(
            f"Expected laws with quantiles for this design; got {type(self).__name__} for "
            f'{names}: use design="random".'
        )


class CorrelatedNormal(JointLaw):
    """Multivariate normal: mean (k,), covariance (k, k); whitened by its Cholesky root."""

    columns: tuple[Column, ...] = eqx.field(static=True)
    mean: np.ndarray
    root: np.ndarray

    def __init__(self, columns: Sequence[str | Column], mean, covariance) -> None:
        self.columns = as_columns(columns)
        k = len(self.columns)
        self.mean = np.asarray(mean, dtype=np.float64)
        covariance = np.asarray(covariance, dtype=np.float64)
        if self.mean.shape != (k,) or covariance.shape != (k, k):
            raise ValueError(
                f"Expected a mean of shape ({k},) and a covariance of shape ({k}, {k}); "
                f"got {self.mean.shape} and {covariance.shape}."
            )
        if not (np.all(np.isfinite(self.mean)) and np.all(np.isfinite(covariance))):
            raise ValueError("Expected a finite mean and covariance; got NaN or infinity in them.")
        if not np.allclose(covariance, covariance.T, atol=0.0):
            raise ValueError("Expected a symmetric covariance; got one that is not.")
        try:
            self.root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            least = np.linalg.eigvalsh(covariance).min()
            raise ValueError(
                f"Expected a positive definite covariance; got one with eigenvalue {least:.3g}."
            ) from None

    @property
    def low(self):
        return np.full(len(self.columns), -np.inf)

    @property
    def high(self):
        return np.full(len(self.columns), np.inf)

    def sample(self, key):
        return self.constrain(jax.random.normal(key, (len(self.columns),)))[0]

    def _log_root(self):
        return jnp.sum(jnp.log(jnp.diag(self.root)))

    def log_prob(self, theta):
        z = self.unconstrain(theta)
        return jnp.sum(-0.5 * z**2 - _LOG_SQRT_2PI) - self._log_root()

    def constrain(self, z):
        return self.mean + self.root @ z, self._log_root()

    def unconstrain(self, theta):
        return solve_triangular(self.root, theta - self.mean, lower=True)

    def quantile(self, u):
        return self.mean + ndtri(u) @ self.root.T


def _interval_to_line(low: ArrayLike, high: ArrayLike, theta: Array) -> Array:
    """Identity, logarithm or logit, by which ends of the interval are finite."""
    low, high = jnp.asarray(low), jnp.asarray(high)
    both, below, above = _kinds(low, high)
    u = jnp.where(both, (theta - low) / jnp.where(both, high - low, 1.0), 0.5)
    u = jnp.clip(u, 2.0**-24, 1 - 2.0**-24)
    up = jnp.log(jnp.maximum(jnp.where(below, theta - low, 1.0), _LEAST))
    down = jnp.log(jnp.maximum(jnp.where(above, high - theta, 1.0), _LEAST))
    logit = jnp.log(u) - jnp.log1p(-u)
    return jnp.where(both, logit, jnp.where(below, up, jnp.where(above, -down, theta)))


def _line_to_interval(low: ArrayLike, high: ArrayLike, z: Array) -> tuple[Array, Array]:
    """Inverse of ``_interval_to_line`` and its log derivative, elementwise."""
    low, high = jnp.asarray(low), jnp.asarray(high)
    both, below, above = _kinds(low, high)
    width = jnp.where(both, high - low, 1.0)
    theta = jnp.where(both, low + width * jax.nn.sigmoid(z), z)
    theta = jnp.where(below, low + jnp.exp(jnp.where(below, z, 0.0)), theta)
    theta = jnp.where(above, high - jnp.exp(-jnp.where(above, z, 0.0)), theta)
    logit = jnp.log(width) + jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)
    slope = jnp.where(both, logit, jnp.where(below, z, jnp.where(above, -z, 0.0)))
    return theta, slope


def _kinds(low: ArrayLike, high: ArrayLike) -> tuple[Array, Array, Array]:
    both = jnp.isfinite(low) & jnp.isfinite(high)
    return both, jnp.isfinite(low) & ~both, jnp.isfinite(high) & ~both


def _ends(given, unbounded: float, k: int) -> np.ndarray:
    """Ends of k intervals, from a number, a sequence or None; None is no end."""
    given = np.broadcast_to(np.asarray(given, dtype=object), (k,))
    return np.array([unbounded if end is None else float(end) for end in given])


class _Bounded(JointLaw):
    """A joint law on a box, some of whose sides may be infinite."""

    columns: tuple[Column, ...] = eqx.field(static=True)
    minimum: np.ndarray
    maximum: np.ndarray

    def _set_box(self, columns, low, high) -> None:
        self.columns = as_columns(columns)
        k = len(self.columns)
        self.minimum, self.maximum = _ends(low, -np.inf, k), _ends(high, np.inf, k)
        if not np.all(self.minimum < self.maximum):
            raise ValueError("Expected low < high for each parameter; got the contrary.")

    @property
    def low(self):
        return self.minimum

    @property
    def high(self):
        return self.maximum

    def constrain(self, z):
        theta, slope = _line_to_interval(self.minimum, self.maximum, z)
        return theta, jnp.sum(slope)

    def unconstrain(self, theta):
        return _interval_to_line(self.minimum, self.maximum, theta)


class FromSamples(_Bounded):
    """A law learned from samples: a Gaussian kernel density estimate in unbounded space.

    Draws and density are those of one and the same estimate, so inference that uses both stays
    consistent. Kernels have the samples' covariance times Scott's factor n^(-1/(k+4)) squared
    (Scott 1992), a smoothing worth remembering above five or so parameters.

    Args:
        columns: names or columns, k of them.
        samples: shape (n, k), or a table with those names; n of at least k + 2.
        low, high: bounds of each parameter, numbers or shape (k,); none where left out.
    """

    given: np.ndarray
    points: np.ndarray
    root: np.ndarray

    def __init__(self, columns, samples, low=None, high=None) -> None:
        self._set_box(columns, low, high)
        array = samples.array if isinstance(samples, Table) else np.asarray(samples, float)
        k = len(self.columns)
        if array.ndim != 2 or array.shape[1] != k or len(array) < k + 2:
            raise ValueError(
                f"Expected samples of shape (n, {k}) with n of at least {k + 2}; got {array.shape}."
            )
        inside = np.all((array > self.minimum) & (array < self.maximum))
        if not (np.all(np.isfinite(array)) and inside):
            raise ValueError("Expected finite samples strictly between low and high; got others.")
        points = np.asarray(jax.vmap(self.unconstrain)(jnp.asarray(array)), dtype=np.float64)
        covariance = np.atleast_2d(np.cov(points.T))
        try:
            root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ValueError(
                "Expected samples that vary in every direction; got a parameter that is constant "
                "or a combination of others: leave it out of the prior."
            ) from None
        self.given = array
        self.points = points
        self.root = root * len(points) ** (-1 / (k + 4))

    def sample(self, key):
        pick, noise = jax.random.split(key)
        centre = jnp.asarray(self.points)[jax.random.randint(pick, (), 0, len(self.points))]
        return self.constrain(centre + self.root @ jax.random.normal(noise, centre.shape))[0]

    def log_prob(self, theta):
        z = self.unconstrain(theta)
        scaled = solve_triangular(self.root, (z - self.points).T, lower=True)
        kernels = jnp.sum(-0.5 * scaled**2 - _LOG_SQRT_2PI, axis=0)
        density = logsumexp(kernels) - jnp.log(len(self.points))
        density = density - jnp.sum(jnp.log(jnp.diag(self.root))) - self.constrain(z)[1]
        inside = jnp.all((theta >= self.minimum) & (theta <= self.maximum))
        return jnp.where(inside, density, -jnp.inf)


class Custom(_Bounded):
    """A user's own law.

    Args:
        columns: names or columns, k of them.
        sample: ``sample(key) -> (k,)``, one draw in JAX.
        log_prob: ``log_prob(theta) -> number`` in JAX, normalised; ``None`` where unknown. Methods
            that need the prior's density then say so.
        low, high: bounds of each parameter, numbers or shape (k,); none where left out.
    """

    draw: Callable[[Array], Array] = eqx.field(static=True)
    density: Callable[[Array], Array] | None = eqx.field(static=True)

    def __init__(self, columns, sample, log_prob=None, low=None, high=None) -> None:
        self._set_box(columns, low, high)
        self.draw = sample
        self.density = log_prob
        got = jax.eval_shape(sample, jax.random.key(0)).shape
        if got != (len(self.columns),):
            raise ValueError(f"Expected sample(key) of shape ({len(self.columns)},); got {got}.")

    @property
    def has_density(self) -> bool:
        return self.density is not None

    def sample(self, key):
        return self.draw(key)

    def log_prob(self, theta):
        if self.density is None:
            raise ValueError(NO_DENSITY)
        inside = jnp.all((theta >= self.minimum) & (theta <= self.maximum))
        return jnp.where(inside, self.density(theta), -jnp.inf)
