"""What every posterior can do, on one whose density is known in closed form."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lanternfish.core import Column, Observation, Posterior, Prior, Table, Uniform
from lanternfish.core.posterior import Marginal

MEAN, SD = np.array([1.0, 30.0]), np.array([0.2, 5.0])
N = 4_000


class Known(Posterior):
    """Two independent normals, far from the bounds of a uniform prior."""

    kind = "known"
    statistics = (Column("rate"),)
    observation = Observation(rate=1.0)
    prior = Prior(a=Uniform(0, 2, unit="mS"), b=Uniform(0, 100, unit="mV"))

    def sample(self, n, seed=0):
        draws = np.random.default_rng(seed).normal(MEAN, SD, (n, 2))
        return Table(draws, self.parameters)

    def log_density(self, theta):
        z = (theta - jnp.asarray(MEAN)) / jnp.asarray(SD)
        return jnp.sum(-0.5 * z**2 - 0.5 * np.log(2 * np.pi)) - float(np.log(SD).sum())

    def at(self, observation):
        return self

    def write(self, folder):
        pass


@pytest.fixture(scope="module")
def posterior():
    return Known()


def test_log_prob(posterior):
    theta = posterior.sample(20).array
    expected = stats.norm(MEAN, SD).logpdf(theta).sum(axis=1)
    np.testing.assert_allclose(posterior.log_prob(theta), expected, rtol=1e-5, atol=1e-5)
    outside = [[-1, 30], [1, 101], [np.nan, 30]]
    assert np.all(np.isneginf(posterior.log_prob(outside)))
    assert posterior.log_prob({"b": 30, "a": 1}).shape == (1,)


def test_gradient(posterior):
    theta = posterior.sample(20).array
    expected = -(theta - MEAN) / SD**2
    np.testing.assert_allclose(posterior.gradient(theta), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"^Expected a between 0 and 2.+; got 3 in row 0\.$"):
        posterior.gradient([[3, 30]])


def test_map_is_the_mode(posterior):
    found = posterior.map(starts=200)
    assert found.columns == posterior.parameters
    np.testing.assert_allclose((found.array[0] - MEAN) / SD, 0, atol=1e-2)


def test_marginals(posterior):
    first, second = posterior.marginals(n=N)
    error = 5 / np.sqrt(N)  # five standard errors of a mean
    assert first.mean == pytest.approx(1, abs=error * 0.2)
    assert second.sd == pytest.approx(5, abs=error * 5)
    low, high = second.interval(0.9)
    exact = stats.norm(30, 5).ppf([0.05, 0.95])
    np.testing.assert_allclose([low, high], exact, atol=5 * 5 * error)
    assert repr(second).startswith("b = 3")
    assert repr(second).endswith("] mV")
    assert posterior.marginal("b", n=N).mean == second.mean
    with pytest.raises(ValueError, match=r"^Expected a mass between 0 and 1; got 1\.$"):
        first.interval(1)


def test_marginal_density_holds_all_mass_at_a_bound(seed):
    prior = Prior(a=Uniform(0, 1))
    values = np.random.default_rng(seed).beta(1, 3, N)
    marginal = Marginal(prior.columns[0], values, prior)
    grid = np.linspace(-0.5, 1.5, 4_001)
    assert np.trapezoid(marginal.density(grid), grid) == pytest.approx(1, abs=1e-3)
    assert marginal.density(-0.1) == 0


def test_unknown_parameter_is_named(posterior):
    with pytest.raises(KeyError, match=r"Expected one of a, b; got c\."):
        posterior.marginal("c")
