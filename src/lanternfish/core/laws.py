"""Laws of one parameter: distributions on an interval, each with its bijection to the real line.

Where the cumulative distribution F is known, the bijection is the normal score

    z = Phi^-1(F(theta)),    log |d theta / d z| = log phi(z) - log p(theta),

which turns the law into a standard normal: a flow that does nothing is then the prior, and a
posterior that touches a bound has the tail of a normal there. Beta and gamma use the logit and the
logarithm, because their quantile functions have no closed form.

All methods act elementwise on JAX arrays; the parameters of a law may be arrays, so that the laws
of one kind in a prior are evaluated together.
"""

from __future__ import annotations

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betaln, gammaln, ndtr, ndtri
from jaxtyping import Array
from scipy import special

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_LEAST = 1e-30  # keeps logarithms and their slopes finite in float32 at a bound of 0
_RESOLUTION = 2.0**-17  # least width over magnitude: 128 float32 steps across a law
_EDGE = 2.0**-24  # half a float32 step below 1: keeps scores of the bounds finite (|z| < 5.5)
_NO_QUANTILES = (
    "Expected a law with quantiles for this design; got {}: give the law quantile and "
    'share_below, or use design="random".'
)


def _log_phi(z: Array) -> Array:
    """Log density of the standard normal."""
    return -0.5 * z**2 - _LOG_SQRT_2PI


