"""Likelihoods up to a function of x, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, poisson

import lanternfish as lf
from lanternfish.cli.report import gather
from lanternfish.inference import contrast as room
from lanternfish.inference.contrast import Region, contrast, exponential

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


@pytest.fixture
def brief(monkeypatch):
    """First fits of few steps, for what does not depend on how good they are."""
    monkeypatch.setattr(room, "_STEPS", 30)


def linear_gaussian(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(n, 2))
    return theta, theta @ MIX.T + 0.5 * rng.normal(size=(n, 3))


def test_a_linear_gaussian_model_is_found():
    """l(x, s) - l(x, t) is the difference of log likelihoods."""
    theta, x = linear_gaussian(2_000)
    family = exponential(theta, x, Region(theta), seed=0, steps=20)
    assert family is not None
    some, points = x[:5], np.random.default_rng(1).uniform(-1, 1, (40, 2))
    found = np.array([[float(family.log_prob(a, t)) for t in points] for a in some])
    true = np.array([multivariate_normal.logpdf(points @ MIX.T, a, 0.25) for a in some])
    differences = lambda logs: logs - logs.mean(axis=1, keepdims=True)  # noqa: E731
    error = differences(found) - differences(true)
    assert np.std(error) < 0.1 * np.std(differences(true))


def test_contrast_is_what_its_definition_says():
    theta, x = linear_gaussian(200)

    class Exact(room.eqx.Module):
        width: float

        def log_prob(self, x, theta):
            return -0.5 * jnp.sum((x - MIX @ theta) ** 2) / self.width**2

    logs = -0.5 * ((x[:, None] - theta @ MIX.T) ** 2).sum(axis=2) / 0.25
    by_hand = np.mean(np.diag(logs) - logsumexp(logs, axis=1) + np.log(200))
    assert contrast(Exact(0.5), theta, x) == pytest.approx(by_hand, abs=1e-4)
    assert contrast(Exact(0.5), theta, x) > max(contrast(Exact(w), theta, x) for w in (0.3, 0.9))


def test_slopes_by_blocks_are_those_of_the_plain_formula():
    rng = np.random.default_rng(0)
    u, y = rng.normal(size=(300, 2)), rng.normal(size=(300, 3))
    pairs = jax.tree.map(jnp.asarray, room._padded(u, y))
    shapes = ((3, 2), (2,), (2, 2), (4,), (4, 2), (4,))
    free = room._Free(*(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes))
    still = jax.tree.map(jnp.zeros_like, free)

    def plain(free):
        bent = jax.nn.softplus(u @ free.projections.T + free.offsets) @ free.heights
        normaliser = u @ free.linear + 0.5 * jnp.sum(u * (u @ free.square.T), axis=1) + bent
        logs = y @ (u @ free.natural.T).T - normaliser
        cost = 0.1 * sum(jnp.sum(a**2) for a in (*free[:3], free.projections))
        cost += jnp.sum(free.heights**2)
        return (jnp.sum(jax.nn.logsumexp(logs, axis=1) - jnp.diag(logs)) + cost) / 300

    value, slopes = room._loss(free, still, pairs)
    true, true_slopes = jax.value_and_grad(plain)(free)
    assert value == pytest.approx(float(true), rel=1e-5)
    np.testing.assert_allclose(
        ravel_pytree(slopes)[0], ravel_pytree(true_slopes)[0], rtol=2e-3, atol=2e-5
    )


@pytest.mark.parametrize("n", [100, room._BLOCK, room._GROUP, 2 * room._GROUP + 1])
def test_each_pair_is_in_one_group(n):
    row = np.arange(n, dtype=np.float32)[:, None]
    pairs = room._padded(row, -row)
    assert np.array_equal(np.sort(pairs.u[pairs.real, 0]), row[:, 0])
    assert np.array_equal(pairs.u, -pairs.y)
    groups = pairs.real.reshape(-1, min(len(pairs.real), room._GROUP)).sum(axis=1)
    assert np.ptp(groups) <= 1


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


def test_parameters_that_bend_keep_the_flow(brief):
    """x of a ring: the natural parameters are not linear in theta."""

    def ring(theta, key):
        angle = 3 * theta["a"]
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)]) + 0.1 * jax.random.normal(key, (2,))

    model = lf.Model(lf.Prior(a=lf.Uniform(-1, 1)), lf.JaxSimulator(ring, ("x", "y")))
    method = lf.NLE(3_000, rounds=1, training=QUICK)
    run = lf.infer(model, lf.Observation(x=-1.0, y=0.0), method, seed=0, progress=False)
    assert run.posterior.architecture is not None


def test_too_few_or_unpromising_pairs_give_no_family(brief):
    theta, x = linear_gaussian(3_000)
    assert exponential(theta[:100], x[:100], Region(theta), seed=0, steps=5) is None
    refuse = lambda family: False  # noqa: E731
    assert exponential(theta, x, Region(theta), seed=0, steps=5, promising=refuse) is None


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scales_of_statistics_do_not_matter(brief, scale):
    theta, x = linear_gaussian(1_500)
    told = []
    for unit in (1.0, scale):
        family = exponential(theta, unit * x, Region(theta), seed=0, steps=5)
        assert family is not None
        told.append(contrast(family, theta, unit * x))
    assert told[0] > 1.5
    assert told[1] == pytest.approx(told[0], abs=0.01)


def test_a_statistic_without_noise_gives_a_number(brief):
    theta, x = linear_gaussian(1_500)
    x = np.c_[x, theta[:, 0]]
    family = exponential(theta, x, Region(theta), seed=0, steps=5)
    assert family is not None
    assert np.isfinite(contrast(family, theta, x))
