"""Posteriors in closed form: normal, mixture, banana, and one that rises towards its bounds.

Each knows its modes, the share of each and its Hessian, in NumPy and float64; the library sees the
density through JAX alone.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import lanternfish as lf
from lanternfish.core import Folder

STATISTICS = (lf.Column("rate", "Hz"),)
OBSERVATION = lf.Observation(rate=1.0)


@dataclass(frozen=True)
class ClosedForm(lf.Posterior):
    """What the closed forms share."""

    prior: lf.Prior
    statistics = STATISTICS
    observation = OBSERVATION
    kind = "closed form"

    def at(self, observation):
        return self

    def write(self, folder: Folder):
        raise NotImplementedError

    def table(self, draws):
        return lf.Table(np.clip(draws, self.prior.low, self.prior.high), self.parameters)


@dataclass(frozen=True)
class Mixture(ClosedForm):
    """Normal components, far enough from each other and from the bounds to be modes themselves."""

    means: np.ndarray
    covariances: np.ndarray
    shares: np.ndarray

    def sample(self, n, seed=0):
        rng = np.random.default_rng(seed)
        label = rng.choice(len(self.shares), n, p=self.shares)
        roots = np.linalg.cholesky(self.covariances)
        noise = rng.normal(size=(n, len(self.prior)))
        return self.table(self.means[label] + np.einsum("nij,nj->ni", roots[label], noise))

    def log_density(self, theta):
        precisions = np.linalg.inv(self.covariances)
        constants = np.log(self.shares) - 0.5 * np.linalg.slogdet(self.covariances)[1]
        away = theta - self.means
        squares = jnp.einsum("ki,kij,kj->k", away, precisions, away)
        constant = jnp.asarray(constants - 0.5 * len(self.prior) * np.log(2 * np.pi))
        return jax.nn.logsumexp(constant - 0.5 * squares)

    def modes(self):
        return self.means

    def hessian(self, i):
        return -np.linalg.inv(self.covariances[i])


@dataclass(frozen=True)
class Banana(ClosedForm):
    """a ~ N(0, 1), b | a ~ N(bend (a^2 - 1), width^2): one bent ridge, its mode at (0, -bend).

    log p = -a^2 / 2 - (b - bend (a^2 - 1))^2 / (2 width^2) + constant; at the mode the Hessian is
    diag(-1, -1 / width^2), elsewhere it has off-diagonal terms, given in ``hessian_at``.
    """

    bend: float = 2.0
    width: float = 0.3

    def sample(self, n, seed=0):
        a, e = np.random.default_rng(seed).normal(size=(2, n))
        return self.table(np.stack([a, self.bend * (a**2 - 1) + self.width * e], axis=1))

    def log_density(self, theta):
        a, b = theta
        miss = (b - self.bend * (a**2 - 1)) / self.width
        return -0.5 * (a**2 + miss**2) - np.log(2 * np.pi * self.width)

    def modes(self):
        return np.array([[0.0, -self.bend]])

    def hessian(self, i):
        return self.hessian_at(*self.modes()[i])

    def hessian_at(self, a, b):
        k, w = self.bend, self.width**2
        r = b - k * (a**2 - 1)
        cross = 2 * k * a / w
        return np.array([[-1 - 4 * k**2 * a**2 / w + 2 * k * r / w, cross], [cross, -1 / w]])


@dataclass(frozen=True)
class Rising(ClosedForm):
    """p(a) ~ exp(5 a) on [0, 1], b normal: the density rises towards the bound of a."""

    def sample(self, n, seed=0):
        rng = np.random.default_rng(seed)
        a = np.log1p(rng.random(n) * np.expm1(5.0)) / 5
        return self.table(np.stack([a, rng.normal(0.5, 0.1, n)], axis=1))

    def log_density(self, theta):
        a, b = theta
        return 5 * a - 0.5 * ((b - 0.5) / 0.1) ** 2 - np.log(np.expm1(5.0) / 5)


@dataclass(frozen=True)
class Cusp(ClosedForm):
    """A density with a root at b = 0.5, where its second derivative is infinite; highest there."""

    def sample(self, n, seed=0):
        return self.table(np.random.default_rng(seed).random((n, 2)))

    def log_density(self, theta):
        return -jnp.sqrt(jnp.abs(theta[1] - 0.5)) - (theta[0] - 0.5) ** 2


def uniform_prior(low, high):
    """A prior of parameters a, b, ... of several units, or g0 to g30 of many."""
    names = [f"g{i}" for i in range(len(low))] if len(low) > 4 else "abcd"
    units = ("mS/cm2", "mV", "nS", "")
    laws = {
        name: lf.Uniform(float(a), float(b), unit=units[i % 4])
        for i, (name, a, b) in enumerate(zip(names, low, high, strict=False))
    }
    return lf.Prior(**laws)


def covariance(d, seed, spread):
    """Correlated, condition number about 100, in units of ``spread`` (d,)."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return spread[:, None] * (turn * np.geomspace(0.1, 10, d)) @ turn.T * spread


def normal(d, seed=3):
    """One normal in d dimensions whose parameters differ in size by a factor of 1,000."""
    spread = np.geomspace(0.01, 10, d) if d > 1 else np.ones(1)
    mean = np.linspace(-1, 1, d) * spread
    prior = uniform_prior(mean - 60 * spread, mean + 60 * spread)
    return Mixture(prior, mean[None], covariance(d, seed, spread)[None], np.ones(1))


def three(d=2):
    """Components of shares 0.5, 0.3 and 0.2, a narrow one among them, apart in every direction."""
    rng = np.random.default_rng(8)
    means = 20 * np.linalg.qr(rng.normal(size=(max(d, 3), 3)))[0][:d].T
    if d == 2:
        means = np.array([[-10.0, 0.0], [10.0, 3.0], [2.0, -12.0]])
    covariances = np.stack([covariance(d, k, np.full(d, s)) for k, s in enumerate((1, 0.2, 0.7))])
    prior = uniform_prior(np.full(d, -60), np.full(d, 60))
    return Mixture(prior, means, covariances, np.array([0.5, 0.3, 0.2]))


UNIT = uniform_prior([0, 0], [1, 1])
TABLE = {
    "normal, 1 parameter": normal(1),
    "normal, 2 parameters": normal(2),
    "normal, 31 parameters": normal(31),
    "three normals": three(2),
    "three normals, 31 parameters": three(31),
    "banana": Banana(uniform_prior([-6, -6], [6, 60])),
}
