"""Paths between points of closed forms, what is simulated along them, and good ends."""

import jax.numpy as jnp
import numpy as np
import pytest
from closed_forms import UNIT, uniform_prior
from quadrature_forms import RADIUS, InNumpy, OnlySamples, ring

import lanternfish as lf
from lanternfish.landscape import ends, orthogonal_path, path, walk

START, END = (RADIUS, 0.0), (-RADIUS * np.cos(0.6), RADIUS * np.sin(0.6))
THIN = 0.3  # width of the ring


@pytest.fixture(scope="module")
def circle():
    return ring()


@pytest.fixture(scope="module")
def around(circle):
    return path(circle, START, END)


def test_the_path_stays_on_the_ring(circle, around):
    """The straight line passes through where the density is e^-60 of what it is on the ring."""
    radius = np.hypot(*around.theta.array.T)
    assert np.abs(radius - RADIUS).max() < THIN
    assert around.log_density.min() > around.log_density[[0, -1]].min() - 0.5
    assert around.lowest < around.log_density.min() - 50
    sd = 18 / np.sqrt(12)
    arc = (np.pi - 0.6) * RADIUS / sd
    assert around.length == pytest.approx(arc, rel=0.03)
    assert around.converged
    np.testing.assert_array_equal(around.theta.array[[0, -1]], [START, END])
    np.testing.assert_allclose(around.log_density, circle.log_prob(around.theta), atol=1e-4)


def test_points_are_evenly_spaced(around):
    steps = np.diff(around.position)
    assert steps.std() < 0.02 * steps.mean()
    half = around.at(0.5).array[0]
    assert np.abs(half - around.theta.array[[39, 40]].mean(axis=0)).max() < 0.05
    assert np.linalg.norm(around.tangent(0.3)) == pytest.approx(1)


def test_a_score_keeps_the_path_away(circle):
    """A hill that forbids the upper half sends the path around the other way."""
    lower = path(circle, START, (-RADIUS, 0.0), score=lambda t: -20 * jnp.maximum(t[1], 0))
    assert lower.theta["b"].min() < -0.8 * RADIUS
    assert lower.theta["b"].max() < 0.3


def test_the_orthogonal_path_falls_fastest(circle, around):
    """On a ring that is across: along the radius, inward or outward."""
    fall = orthogonal_path(circle, around, at=0.4, length=0.2)
    assert fall.what == "orthogonal path"
    assert np.all(np.diff(fall.log_density) < 1e-6)
    assert fall.length == pytest.approx(0.2, rel=0.02)
    way = (fall.theta.array[-1] - fall.theta.array[0]) / np.linalg.norm(
        fall.theta.array[-1] - fall.theta.array[0]
    )
    out = fall.theta.array[0] / np.linalg.norm(fall.theta.array[0])
    assert abs(way @ out) > 0.97
    default = orthogonal_path(circle, around)
    assert default.length == pytest.approx(around.length / 27, abs=0.006)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ((20.0, 0.0), END, "Expected start inside the prior; got a = 20"),
        (START, (np.nan, 0.0), "Expected end inside the prior; got a = nan"),
        ((0.0, 0.0), END, "Expected start where the posterior has density"),
        (START, START, "Expected two different ends"),
    ],
)
def test_ends_that_do_not_fit(circle, start, end, words):
    with pytest.raises(ValueError, match=words):
        path(circle, start, end)


def test_posteriors_without_density_or_gradients():
    for call in (
        lambda p: path(p, [0.2, 0.2], [0.8, 0.8]),
        lambda p: lf.landscape.compensation(p),
    ):
        with pytest.raises(ValueError, match="Expected a posterior with a density"):
            call(OnlySamples(UNIT))
        with pytest.raises(ValueError, match=r"Expected a log density \(and score\)"):
            call(InNumpy(UNIT))
    with pytest.raises(TypeError, match="Expected a Posterior; got str"):
        path("posterior", [0.2, 0.2], [0.8, 0.8])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 2}, "points, a whole number of at least 3"),
        ({"harmonics": 0}, "harmonics of at least 1"),
        ({"betas": [1.0, 0.1]}, "rising betas"),
    ],
)
def test_options_of_a_path(circle, options, words):
    with pytest.raises(ValueError, match=words):
        path(circle, START, END, **options)
    with pytest.raises(ValueError, match="0 <= at <= 1"):
        orthogonal_path(circle, path(circle, START, END, points=5), at=2.0)


