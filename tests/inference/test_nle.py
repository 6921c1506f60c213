"""Neural likelihood estimation against closed forms, with and without dead regions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import lanternfish as lf
from lanternfish.inference.nle_posterior import Likelihood, NLEPosterior, bridge

QUICK = lf.inference.Training(batch=50, epochs=30)
SMALL = lf.flows.Architecture("maf", layers=2, width=16, depth=1)


@pytest.fixture(scope="module")
def run(gaussian_model, gaussian_target, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nle")
    method = lf.NLE(2_000, rounds=2, density=SMALL)
    return lf.infer(
        gaussian_model, gaussian_target, method, seed=1, store=folder, progress=False
    ), folder


def test_linear_gaussian_posterior(run, exact):
    mean, covariance = exact()
    samples = run[0].posterior.sample(4_000).array
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.15 * sd.min())
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.2 * sd.max() ** 2)


def test_log_prob_is_normalised(run, exact):
    mean, covariance = exact()
    theta = np.random.default_rng(0).multivariate_normal(mean, covariance, 300)
    away = theta - mean
    true = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    true -= np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance)[1]
    error = run[0].posterior.log_prob(theta) - true
    assert abs(np.mean(error)) < 0.1
    assert np.mean(np.abs(error)) < 0.2


def test_run_folder_round_trip(run, gaussian_model, gaussian_target):
    fresh, folder = run
    again = lf.Run.load(folder)
    assert np.array_equal(again.posterior.sample(40).array, fresh.posterior.sample(40).array)
    resumed = lf.infer(
        gaussian_model, gaussian_target, lf.NLE(2_000, rounds=2, density=SMALL),
        seed=1, store=folder, progress=False,
    )  # fmt: skip
    assert np.array_equal(resumed.posterior.sample(40).array, fresh.posterior.sample(40).array)


def test_another_observation_is_refused(run):
    with pytest.raises(ValueError, match=r"^Expected an amortised posterior"):
        run[0].posterior.at(lf.Observation(x1=0, x2=0, x3=0))


def half_dead(theta, key):
    """x = theta + noise, valid with the known chance Phi(3 theta)."""
    noise_key, life_key = jax.random.split(key)
    alive = jax.random.normal(life_key) < 3 * theta["a"]
    return jnp.where(alive, theta["a"] + 0.5 * jax.random.normal(noise_key), jnp.nan)[None]


def test_the_chance_of_validity_is_part_of_the_posterior():
    """p(a | x, valid) = N(a; 0, 1) Phi(3 a) N(x; a, 0.5) / Z, by quadrature."""
    model = lf.Model(lf.Prior(a=lf.Normal(0, 1)), lf.JaxSimulator(half_dead, ("x",)))
    target = lf.Observation(x=-0.2)
    method = lf.NLE(6_000, rounds=2, density=SMALL)
    posterior = lf.infer(model, target, method, seed=0, progress=False).posterior
    axis = np.linspace(-4, 4, 4_001)
    density = norm.pdf(axis) * norm.cdf(3 * axis) * norm.pdf(-0.2, axis, 0.5)
    density /= density.sum()
    mean = np.sum(axis * density)
    sd = np.sqrt(np.sum((axis - mean) ** 2 * density))
    without = -0.2 / (1 + 0.25)  # where the chance of validity is left out
    samples = posterior.sample(4_000)["a"]
    assert abs(mean - without) > 1.0 * sd
    assert samples.mean() == pytest.approx(mean, abs=0.25 * sd)
    assert samples.std() == pytest.approx(sd, rel=0.2)
    chance = [np.exp(posterior.log_valid(jnp.array([a]))) for a in (-0.5, 0.0, 0.5)]
    assert chance == pytest.approx(norm.cdf([-1.5, 0.0, 1.5]), abs=0.08)
    rising = jax.grad(lambda a: posterior.log_valid(a[None]))(jnp.float32(0.0))
    assert rising == pytest.approx(3 * norm.pdf(0) / 0.5, rel=0.25)


def test_samples_at_hand_are_those_that_chains_start_from(run):
    posterior = run[0].posterior
    some = posterior.at_hand(50, seed=1).array
    kept = posterior.from_unbounded(posterior.pool)
    assert len(some) == 50
    assert np.all((some[:, None] == kept).all(axis=2).any(axis=1))


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_proposals_of_a_lower_power_are_as_much_wider(power):
    """Precisions of a normal prior and a quadratic likelihood, whose power multiplies its own."""
    prior = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1))
    zero, one, own = np.zeros(2), np.eye(2), np.diag([3.0, 8.0])
    parts = (zero, one, np.zeros((1, 2)), zero, own, zero[:1], np.zeros((1, 2)), zero[:1], 1e6)
    family = lf.flows.ExponentialFamily(*(jnp.asarray(a, jnp.float32) for a in parts))
    posterior = NLEPosterior(
        prior, (lf.Column("x"),), lf.Observation(x=0.0), Likelihood(family, None), None,
        np.zeros((1, 1)), np.zeros((1, 2)),
    )  # fmt: skip
    seeds = np.arange(4_096, dtype=np.uint64)
    ends = posterior.chains(np.zeros((4_096, 2)), seeds, steps=40, power=power)
    assert np.abs(ends.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(ends.var(axis=0), 1 / (1 + power * np.diag(own)), rtol=0.1)


def test_validity_that_was_not_learned_cannot_be_asked_for(run):
    with pytest.raises(ValueError, match="of which some were invalid"):
        run[0].posterior.log_valid(jnp.zeros(2))


def test_bridge_sampling_finds_a_known_constant():
    rng = np.random.default_rng(0)
    samples, guide = rng.normal(0.3, 0.7, 20_000), rng.normal(0, 1, 20_000)
    ratio = lambda z: 5.0 + norm.logpdf(z, 0.3, 0.7) - norm.logpdf(z)  # noqa: E731
    assert bridge(ratio(samples), ratio(guide)) == pytest.approx(5.0, abs=0.03)


def test_statistics_that_repeat_do_not_break_the_density(gaussian_target):
    """A count and a floor: densities on points would diverge."""

    def simulate(theta, key):
        x = theta["a"] + jax.random.normal(key, (3,))
        return jnp.stack([jnp.round(x[0]), jnp.maximum(x[1], 0.0), x[2]])

    model = lf.Model(lf.Prior(a=lf.Normal(0, 2)), lf.JaxSimulator(simulate, ("x1", "x2", "x3")))
    method = lf.NLE(1_000, rounds=2, density=SMALL, training=QUICK)
    run = lf.infer(model, gaussian_target, method, seed=0, progress=False)
    assert np.isfinite(run.history["rounds"][-1]["validation"]).all()
    assert abs(run.posterior.sample(2_000)["a"].mean() - 0.9) < 0.6


@pytest.mark.parametrize("fields", [{"rounds": 0}, {"simulations": 3}, {"density": "no"}])
def test_bad_method(fields):
    with pytest.raises(ValueError, match=r"^Expected .*got"):
        lf.NLE(**fields)
