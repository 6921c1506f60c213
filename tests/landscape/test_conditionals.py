"""Conditional distributions and compensation against normal formulas and quadrature."""

import numpy as np
import pytest
from closed_forms import TABLE, Banana, normal, uniform_prior
from quadrature_forms import PRECISION, TRUNCATED
from scipy.integrate import quad
from scipy.stats import kstest, multivariate_normal

import lanternfish as lf
from lanternfish.landscape import compensation, conditional, conditional_pairs
from lanternfish.landscape.slices import weights

EXACT = 2e-3  # of correlations and of log standard deviations: float32 and the quadrature rule
SE = 5
BANANA = TABLE["banana"]


def given_others(posterior, free, theta):
    """Mean and covariance of free parameters of a normal posterior given the rest."""
    names = posterior.prior.names
    f = [names.index(n) for n in free]
    o = [i for i in range(len(names)) if i not in f]
    S, mean = posterior.covariances[0], posterior.means[0]
    gain = S[np.ix_(f, o)] @ np.linalg.inv(S[np.ix_(o, o)])
    return mean[f] + gain @ (theta[o] - mean[o]), S[np.ix_(f, f)] - gain @ S[np.ix_(o, f)]


def test_the_rule_is_exact_for_cubics():
    """Weights of sum n - 1, exact for polynomials of low degree, as the trapezoid's are not."""
    for n in (7, 20, 33):
        x = np.linspace(0, n - 1, n)
        for power in range(3):
            exact = (n - 1) ** (power + 1) / (power + 1)
            assert weights(n) @ x**power == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("free", [["g4"], ["g2", "g20"]])
def test_densities_of_one_and_two_parameters(free, seed):
    posterior = normal(31)
    theta = posterior.sample(1, seed=3)
    found = conditional(posterior, theta, free)
    mean, covariance = given_others(posterior, free, theta.array[0])
    points = np.random.default_rng(seed).multivariate_normal(mean, covariance, 20)
    expected = multivariate_normal(mean, covariance).logpdf(points)
    np.testing.assert_allclose(found.log_prob(points), expected, atol=1e-3)
    axes, density = found.grid
    step = np.prod([a[1] - a[0] for a in axes])
    assert density.sum() * step == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("k", [1, 2, 12])
def test_samples_given_the_rest(k, seed):
    posterior = normal(31)
    theta = posterior.sample(1, seed=3)
    free = posterior.prior.names[:k]
    mean, covariance = given_others(posterior, free, theta.array[0])
    found = conditional(posterior, theta, list(free))
    draws = found.sample(2_000, seed=seed).array
    white = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T).T
    worth = 500  # of 2,000 draws of chains
    assert np.abs(white.mean(axis=0)).max() < SE / np.sqrt(worth)
    assert np.abs(np.cov(white.T) - np.eye(k)).max() < SE * np.sqrt(2 / worth)
    if k > 1:
        assert found.chains(400, seed)[1].max() < 1.15


def test_samples_within_bounds_and_around_a_bend(seed):
    """One parameter of a truncated normal, and both of a banana given nothing but itself."""
    found = conditional(TRUNCATED, {"a": 0.95, "b": 0.2, "c": 0.5}, ["a"])
    draws = found.sample(3_000, seed=seed)["a"]
    mean, sd = 0.7 - (25 * (0.2 - 0.7) + 3 * (0.5 - 0.7)) / 30, 1 / np.sqrt(30)

    def density(x):
        return np.exp(-0.5 * ((x - mean) / sd) ** 2)

    whole = quad(density, 0, 1)[0]
    grid = np.linspace(0, 1, 2_001)
    below = np.cumsum(density(grid)) * (grid[1] - grid[0]) / whole
    assert kstest(draws, lambda x: np.interp(x, grid, below)).pvalue > 1e-3
    bent = conditional(BANANA, {"a": 1.0, "b": 0.0}, ["b"])
    values = bent.sample(3_000, seed=seed)["b"]
    assert kstest((values - 0.0) / 0.3, "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("given", "free", "words"),
    [
        ({"a": 7.0}, None, "Expected a between -6 and 6"),
        ({"c": 1.0}, None, "Expected names among a, b; got c"),
        ({"a": 1.0, "b": 2.0}, None, "got nothing free"),
        ({"a": 1.0}, ["a"], "got neither for b"),
        ({}, None, "and one of either kind"),
        ({"b": 59.0}, None, "Expected given values that the posterior reaches"),
    ],
)
def test_conditions_that_do_not_fit(given, free, words):
    with pytest.raises(ValueError, match=words):
        conditional(Banana(uniform_prior([-6, -6], [6, 60]), width=0.05, bend=0.2), given, free)