def test_a_walk_counts_valid_trials(around, seed):
    """A statistic that fails with chance 1/2 left of the middle; another that always exists."""

    def run(theta, seeds):
        chance = np.array([np.random.default_rng(int(s)).random() for s in seeds])
        good = (theta[:, 0] > 0) | (chance < 0.5)
        return np.stack([np.where(good, theta[:, 0], np.nan), theta[:, 1]], axis=1)

    model = lf.Model(around_prior(), lf.BatchSimulator(run, ("x", "y")))
    found = walk(model, around, points=11, trials=200, seed=seed)
    right = found.theta["a"] > 0
    np.testing.assert_array_equal(found.shares[right], 1.0)
    assert np.abs(found.shares[~right] - 0.5).max() < 5 * np.sqrt(0.25 / 200)
    assert all(s.low <= s.value <= s.high for s in found.valid)
    np.testing.assert_allclose(found.mean["y"], found.theta["b"], atol=1e-9)
    np.testing.assert_allclose(found.mean["x"], found.theta["a"], atol=1e-9)
    np.testing.assert_allclose(found.lacking[:, 0], 1 - found.shares)
    assert found.distances[-1] == pytest.approx(around.length)
    assert len(found.simulations) == 2_200
    again = walk(model, around, points=11, trials=200, seed=seed)
    np.testing.assert_array_equal(found.shares, again.shares)


def around_prior():
    return uniform_prior([-9, -9], [9, 9])


def test_a_walk_through_nothing_says_where(around):
    model = lf.Model(
        around_prior(),
        lf.BatchSimulator(lambda t, s: np.where(t[:, :1] < 0, np.nan, t[:, :1]), ["period"]),
    )
    found = walk(model, around, points=9, trials=3)
    assert "period cannot be measured in any trial at" in found.sentence
    assert np.isnan(found.mean["period"][-1])
    with pytest.raises(ValueError, match="Expected a model with traces"):
        walk(model, around, traces=True)
    with pytest.raises(ValueError, match="Expected statistics among period"):
        walk(model, around, statistics=["speed"])
    other = lf.Model(lf.Prior(c=lf.Uniform(0, 1)), lf.BatchSimulator(lambda t, s: t, ["x"]))
    with pytest.raises(ValueError, match="Expected a path of the model's parameters"):
        walk(other, around)


def test_pairs_of_ends_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    prior = around_prior()
    samples = lf.Table(rng.uniform(-9, 9, (300, 2)), prior.columns)
    x = lf.Table(np.stack([samples["a"] ** 2, np.abs(samples["b"])], axis=1), ("p", "q"))
    x.array  # noqa: B018
    found = ends(samples, x, pairs=5, tolerance=0.1, prior=prior)
    unit = x.array.std(axis=0)
    near = np.abs(x.array[:, None] - x.array).max(axis=2)
    alike = np.all(np.abs(x.array[:, None] - x.array) <= 0.1 * unit, axis=2)
    away = np.linalg.norm((samples.array[:, None] - samples.array) / (18 / np.sqrt(12)), axis=2)
    away = np.where(alike & (near >= 0), away, 0)
    assert found.distance[0] == pytest.approx(away.max())
    assert np.all(np.diff(found.distance) <= 0)
    assert len(np.unique(found.rows)) == 2 * len(found)
    assert found.difference.max() <= 0.1
    np.testing.assert_array_equal(found.start.array, samples.array[found.rows[:, 0]])


def test_ends_that_cannot_be_found(seed):
    prior = around_prior()
    samples = lf.Table(np.arange(8.0).reshape(4, 2), prior.columns)
    x = lf.Table(np.array([[0.0], [10.0], [20.0], [np.nan]]), ("p",))
    with pytest.raises(ValueError, match=r"raise the tolerance to 1\.22"):
        ends(samples, x, tolerance=0.5)
    with pytest.raises(ValueError, match=r"Expected two samples within 0\.5 scales of the target"):
        ends(samples, x, tolerance=0.5, target=lf.Observation(p=500.0))
    with pytest.raises(ValueError, match="at least two samples with finite statistics"):
        ends(samples[2:], x[2:])
    with pytest.raises(ValueError, match="tables of as many rows"):
        ends(samples, x[:2])
