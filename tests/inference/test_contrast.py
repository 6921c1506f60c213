"""The contrast of likelihoods, and the race that it decides, against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import poisson

import lanternfish as lf
from lanternfish.cli.report import gather
from lanternfish.inference.contrast import contrast

MIX = np.array([[1.0, 0.3], [-0.4, 0.8], [0.5, 0.5]])
RATES = np.array([[1.0, 0.2], [0.2, 0.8], [-0.7, 0.5]])
QUICK = lf.inference.Training(batch=50, epochs=15)


def poissonian(theta, key):
    """Counts of a log-linear model: an exponential family whose A is a sum of exponentials."""
    vector = jnp.stack([theta["a"], theta["b"]])
    return jax.random.poisson(key, jnp.exp(1 + RATES @ vector)).astype(jnp.float32)


@pytest.fixture(scope="module")
def counts():
    prior = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1))
    model = lf.Model(prior, lf.JaxSimulator(poissonian, ("n1", "n2", "n3")))
    return model, lf.Observation(n1=5, n2=2, n3=1)


@pytest.fixture(scope="module")
def run(counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    method = lf.NLE(3_000, rounds=2, training=QUICK)
    return lf.infer(*counts, method, seed=0, store=folder, progress=False), folder


def test_contrast_is_what_its_definition_says():
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(200, 2))
    x = theta @ MIX.T + 0.5 * rng.normal(size=(200, 3))

    class Exact(eqx.Module):
        width: float

        def log_prob(self, x, theta):
            return -0.5 * jnp.sum((x - MIX @ theta) ** 2) / self.width**2

    logs = -0.5 * ((x[:, None] - theta @ MIX.T) ** 2).sum(axis=2) / 0.25
    by_hand = np.mean(np.diag(logs) - logsumexp(logs, axis=1) + np.log(200))
    assert contrast(Exact(0.5), theta, x) == pytest.approx(by_hand, abs=1e-4)
    assert contrast(Exact(0.5), theta, x) > max(contrast(Exact(w), theta, x) for w in (0.3, 0.9))


def test_counts_are_told_by_the_family_and_their_posterior_is_right(run):
    """Against quadrature on a grid."""
    posterior, last = run[0].posterior, run[0].history["rounds"][-1]["contrast"]
    assert last["exponential family"] > last["flow"]
    assert posterior.architecture is None
    axis = np.linspace(-4, 4, 401)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    logs = -0.5 * (grid**2).sum(axis=1)
    logs += poisson.logpmf([5, 2, 1], np.exp(1 + grid @ RATES.T)).sum(axis=1)
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    mean, samples = weight @ grid, posterior.sample(8_000).array
    covariance = (grid - mean).T @ ((grid - mean) * weight[:, None])
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=0.1 * sd.min())
    assert np.linalg.norm(np.cov(samples.T) - covariance) < 0.15 * np.linalg.norm(covariance)
    true = logs - logsumexp(logs) - 2 * np.log(axis[1] - axis[0])
    likely = true > true.max() - 3
    np.testing.assert_allclose(posterior.log_prob(grid[likely]), true[likely], atol=0.25)


def test_the_report_says_what_was_chosen(run):
    density = dict(gather(*run, ()).done)["density"]
    assert density.startswith("exponential family; chosen by held-out contrast in nats: flow ")


def test_a_kept_family_draws_the_same(run):
    fresh, folder = run
    again = lf.Run.load(folder).posterior
    assert np.array_equal(again.sample(40).array, fresh.posterior.sample(40).array)


def test_a_density_that_is_named_is_not_raced(counts):
    small = lf.flows.Architecture("maf", layers=1, width=8, depth=1)
    method = lf.NLE(1_200, rounds=2, density=small, training=QUICK)
    run = lf.infer(*counts, method, seed=0, progress=False)
    assert run.posterior.architecture == small
    assert "contrast" not in run.history["rounds"][-1]


def test_parameters_that_bend_keep_the_flow():
    """x of a ring: the natural parameters are not linear in theta."""

    def ring(theta, key):
        angle = 3 * theta["a"]
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)]) + 0.1 * jax.random.normal(key, (2,))

    model = lf.Model(lf.Prior(a=lf.Uniform(-1, 1)), lf.JaxSimulator(ring, ("x", "y")))
    method = lf.NLE(3_000, rounds=1, training=QUICK)
    run = lf.infer(model, lf.Observation(x=-1.0, y=0.0), method, seed=0, progress=False)
    assert run.posterior.architecture is not None