class Law(eqx.Module):
    """Distribution of one named parameter.

    Subclasses give ``low``, ``high`` (support, in the parameter's unit), ``sample_like``,
    ``log_prob``, ``constrain``, ``unconstrain`` and ``log_det``.
    """

    unit: str = eqx.field(static=True, default="", kw_only=True)
    label: str = eqx.field(static=True, default="", kw_only=True)

    @property
    @abc.abstractmethod
    def low(self) -> Array | float:
        """Lower end of the support."""

    @property
    @abc.abstractmethod
    def high(self) -> Array | float:
        """Upper end of the support."""

    @abc.abstractmethod
    def sample(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Independent draws."""

    @abc.abstractmethod
    def log_prob(self, theta: Array) -> Array:
        """Log density; minus infinity outside the support."""

    @abc.abstractmethod
    def constrain(self, z: Array) -> Array:
        """Parameter of an unbounded coordinate."""

    @abc.abstractmethod
    def unconstrain(self, theta: Array) -> Array:
        """Unbounded coordinate of a parameter inside the support."""

    @abc.abstractmethod
    def log_det(self, z: Array) -> Array:
        """log |d theta / d z| at the unbounded coordinate."""

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Parameter below which a share u of the law lies, elementwise, in float64."""
        raise ValueError(_NO_QUANTILES.format(type(self).__name__))

    def share_below(self, theta: np.ndarray) -> np.ndarray:
        """Share of the law below a parameter, the inverse of ``quantile``."""
        raise ValueError(_NO_QUANTILES.format(type(self).__name__))


def _inside(theta: Array, low, high, value: Array) -> Array:
    return jnp.where((theta >= low) & (theta <= high), value, -jnp.inf)


class _NormalScore(Law):
    """A law given by its quantile function; its bijection makes it standard normal."""

    @abc.abstractmethod
    def _standard(self, theta: Array) -> Array:
        """The monotone map that takes the law to the uniform law on [0, 1] or to a normal."""

    def sample(self, key, shape):
        return self.constrain(jax.random.normal(key, shape))

    def log_det(self, z):
        return _log_phi(z) - self.log_prob(self.constrain(z))


class Uniform(_NormalScore):
    """Uniform on [minimum, maximum]."""

    minimum: float
    maximum: float

    def __check_init__(self) -> None:
        _check_interval("Uniform", self.minimum, self.maximum)

    @property
    def low(self):
        return self.minimum

    @property
    def high(self):
        return self.maximum

    def _standard(self, theta):
        return (theta - self.minimum) / (self.maximum - self.minimum)

    def log_prob(self, theta):
        value = -jnp.log(self.maximum - self.minimum) + jnp.zeros_like(theta)
        return _inside(theta, self.minimum, self.maximum, value)

    def constrain(self, z):
        return self.minimum + (self.maximum - self.minimum) * ndtr(z)

    def unconstrain(self, theta):
        return ndtri(jnp.clip(self._standard(theta), _EDGE, 1 - _EDGE))

    def log_det(self, z):
        return _log_phi(z) + jnp.log(self.maximum - self.minimum)

    def quantile(self, u):
        return self.minimum + (self.maximum - self.minimum) * np.asarray(u, np.float64)

    def share_below(self, theta):
        held = np.clip(np.asarray(theta, np.float64), self.minimum, self.maximum)
        return (held - self.minimum) / (self.maximum - self.minimum)


class LogUniform(_NormalScore):
    """Uniform in the logarithm, on [minimum, maximum], both positive."""

    minimum: float
    maximum: float

    def __check_init__(self) -> None:
        _check_interval("LogUniform", self.minimum, self.maximum)
        _check_positive("LogUniform", minimum=self.minimum)

    @property
    def low(self):
        return self.minimum

    @property
    def high(self):
        return self.maximum

    @property
    def _width(self):
        return jnp.log(self.maximum) - jnp.log(self.minimum)

    def _standard(self, theta):
        return (jnp.log(theta) - jnp.log(self.minimum)) / self._width

    def log_prob(self, theta):
        value = -jnp.log(self._width) - jnp.log(jnp.maximum(theta, self.minimum))
        return _inside(theta, self.minimum, self.maximum, value)

    def constrain(self, z):
        return jnp.exp(jnp.log(self.minimum) + self._width * ndtr(z))

    def unconstrain(self, theta):
        return ndtri(jnp.clip(self._standard(theta), _EDGE, 1 - _EDGE))

    def log_det(self, z):
        return _log_phi(z) + jnp.log(self._width) + jnp.log(self.constrain(z))

    def quantile(self, u):
        return self.minimum * (self.maximum / self.minimum) ** np.asarray(u, np.float64)

    def share_below(self, theta):
        held = np.clip(np.asarray(theta, np.float64), self.minimum, self.maximum)
        return np.log(held / self.minimum) / np.log(self.maximum / self.minimum)


class Normal(_NormalScore):
    """Normal with a mean and a standard deviation."""

    mean: float
    sd: float

    def __check_init__(self) -> None:
        _check_finite("Normal", mean=self.mean)
        _check_positive("Normal", sd=self.sd)
        _check_resolution("Normal", self.sd, self.mean)

    @property
    def low(self):
        return -jnp.inf * jnp.ones_like(self.mean)

    @property
    def high(self):
        return jnp.inf * jnp.ones_like(self.mean)

    def _standard(self, theta):
        return (theta - self.mean) / self.sd

    def log_prob(self, theta):
        return _log_phi(self._standard(theta)) - jnp.log(self.sd)

    def constrain(self, z):
        return self.mean + self.sd * z

    def unconstrain(self, theta):
        return self._standard(theta)

    def log_det(self, z):
        return jnp.log(self.sd) + jnp.zeros_like(z)

    def quantile(self, u):
        return self.mean + self.sd * special.ndtri(u)

    def share_below(self, theta):
        return special.ndtr((np.asarray(theta, np.float64) - self.mean) / self.sd)


class LogNormal(_NormalScore):
    """exp(N(mu, sigma)): ``mu`` and ``sigma`` belong to the logarithm of the parameter."""

    mu: float
    sigma: float

    def __check_init__(self) -> None:
        _check_finite("LogNormal", mu=self.mu)
        _check_positive("LogNormal", sigma=self.sigma)
        if abs(self.mu) + 6 * self.sigma > -math.log(_LEAST):
            raise ValueError(
                f"Expected LogNormal(mu, sigma) with values between {_LEAST:g} and {1 / _LEAST:g}; "
                f"got ({self.mu}, {self.sigma}): change the parameter's unit, or lower sigma."
            )

    @property
    def low(self):
        return jnp.zeros_like(self.mu)

    @property
    def high(self):
        return jnp.inf * jnp.ones_like(self.mu)

    def _standard(self, theta):
        return (jnp.log(jnp.maximum(theta, _LEAST)) - self.mu) / self.sigma

    def log_prob(self, theta):
        z = self._standard(theta)
        value = _log_phi(z) - jnp.log(self.sigma) - self.mu - self.sigma * z
        return jnp.where(theta > 0, value, -jnp.inf)

    def constrain(self, z):
        return jnp.exp(self.mu + self.sigma * z)

    def unconstrain(self, theta):
        return self._standard(theta)

    def log_det(self, z):
        return jnp.log(self.sigma) + self.mu + self.sigma * z

    def quantile(self, u):
        return np.exp(self.mu + self.sigma * special.ndtri(u))

    def share_below(self, theta):
        logarithm = np.log(np.maximum(np.asarray(theta, np.float64), _LEAST))
        return special.ndtr((logarithm - self.mu) / self.sigma)


class Beta(Law):
    """Beta(a, b), stretched from [0, 1] to [minimum, maximum]."""

    a: float
    b: float
    minimum: float = 0.0
    maximum: float = 1.0

    def __check_init__(self) -> None:
        _check_positive("Beta", a=self.a, b=self.b)
        _check_interval("Beta", self.minimum, self.maximum)

    @property
    def low(self):
        return self.minimum

    @property
    def high(self):
        return self.maximum

    def sample(self, key, shape):
        u = jax.random.beta(key, self.a, self.b, shape)
        return self.minimum + (self.maximum - self.minimum) * u

    def log_prob(self, theta):
        width = self.maximum - self.minimum
        u = jnp.clip((theta - self.minimum) / width, _EDGE, 1 - _EDGE)
        value = (self.a - 1) * jnp.log(u) + (self.b - 1) * jnp.log1p(-u)
        value = value - betaln(self.a, self.b) - jnp.log(width)
        return _inside(theta, self.minimum, self.maximum, value)

    def constrain(self, z):
        return self.minimum + (self.maximum - self.minimum) * jax.nn.sigmoid(z)

    def unconstrain(self, theta):
        u = (theta - self.minimum) / (self.maximum - self.minimum)
        u = jnp.clip(u, _EDGE, 1 - _EDGE)
        return jnp.log(u) - jnp.log1p(-u)

    def log_det(self, z):
        width = jnp.log(self.maximum - self.minimum)
        return width + jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)

    def quantile(self, u):
        return self.minimum + (self.maximum - self.minimum) * special.betaincinv(self.a, self.b, u)

    def share_below(self, theta):
        place = (np.asarray(theta, np.float64) - self.minimum) / (self.maximum - self.minimum)
        return special.betainc(self.a, self.b, np.clip(place, 0, 1))


