"""A property as an observation with a tolerance: the errors that statistics get, for each kind."""

import jax
import numpy as np
import pytest
from scipy.stats import kstest

import lanternfish as lf
from lanternfish.inference import tolerant

PRIOR = lf.Prior(a=lf.Uniform(0, 4, unit="nS"), b=lf.Uniform(-2, 2))
OUTPUTS = (lf.Column("x", "Hz"), lf.Column("y"), lf.Column("z"))
PROPERTY = lf.EmergentProperty("bent", z=(1.0, 0.5), x=(2.0, 0.25))
NOISE = 0.2


def in_jax(theta, key):
    return {
        "x": theta["a"] + NOISE * jax.random.normal(key),
        "y": theta["b"],
        "z": theta["b"] ** 2,
    }


def in_python(theta, rng):
    noise = NOISE * rng.standard_normal()
    return {"z": theta["b"] ** 2, "y": theta["b"], "x": theta["a"] + noise}


def in_batches(theta, seeds):
    noise = [np.random.default_rng(int(s)).normal(0, NOISE) for s in seeds]
    return np.stack([theta[:, 0] + noise, theta[:, 1], theta[:, 1] ** 2], axis=1)


KINDS = {
    "jax": lf.JaxSimulator(in_jax, OUTPUTS),
    "python": lf.PythonSimulator(in_python, OUTPUTS),
    "batches": lf.BatchSimulator(in_batches, OUTPUTS),
}


@pytest.fixture(scope="module", params=KINDS)
def asked(request):
    n, trials = 2_000 if request.param != "python" else 300, 4
    model, measured = tolerant(lf.Model(PRIOR, KINDS[request.param]), PROPERTY, trials)
    return lf.simulate(model, n, seed=3, progress=False), measured, trials


def test_the_mean_is_what_was_measured(asked):
    sims, measured, _ = asked
    assert dict(measured) == {"z": 1.0, "x": 2.0}
    assert sims.x.names == ("z", "x")
    assert [c.unit for c in sims.x.columns] == ["", "Hz"]


def test_errors_have_the_property_s_deviation(asked):
    """z has no noise of its own; x has that of the mean of its trials, beside the error."""
    sims, _, trials = asked
    errors = {
        "z": (sims.x["z"] - sims.theta["b"] ** 2) / 0.5,
        "x": (sims.x["x"] - sims.theta["a"]) / np.hypot(0.25, NOISE / np.sqrt(trials)),
    }
    for values in errors.values():
        assert kstest(values, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(*errors.values())[0, 1]) < 4 / np.sqrt(len(sims))


def test_models_that_cannot_be_asked():
    elsewhere = lf.Model(PRIOR, lf.Elsewhere(OUTPUTS))
    with pytest.raises(TypeError, match=r"^Expected a model whose simulator runs here; got Elsew"):
        tolerant(elsewhere, PROPERTY)
    with pytest.raises(ValueError, match=r"^Expected statistics of the model .* got w"):
        tolerant(lf.Model(PRIOR, KINDS["jax"]), lf.EmergentProperty(w=(1, 1)))


def test_two_models_have_two_fingerprints():
    one, other = (
        tolerant(lf.Model(PRIOR, KINDS[kind]), PROPERTY)[0].describe()["simulator"]
        for kind in ("python", "batches")
    )
    changed = tolerant(lf.Model(PRIOR, KINDS["python"]), PROPERTY, trials=2)[0]
    assert len({one, other, changed.describe()["simulator"]}) == 3
