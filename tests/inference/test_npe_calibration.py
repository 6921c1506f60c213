"""Simulation-based calibration of NPE's defaults, on a cheap model of each kind.

300 simulations that training has not seen; a posterior that is right fails one time in a hundred.
Learned ones are right up to what 4,000 simulations teach: seeds are fixed, so the test is steady.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import lanternfish as lf
from lanternfish.diagnostics import calibration_check

BUDGET = 4_000


def bounded(theta, key):
    """Noise as wide as a third of the prior: most posteriors lean against a bound."""
    return jnp.stack([theta["a"], theta["b"]]) + 0.3 * jr.normal(key, (2,))


def counts(theta, key):
    """Few spikes in two windows: statistics with repeated values."""
    rates = jnp.stack([theta["rate"], theta["rate"] * jnp.exp(theta["gain"])])
    return jr.poisson(key, rates).astype(jnp.float32)


def moons(theta, key):
    """Two crescents (Greenberg et al. 2019): |a + b| leaves two branches."""
    angle_key, radius_key = jr.split(key)
    angle = jr.uniform(angle_key, minval=-jnp.pi / 2, maxval=jnp.pi / 2)
    radius = 0.1 + 0.01 * jr.normal(radius_key)
    a, b = theta["a"], theta["b"]
    away = jnp.stack([-jnp.abs(a + b), b - a]) / jnp.sqrt(2)
    return jnp.stack([radius * jnp.cos(angle) + 0.25, radius * jnp.sin(angle)]) + away


def trials(theta, key):
    """Up to ten repetitions with their own mean and spread."""
    noise_key, number_key = jr.split(key)
    drawn = theta["mean"] + jnp.exp(theta["log_sd"]) * jr.normal(noise_key, (10, 1))
    absent = jnp.arange(10) >= jr.randint(number_key, (), 3, 11)
    return {"responses": jnp.where(absent[:, None], jnp.nan, drawn)}


def some_invalid(theta, key):
    """A floor below which there is no statistic, as where no spike is fired.

    Both statistics are noisy: to a parameter that is told exactly no density can be calibrated.
    """
    first, second = 0.3 * jr.normal(key, (2,))
    x = theta["a"] + first
    return jnp.where(x > -0.5, jnp.stack([x, theta["b"] * x + second]), jnp.nan)


UNIT = {"a": lf.Uniform(-1, 1), "b": lf.Uniform(-1, 1)}
MODELS = {
    "bounded": (bounded, ("x", "y"), {"a": lf.Uniform(0, 1), "b": lf.LogUniform(0.1, 1)}),
    "counts": (counts, ("n1", "n2"), {"rate": lf.LogUniform(0.5, 20), "gain": lf.Normal(0, 1)}),
    "bimodal": (moons, ("x", "y"), UNIT),
    "trials": (
        trials,
        (lf.Trials("responses", 10),),
        {"mean": lf.Normal(0, 1), "log_sd": lf.Normal(0, 0.5)},
    ),
    "invalid": (some_invalid, ("x", "y"), UNIT),
}


def calibrated(model):
    fresh = lf.simulate(model, 400, seed=99, progress=False)
    first = fresh[fresh.valid][:1].x
    target = lf.Observation.from_array(first.array[0], first.columns)
    run = lf.infer(model, target, lf.NPE(BUDGET), seed=0, progress=False)
    return calibration_check(run.posterior, model, simulations=fresh[:300]).finding


@pytest.mark.slow
def test_a_linear_gaussian_model(gaussian_model):
    found = calibrated(gaussian_model)
    assert found["passed"], found["sentence"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_each_kind(name):
    function, outputs, laws = MODELS[name]
    found = calibrated(lf.Model(lf.Prior(**laws), lf.JaxSimulator(function, outputs), name=name))
    assert found["passed"], found["sentence"]
    jax.clear_caches()
