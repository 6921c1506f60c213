"""The six tasks in NumPy: what peers simulate with, and the likelihoods that tests check with.

They say the same as ``tasks`` does in JAX, from the same mathematics, and share no code with it.

Reference: Lueckmann, Boelts, Greenberg, Gonçalves & Macke (AISTATS 2021), appendix T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Task:
    """A prior, a simulator and its likelihood.

    Attributes:
        simulate: ``simulate(theta (n, d), rng) -> (n, k)``.
        log_likelihood: ``log_likelihood(theta (n, d), x (k,)) -> (n,)``, up to a function of x.
        low, high: bounds of a uniform prior, shape (d,).
        covariance: of a normal prior around zero, shape (d, d).
    """

    simulate: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    log_likelihood: Callable[[np.ndarray, np.ndarray], np.ndarray]
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    covariance: np.ndarray | None = None

    def sample_prior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of the prior, shape (n, d)."""
        if self.covariance is None:
            return rng.uniform(self.low, self.high, (n, len(self.low)))
        return rng.multivariate_normal(np.zeros(len(self.covariance)), self.covariance, n)

    def log_prior(self, theta: np.ndarray) -> np.ndarray:
        """Log density of the prior up to a constant, shape (n,)."""
        if self.covariance is None:
            inside = np.all((theta >= self.low) & (theta <= self.high), axis=1)
            return np.where(inside, 0.0, -np.inf)
        return -0.5 * np.sum(theta * np.linalg.solve(self.covariance, theta.T).T, axis=1)

    def log_posterior(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Log density of the posterior up to a constant, shape (n,)."""
        return self.log_prior(theta) + self.log_likelihood(theta, x)


def _moon_centre(theta: np.ndarray) -> np.ndarray:
    shift = [-abs(theta[:, 0] + theta[:, 1]), theta[:, 1] - theta[:, 0]]
    return np.stack(shift, axis=1) / np.sqrt(2) + [0.25, 0.0]


def _simulate_moons(theta, rng):
    angle = rng.uniform(-np.pi / 2, np.pi / 2, len(theta))
    radius = rng.normal(0.1, 0.01, len(theta))
    crescent = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _moon_centre(theta) + crescent


def _moons(theta, x):
    """Density in polar coordinates: uniform in angle over pi, normal in radius, Jacobian 1 / r."""
    p = x - _moon_centre(theta)
    r = np.maximum(np.hypot(p[:, 0], p[:, 1]), 1e-12)
    value = -0.5 * ((r - 0.1) / 0.01) ** 2 - np.log(r)
    return np.where(p[:, 0] > 0, value, -np.inf)


def _simulate_slcp(theta, rng):
    z = rng.normal(size=(len(theta), 4, 2))
    s1, s2, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, np.tanh(theta[:, 4])
    first = theta[:, :1] + s1[:, None] * z[..., 0]
    mixed = rho[:, None] * z[..., 0] + np.sqrt(1 - rho**2)[:, None] * z[..., 1]
    second = theta[:, 1:2] + s2[:, None] * mixed
    return np.stack([first, second], axis=2).reshape(len(theta), 8)


def _slcp(theta, x):
    """Four points of one bivariate normal: the quadratic form and determinant, written out."""
    s1, s2, rho = theta[:, 2:3] ** 2, theta[:, 3:4] ** 2, np.tanh(theta[:, 4:5])
    u, v = (x[0::2] - theta[:, :1]) / s1, (x[1::2] - theta[:, 1:2]) / s2
    form = (u**2 - 2 * rho * u * v + v**2) / (1 - rho**2)
    log_det = 2 * np.log(s1) + 2 * np.log(s2) + np.log1p(-(rho**2))
    return np.sum(-0.5 * form - 0.5 * log_det - _LOG_2PI, axis=1)


def _simulate_linear(theta, rng):
    return theta + np.sqrt(0.1) * rng.normal(size=theta.shape)


def _linear(theta, x):
    return -0.5 * np.sum((x - theta) ** 2, axis=1) / 0.1


def _simulate_mixture(theta, rng):
    sd = np.where(rng.uniform(size=(len(theta), 1)) < 0.5, 1.0, 0.1)
    return theta + sd * rng.normal(size=theta.shape)


def _mixture(theta, x):
    square = np.sum((x - theta) ** 2, axis=1)
    return np.logaddexp(-0.5 * square, -0.5 * square / 0.01 - np.log(0.01))


def glm_design() -> np.ndarray:
    """Rows (1, I_t, ..., I_{t-8}) of 100 steps of white noise I, shape (100, 10).

    The noise is NumPy's legacy generator seeded with 42, as in sbibm.
    """
    noise = np.random.RandomState(42).randn(100)
    lagged = [np.concatenate([np.zeros(lag), noise[: 100 - lag]]) for lag in range(9)]
    return np.stack([np.ones(100), *lagged], axis=1)


def glm_prior_precision() -> np.ndarray:
    """Of offset (variance 2) and a filter of nine lags whose second differences are small."""
    step = np.eye(9) - np.eye(9, k=-1)
    root = step @ step + np.diag(np.sqrt(np.arange(9) / 9))
    precision = np.zeros((10, 10))
    precision[0, 0] = 0.5
    precision[1:, 1:] = root.T @ root
    return precision


def _simulate_glm(theta, rng):
    design = glm_design()
    chance = 1 / (1 + np.exp(-theta @ design.T))
    return (rng.uniform(size=chance.shape) < chance) @ design


def _glm(theta, x):
    """Exponential family: the statistics (spike count, spike-triggered sums) are sufficient."""
    return theta @ x - np.sum(np.logaddexp(0.0, theta @ glm_design().T), axis=1)


def _box(side: float, d: int) -> dict[str, np.ndarray]:
    return {"low": np.full(d, -side), "high": np.full(d, side)}


TASKS = {
    "two_moons": Task(_simulate_moons, _moons, **_box(1.0, 2)),
    "slcp": Task(_simulate_slcp, _slcp, **_box(3.0, 5)),
    "gaussian_linear": Task(_simulate_linear, _linear, covariance=0.1 * np.eye(10)),
    "gaussian_linear_uniform": Task(_simulate_linear, _linear, **_box(1.0, 10)),
    "gaussian_mixture": Task(_simulate_mixture, _mixture, **_box(10.0, 2)),
    "bernoulli_glm": Task(_simulate_glm, _glm, covariance=np.linalg.inv(glm_prior_precision())),
}
