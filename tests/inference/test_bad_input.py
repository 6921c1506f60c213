"""What studies cannot, or hardly, learn from: each is found, and said in a sentence.

Far observations, constant statistics and invalid simulations stand in ``test_rounds`` and
``test_npe``.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.cli.report import _notes

SMALL = lf.flows.Architecture("maf", layers=2, width=16, depth=1)
QUICK = lf.inference.Training(epochs=40)
PRIOR = lf.Prior(a=lf.Normal(0, 1), b=lf.Uniform(-1, 1))


def learned(function, outputs, target, simulations=2_000, prior=PRIOR, **method):
    model = lf.Model(prior, lf.JaxSimulator(function, outputs))
    settings = lf.NPE(simulations, density=SMALL, training=QUICK, **method)
    return lf.infer(model, target, settings, seed=0, progress=False)


def of_scales(first, second):
    """A linear Gaussian model whose statistics have these scales; both sets from equal draws."""

    def simulate(theta, key):
        x = jnp.stack([theta["a"] + theta["b"], theta["b"] - theta["a"]])
        x = x + 0.3 * jr.normal(key, (2,))
        return x * jnp.array([first, second])

    target = lf.Observation(x=0.5 * first, y=0.1 * second)
    return learned(simulate, ("x", "y"), target).posterior.sample(5_000).array


def test_scales_of_statistics_do_not_matter():
    """1e-12 and 1e12 as 1 and 1: equal up to rounding in training, a twentieth of the spread."""
    plain, extreme = of_scales(1.0, 1.0), of_scales(1e-12, 1e12)
    sd = plain.std(axis=0)
    np.testing.assert_allclose(extreme.mean(axis=0), plain.mean(axis=0), atol=0.05 * sd.min())
    np.testing.assert_allclose(extreme.std(axis=0), sd, rtol=0.05)


def test_heavy_tails_do_not_break_training():
    """Two Cauchy statistics around a: the posterior by quadrature, with errors of 4,000 pairs."""

    def simulate(theta, key):
        return theta["a"] + 0.3 * jr.cauchy(key, (2,))

    def density(a):
        noise = [(1 + ((x - a) / 0.3) ** 2) for x in (0.4, 0.7)]
        return np.exp(-0.5 * a**2) / np.prod(noise, axis=0)

    target = lf.Observation(x=0.4, y=0.7)
    run = learned(simulate, ("x", "y"), target, 4_000, lf.Prior(a=lf.Normal(0, 1)))
    assert np.ptp(run.simulations.x.array) > 1_000
    a = np.linspace(-6, 6, 4_001)
    weight = density(a) / density(a).sum()
    mean = weight @ a
    sd = np.sqrt(weight @ (a - mean) ** 2)
    found = run.posterior.sample(10_000)["a"]
    assert abs(found.mean() - mean) < 0.3 * sd
    assert 0.7 < found.std() / sd < 1.4
    far = run.posterior.at(lf.Observation(x=1e30, y=-1e30))
    assert np.isfinite(far.sample(100).array).all()


def test_statistics_that_say_nothing():
    def simulate(theta, key):
        return jr.normal(key, (2,))

    target = lf.Observation(x=0.0, y=0.0)
    with pytest.warns(
        UserWarning, match=r"^Expected a first round that learns .*got 0.* nats.*rai"
    ):
        run = learned(simulate, ("x", "y"), target, 1_000)
    assert any("no more than chance" in note for note in _notes(run))


def test_what_was_learned_is_the_mutual_information(gaussian_run, exact):
    """Of a linear Gaussian model: half the log ratio of determinants, prior to posterior."""
    before = np.prod([1.0, 2.0]) ** 2  # variances of the prior
    true = 0.5 * np.log(before / np.linalg.det(exact()[1]))
    assert gaussian_run.history["rounds"][0]["learned"] == pytest.approx(true, abs=0.3)
    assert "little" not in gaussian_run.history["rounds"][0]


def test_a_budget_too_small_for_what_there_is_to_learn():
    """Sixty simulations of eight parameters, each seen through noise."""
    prior = lf.Prior(**{f"p{i}": lf.Uniform(0, 1) for i in range(8)})

    def simulate(theta, key):
        return jnp.stack(list(theta.values())) + 2.0 * jr.normal(key, (8,))

    target = lf.Observation(**{f"x{i}": 0.5 for i in range(8)})
    with pytest.warns(UserWarning, match=r"raise the number of simulations, 60 valid ones now"):
        learned(simulate, [f"x{i}" for i in range(8)], target, 60, prior)


def test_more_parameters_than_simulations():
    prior = lf.Prior(**{f"p{i}": lf.Uniform(0, 1) for i in range(80)})

    def simulate(theta, key):
        return jnp.stack(list(theta.values()))[:3] + jax.random.normal(key, (3,))

    target = lf.Observation(x=0.5, y=0.5, z=0.5)
    words = r"^Expected at least 80 valid simulations, one for each of 80 parameters, .*got 60: "
    with pytest.raises(ValueError, match=words):
        learned(simulate, ("x", "y", "z"), target, 60, prior)


def test_rounds_that_collapse_keep_the_posterior():
    """Valid only where the posterior of the first round is not: nothing there to learn from."""

    def simulate(theta, key):
        x = theta["a"] + 0.1 * jr.normal(key, (2,))
        return jnp.where(jnp.abs(theta["a"]) > 0.2, x, jnp.nan)

    target = lf.Observation(x=0.0, y=0.0)
    run = learned(simulate, ("x", "y"), target, 600, rounds=2)
    samples = run.posterior.sample(500).array
    assert np.isfinite(samples).all()
    assert all(r["simulations"] == 300 for r in run.history["rounds"])
