"""More closed forms: a ring with ripples, a truncated normal, posteriors that lack something."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from closed_forms import ClosedForm, Mixture, uniform_prior

import lanternfish as lf

RADIUS = 5.0


def ring():
    """Twelve bumps on a thin circle; the straight line between two of them leaves it."""
    angle = np.arange(12) * np.pi / 6
    out = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = np.stack([-out[:, 1], out[:, 0]], axis=1)
    parts = 0.09 * out[:, :, None] * out[:, None] + 1.2 * along[:, :, None] * along[:, None]
    prior = uniform_prior([-9, -9], [9, 9])
    return Mixture(prior, RADIUS * out, parts, np.full(12, 1 / 12))


PRECISION = np.array([[30.0, 25.0, 3.0], [25.0, 40.0, -8.0], [3.0, -8.0, 20.0]])


@dataclass(frozen=True)
class Truncated(ClosedForm):
    """A normal around (0.7, 0.7, 0.7), cut by the unit cube; its constant is left out."""

    def sample(self, n, seed=0):
        rng = np.random.default_rng(seed)
        root = np.linalg.cholesky(np.linalg.inv(PRECISION))
        draws = 0.7 + rng.normal(size=(40 * n, 3)) @ root.T
        inside = np.all((draws > 0) & (draws < 1), axis=1)
        return self.table(draws[inside][:n])

    def log_density(self, theta):
        away = theta - 0.7
        return -0.5 * away @ jnp.asarray(PRECISION) @ away


TRUNCATED = Truncated(uniform_prior([0, 0, 0], [1, 1, 1]))


@dataclass(frozen=True)
class InNumpy(ClosedForm):
    """A density that JAX cannot trace."""

    def sample(self, n, seed=0):
        return self.table(np.random.default_rng(seed).random((n, 2)))

    def log_density(self, theta):
        return float(np.sum(np.asarray(theta)))

    def log_prob(self, theta):
        return np.zeros(len(np.atleast_2d(getattr(theta, "array", theta))))


@dataclass(frozen=True)
class OnlySamples(ClosedForm):
    """A set of samples."""

    has_density = False

    def sample(self, n, seed=0):
        return self.table(np.random.default_rng(seed).random((n, 2)))

    def log_density(self, theta):
        raise ValueError("none")


@dataclass(frozen=True)
class Flat(ClosedForm):
    """The prior."""

    def sample(self, n, seed=0):
        return self.prior.sample(n, seed)

    def log_density(self, theta):
        return 0.0 * theta[0]


def batch(function, prior, *names):
    return lf.Model(prior, lf.BatchSimulator(function, names))