def test_a_density_of_many_is_not_normalised():
    posterior = normal(31)
    found = conditional(posterior, posterior.sample(1), list(posterior.prior.names[:3]))
    with pytest.raises(ValueError, match="one or two free parameters"):
        found.log_prob(posterior.sample(2)[["g0", "g1", "g2"]])
    assert found.log_density(posterior.sample(2)[["g0", "g1", "g2"]]).shape == (2,)


@pytest.fixture(scope="module")
def of_a_normal():
    posterior = normal(8)
    return posterior, compensation(posterior, points=5, seed=1)


def test_conditional_correlations_are_partial_correlations(of_a_normal):
    posterior, found = of_a_normal
    precision = np.linalg.inv(posterior.covariances[0])
    scale = np.sqrt(np.diag(precision))
    partial = -precision / np.outer(scale, scale)
    np.fill_diagonal(partial, 1)
    assert np.abs(found.values - partial).max() < EXACT
    assert np.abs(np.log(found.conditional_sd * scale)).max() < EXACT
    assert found.cut == 0
    assert found.spread.max() < EXACT  # the same everywhere
    sd = np.sqrt(np.diag(posterior.covariances[0]))
    chance = SE * found.widening_error / found.widening
    assert np.all(np.abs(np.log(found.widening / (sd * scale))) < chance)


def test_release_is_the_room_that_a_partner_gives(of_a_normal):
    posterior, found = of_a_normal
    precision = np.linalg.inv(posterior.covariances[0])
    i, j = 2, 5
    both = np.linalg.inv(precision[np.ix_([i, j], [i, j])])
    expected = np.sqrt(both[0, 0] * precision[i, i])
    assert found.release[i, j] == pytest.approx(expected, rel=EXACT)
    name, release, value = found.partners("g2")[0]
    names = [c.name for c in found.columns]
    assert release == pytest.approx(np.max(np.delete(found.release[i], i)))
    assert value == found.correlation[i, names.index(name)]
    assert found.pairs[0][2] == pytest.approx(
        found.correlation[np.triu_indices(8, 1)][
            np.argmax(np.abs(found.correlation[np.triu_indices(8, 1)]))
        ]
    )


def test_correlations_where_bounds_cut_against_quadrature():
    at = lf.Table(np.array([[0.2, 0.3, 0.9], [0.9, 0.8, 0.1]]), TRUNCATED.parameters)
    found = compensation(TRUNCATED, at=at)
    for k, theta in enumerate(at.array):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert found.values[k, i, j] == pytest.approx(by_quadrature(theta, i, j), abs=EXACT)


def by_quadrature(theta, i, j):
    """Gauss-Legendre over the whole square."""
    node, weight = np.polynomial.legendre.leggauss(200)
    node, weight = (node + 1) / 2, weight / 2
    x, y = np.meshgrid(node, node, indexing="ij")
    points = np.tile(theta, (200, 200, 1))
    points[..., i], points[..., j] = x, y
    away = points - 0.7
    p = np.exp(-0.5 * np.einsum("xyi,ij,xyj->xy", away, PRECISION, away))
    p *= weight[:, None] * weight
    p /= p.sum()
    dx, dy = x - np.sum(p * x), y - np.sum(p * y)
    return np.sum(p * dx * dy) / np.sqrt(np.sum(p * dx**2) * np.sum(p * dy**2))


def test_errors_cover_the_mean_over_the_posterior():
    """Bounds cut slices differently from point to point; half the points say the same."""
    first, second = (compensation(TRUNCATED, points=40, seed=s) for s in (1, 2))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart = abs(first.correlation[i, j] - second.correlation[i, j])
        assert apart < SE * np.hypot(first.error[i, j], second.error[i, j])
        assert first.spread[i, j] > 1e-3
        assert first.low[i, j] <= first.correlation[i, j] <= first.high[i, j]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 1}, "points, a whole number of at least 2"),
        ({"names": ["a"]}, "at least two parameters"),
        ({"names": ["a", "z"]}, "Expected names among a, b"),
        ({"at": np.array([[0.0, 50.0], [0.0, 55.0]])}, "outside its support"),
    ],
)
def test_bad_compensation(options, words):
    class Half(Banana):
        def log_density(self, theta):
            import jax.numpy as jnp

            return jnp.where(theta[1] > 40, -jnp.inf, super().log_density(theta))

    with pytest.raises(ValueError, match=words):
        compensation(Half(BANANA.prior), **options)


def test_pairs_for_a_picture():
    found = conditional_pairs(TRUNCATED, {"a": 0.5, "b": 0.5, "c": 0.5}, ["c", "a"])
    assert [c.name for c in found.columns] == ["a", "c"]
    (x, y), density = found.planes[(0, 1)]
    assert density.shape == (len(x), len(y))
    assert density.sum() * (x[1] - x[0]) * (y[1] - y[0]) == pytest.approx(1, abs=0.02)