class Gamma(Law):
    """Gamma with a shape and a scale (mean = shape x scale)."""

    shape: float
    scale: float = 1.0

    def __check_init__(self) -> None:
        _check_positive("Gamma", shape=self.shape, scale=self.scale)

    @property
    def low(self):
        return jnp.zeros_like(self.shape)

    @property
    def high(self):
        return jnp.inf * jnp.ones_like(self.shape)

    def sample(self, key, shape):
        drawn = self.scale * jax.random.gamma(key, self.shape, shape)
        return jnp.maximum(drawn, 1e-6 * _LEAST)  # above 0, where float32 would round it off

    def log_prob(self, theta):
        u = jnp.maximum(theta / self.scale, _LEAST)
        value = (self.shape - 1) * jnp.log(u) - u - gammaln(self.shape) - jnp.log(self.scale)
        return jnp.where(theta > 0, value, -jnp.inf)

    def constrain(self, z):
        return self.scale * jnp.exp(z)

    def unconstrain(self, theta):
        return jnp.log(jnp.maximum(theta / self.scale, _LEAST))

    def log_det(self, z):
        return jnp.log(self.scale) + z

    def quantile(self, u):
        return self.scale * special.gammaincinv(self.shape, u)

    def share_below(self, theta):
        return special.gammainc(self.shape, np.maximum(np.asarray(theta) / self.scale, 0.0))


def _check_interval(law: str, low, high) -> None:
    if not (_finite(low) and _finite(high) and low < high):
        raise ValueError(
            f"Expected {law}(minimum, maximum) with minimum < maximum, both finite; "
            f"got ({low}, {high})."
        )
    _check_finite(law, minimum=low, maximum=high)
    _check_resolution(law, high - low, max(abs(low), abs(high)))


def _check_resolution(law: str, width, magnitude) -> None:
    if width < _RESOLUTION * abs(magnitude):
        raise ValueError(
            f"Expected {law} at least {_RESOLUTION:.2g} times as wide as its values are large, so "
            f"that single precision resolves it; got width {width:.6g} around {magnitude:.6g}: "
            "subtract an offset from the parameter."
        )


def _check_positive(law: str, **values) -> None:
    for name, value in values.items():
        if not (_finite(value) and value > 0):
            raise ValueError(f"Expected {law} with {name} > 0; got {name} = {value}.")
        _check_magnitude(law, name, value)


def _check_finite(law: str, **values) -> None:
    for name, value in values.items():
        if not _finite(value):
            raise ValueError(f"Expected {law} with a finite {name}; got {name} = {value}.")
        _check_magnitude(law, name, value)


def _check_magnitude(law: str, name: str, value) -> None:
    if value and not _LEAST <= abs(value) <= 1 / _LEAST:
        raise ValueError(
            f"Expected {law} with {name} between {_LEAST:g} and {1 / _LEAST:g} in size, so that "
            f"single precision holds it; got {name} = {value:g}: change the parameter's unit."
        )


def _finite(value) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False
