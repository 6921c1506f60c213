"""A smooth curve between two points, bent until the probability along it stays high.

In the prior's unbounded space, z = T^-1(theta), the curve is a straight line and sines,

    z(s) = (1 - s) z_0 + s z_1 + sum_k a_k sin(pi k s),    0 <= s <= 1,

so it cannot leave the prior. The coefficients a_k minimise the soft maximum of -log p over length,

    L(a) = 1/beta log integral exp(-beta log p(theta(s))) |du/ds| ds,    u = theta / prior sd,

that is the length of the curve in a metric that stretches where the density is low (a geodesic of
the metric p^(-2 beta)). Small beta asks for the least mean of -log p and a short way, large beta
for the highest lowest point; the curve is bent at rising beta, each stage from the one before.

The line integral of -log p (Gonçalves et al. 2020, eLife 9:e56261, "Finding paths") is the limit of
small beta; it pays for a deep dip with a little length saved elsewhere, and depends on the
constant of the density. Gradients are exact, by JAX, and L-BFGS climbs with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import Posterior
from lanternfish.landscape.density import density_of

HARMONICS = 6
NODES = 96  # at which the integral is taken
_STEPS = 60  # most L-BFGS iterations of a stage
_EVEN = 1.0  # nats: weight of the relative variance of the distances between nodes
_NONE = -1e4  # nats: a density of minus infinity or NaN


@dataclass(frozen=True)
class Bent:
    """A curve that was found.

    Attributes:
        ends: in unbounded space, shape (2, d).
        coefficients: shape (harmonics, d).
        converged: whether the last stage ended before its limit of iterations.
        evaluations: of the whole curve's density with its gradient.
    """

    ends: np.ndarray
    coefficients: np.ndarray
    converged: bool
    evaluations: int


class Problem(eqx.Module):
    """What is compiled: density, score and prior, with everything numeric as arguments."""

    density: Callable[[Array], Array]
    transform: Callable[[Array], Array]
    sd: Array

    def height(self, theta: Array) -> Array:
        """Log density and score of one point, finite everywhere."""
        value = self.density(theta)
        return jnp.where(jnp.isfinite(value), value, _NONE)


def problem(posterior: Posterior, sd: np.ndarray, score: Callable | None) -> Problem:
    """The compiled pieces of a posterior.

    Raises:
        ValueError: if the log density, or the score, is not a differentiable JAX function.
    """
    density = density_of(posterior, score)
    bijection = posterior.prior.bijection
    transform = eqx.filter_closure_convert(bijection.transform, jnp.zeros(len(posterior.prior)))
    return Problem(density, transform, jnp.asarray(sd, jnp.float32))


def curve(ends: Array, coefficients: Array, s: Array) -> Array:
    """Points (m, d) in unbounded space at s (m,)."""
    k = jnp.arange(1, len(coefficients) + 1)
    waves = jnp.sin(jnp.pi * k * s[:, None])
    return (1 - s[:, None]) * ends[0] + s[:, None] * ends[1] + waves @ coefficients


def betas_for(d: int) -> tuple[float, float]:
    """beta (1 / nat) of the two stages for d parameters."""
    last = 0.5 / np.sqrt(d / 2)
    return last / 3, last


@eqx.filter_jit
def points(found: Problem, ends: Array, coefficients: Array, s: Array) -> tuple[Array, Array]:
    """theta (m, d) and log density with score (m,) at s (m,)."""
    theta = jax.vmap(found.transform)(curve(ends, coefficients, s))
    return theta, jax.vmap(found.height)(theta)


@eqx.filter_jit
def _loss(found: Problem, ends: Array, free: Array, scale: Array, beta: Array):
    """The loss and its gradient with respect to the free coefficients, (harmonics, d)."""

    def loss(free: Array) -> Array:
        s = jnp.linspace(0.0, 1.0, NODES)
        theta = jax.vmap(found.transform)(curve(ends, free * scale, s))
        height = jax.vmap(found.height)(theta)
        pieces = jnp.sqrt(jnp.sum(jnp.diff(theta / found.sd, axis=0) ** 2, axis=1) + 1e-12)
        middle = jnp.logaddexp(-beta * height[1:], -beta * height[:-1]) - jnp.log(2.0)
        length = jax.nn.logsumexp(middle + jnp.log(pieces)) / beta
        uneven = jnp.mean((pieces / jnp.mean(pieces) - 1) ** 2)
        return length + _EVEN * uneven

    return jax.value_and_grad(loss)(free)


def bend(found: Problem, ends: np.ndarray, spread: np.ndarray, betas, harmonics: int) -> Bent:
    """Bend the straight line between the ends.

    Args:
        ends: in unbounded space, (2, d).
        spread: of the posterior there, (d,): the size of a first change of a coefficient.
        betas: of the stages, rising.
        harmonics: how many sines.
    """
    from scipy.optimize import minimize

    d = ends.shape[1]
    scale = jnp.asarray(spread / np.arange(1, harmonics + 1)[:, None], jnp.float32)
    fixed = jnp.asarray(ends, jnp.float32)
    free, evaluations, converged = np.zeros(harmonics * d), 0, True

    def call(flat: np.ndarray, beta: float) -> tuple[float, np.ndarray]:
        shaped = jnp.asarray(flat.reshape(harmonics, d), jnp.float32)
        value, slope = _loss(found, fixed, shaped, scale, jnp.float32(beta))
        slope = np.asarray(slope, np.float64).ravel()
        if not np.isfinite(slope).any() or (not free.any() and not np.isfinite(slope).all()):
            raise ValueError(
                "Expected finite gradients of the log density between the ends; got NaN or "
                "infinity: the posterior gives no gradients to follow there."
            )
        return float(value), np.where(np.isfinite(slope), slope, 0.0)

    for beta in betas:
        result = minimize(
            call, free, args=(beta,), jac=True, method="L-BFGS-B",
            options={"maxiter": _STEPS, "ftol": 1e-6, "gtol": 1e-3, "maxcor": 20},
        )  # fmt: skip
        free, converged = result.x, bool(result.nit < _STEPS)
        evaluations += int(result.nfev)
    return Bent(ends, free.reshape(harmonics, d) * np.asarray(scale), converged, evaluations)
