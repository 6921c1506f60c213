"""Six tasks of the simulation-based inference benchmark, as lanternfish models.

| task | parameters | data | what is hard |
|---|---|---|---|
| two_moons | 2 | 2 | two crescents |
| slcp | 5 | 8 | four modes, edges at the prior's bounds |
| gaussian_linear | 10 | 10 | dimension |
| gaussian_linear_uniform | 10 | 10 | dimension, bounds |
| gaussian_mixture | 2 | 2 | two scales, 1 and 0.1 |
| bernoulli_glm | 10 | 10 | correlated prior, counts |

Reference: Lueckmann, Boelts, Greenberg, Gonçalves & Macke (AISTATS 2021), appendix T; the mixture
as corrected in sbibm's rerun, both components around theta.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import lanternfish as lf


def two_moons() -> lf.Model:
    """A crescent of radius 0.1 whose place depends on |theta1 + theta2| and theta2 - theta1."""

    def simulate(theta, key):
        turn, length = jax.random.split(key)
        a = jax.random.uniform(turn, minval=-jnp.pi / 2, maxval=jnp.pi / 2)
        r = 0.1 + 0.01 * jax.random.normal(length)
        p = jnp.stack([r * jnp.cos(a) + 0.25, r * jnp.sin(a)])
        t1, t2 = theta["theta1"], theta["theta2"]
        return p + jnp.stack([-jnp.abs(t1 + t2), t2 - t1]) / jnp.sqrt(2.0)

    return _model("two_moons", _uniform(1.0, 2), simulate, 2)


def slcp() -> lf.Model:
    """Four draws of N(m, S): m = (theta1, theta2), S from sds theta3^2, theta4^2, tanh theta5."""

    def simulate(theta, key):
        m = jnp.stack([theta["theta1"], theta["theta2"]])
        s1, s2, rho = theta["theta3"] ** 2, theta["theta4"] ** 2, jnp.tanh(theta["theta5"])
        root = jnp.array([[s1, 0.0], [rho * s2, s2 * jnp.sqrt(1 - rho**2)]])
        return (m + jax.random.normal(key, (4, 2)) @ root.T).ravel()

    return _model("slcp", _uniform(3.0, 5), simulate, 8)


def gaussian_linear() -> lf.Model:
    """x ~ N(theta, 0.1 I), theta ~ N(0, 0.1 I)."""
    laws = {name: lf.Normal(0.0, float(np.sqrt(0.1))) for name in _names("theta", 10)}
    return _model("gaussian_linear", lf.Prior(**laws), _around_theta, 10)


def gaussian_linear_uniform() -> lf.Model:
    """x ~ N(theta, 0.1 I), theta uniform."""
    return _model("gaussian_linear_uniform", _uniform(1.0, 10), _around_theta, 10)


def gaussian_mixture() -> lf.Model:
    """x ~ 0.5 N(theta, I) + 0.5 N(theta, 0.01 I)."""

    def simulate(theta, key):
        which, noise = jax.random.split(key)
        sd = jnp.where(jax.random.bernoulli(which), 1.0, 0.1)
        return _vector(theta) + sd * jax.random.normal(noise, (2,))

    return _model("gaussian_mixture", _uniform(10.0, 2), simulate, 2)


def bernoulli_glm() -> lf.Model:
    """Spikes y_t ~ Bernoulli(sigmoid(b + sum_j h_j I_{t-j})), 100 steps, white noise I.

    theta = (b, h_0, ..., h_8); data: spike count and spike-triggered sums of I at lags 0 to 8. The
    prior, b ~ N(0, 2) and F h ~ N(0, 1) with F = D^2 + diag(sqrt(i / 9)) and D first differences,
    asks for a smooth filter that ends at zero.
    """
    difference = np.eye(9) - np.diag(np.ones(8), -1)
    smooth = difference @ difference + np.diag(np.arange(9) / 9) ** 0.5
    covariance = np.zeros((10, 10))
    covariance[0, 0], covariance[1:, 1:] = 2.0, np.linalg.inv(smooth.T @ smooth)
    prior = lf.Prior(lf.CorrelatedNormal(_names("theta", 10), np.zeros(10), covariance))
    current = np.random.RandomState(42).randn(100)
    design = np.ones((100, 10), np.float32)
    for lag in range(9):
        design[:, lag + 1] = np.pad(current, (lag, 0))[:100]

    def simulate(theta, key):
        chance = jax.nn.sigmoid(design @ _vector(theta))
        return jax.random.bernoulli(key, chance).astype(jnp.float32) @ design

    return _model("bernoulli_glm", prior, simulate, 10)


def _around_theta(theta, key):
    mean = _vector(theta)
    return mean + jnp.sqrt(0.1) * jax.random.normal(key, mean.shape)


def _vector(theta) -> jax.Array:
    return jnp.stack([theta[name] for name in _names("theta", len(theta))])


def _names(stem: str, n: int) -> list[str]:
    return [f"{stem}{i}" for i in range(1, n + 1)]


def _uniform(side: float, d: int) -> lf.Prior:
    return lf.Prior(**{name: lf.Uniform(-side, side) for name in _names("theta", d)})


def _model(name: str, prior: lf.Prior, simulate: Callable, k: int) -> lf.Model:
    simulator = lf.JaxSimulator(simulate, outputs=_names("x", k))
    return lf.Model(prior, simulator, name=name)


TASKS = {
    f.__name__: f
    for f in (
        two_moons,
        slcp,
        gaussian_linear,
        gaussian_linear_uniform,
        gaussian_mixture,
        bernoulli_glm,
    )
}


def observe(task: str, x: np.ndarray, number: int) -> lf.Observation:
    """Stored data (k,) as an observation of a task's model."""
    names = _names("x", len(x))
    return lf.Observation(f"{task} {number}", **dict(zip(names, x.tolist(), strict=True)))
