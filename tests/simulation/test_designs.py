"""Designs: the order of a grid, the evenness of Sobol points, and any slice by itself."""

import itertools

import numpy as np
import pytest
from scipy import stats

import lanternfish as lf
from lanternfish.simulation import campaign, open_store
from lanternfish.simulation.designs import Grid, Sobol

POINTS = 1_024


@pytest.fixture(scope="module")
def mixed():
    """A prior of many kinds of laws."""
    joint = lf.CorrelatedNormal(["m", "k"], [0.0, 3.0], [[1.0, 0.8], [0.8, 2.0]])
    return lf.Prior(joint, a=lf.Uniform(0, 1), b=lf.LogUniform(0.1, 10), c=lf.Gamma(2.0, 3.0))


def test_a_grid_is_in_the_order_of_nested_loops(prior):
    """The last parameter turns fastest, as in ``itertools.product``."""
    values = {"a": (-1.0, 0.0, 0.5), "b": (0.1, 0.2, 5.0, 10.0)}
    grid = Grid(prior, values)
    expected = np.array(list(itertools.product(*values.values())))
    assert np.array_equal(grid.rows(0, len(grid)), expected)
    assert np.array_equal(grid.rows(3, 9), expected[3:9])
    assert np.array_equal(grid.number_of(expected), np.arange(12))


def test_a_counted_grid_lies_at_the_middles_of_equal_shares(prior):
    grid = Grid(prior, {"a": 4, "b": 1})
    assert np.allclose(grid.values[0], [-0.75, -0.25, 0.25, 0.75])
    assert np.allclose(grid.values[1], 1.0)  # of 0.1 to 10 in the logarithm
    assert np.all(grid.weights(0, 4) == 1)


def test_named_levels_are_the_trapezoid_rule(prior):
    """Weights by hand: uniform on [-1, 1] with cells -1 to -0.5, to 0.25, to 1."""
    grid = Grid(prior, {"a": (-1.0, 0.0, 0.5), "b": 2})
    assert np.allclose(grid.weights(0, 6), np.repeat([0.75, 1.125, 1.125], 2))
    assert grid.weights(0, 6).mean() == pytest.approx(1)


def test_the_largest_published_grids_can_be_looked_into():
    """Six levels of eight conductances: Prinz, Billimoria & Marder (2003), 1,679,616 neurons."""
    prior = lf.Prior(**{f"g{i}": lf.Uniform(0, 5) for i in range(8)})
    grid = Grid(prior, {f"g{i}": range(6) for i in range(8)})
    assert len(grid) == 1_679_616
    assert np.array_equal(grid.rows(1_679_615, 1_679_616), np.full((1, 8), 5.0))
    assert np.array_equal(grid.rows(6**7, 6**7 + 1), [[1, 0, 0, 0, 0, 0, 0, 0]])


def test_sobol_points_are_evener_than_chance():
    """Their discrepancy is a tenth of what random points have at best, over 20 sets."""
    prior = lf.Prior(**{f"u{i}": lf.Uniform(0, 1) for i in range(4)})
    sobol = Sobol(prior, POINTS, seed=3)
    found = stats.qmc.discrepancy(sobol.rows(0, POINTS))
    chance = [
        stats.qmc.discrepancy(np.random.default_rng(i).random((POINTS, 4))) for i in range(20)
    ]
    assert found < 0.1 * min(chance)


def test_any_range_of_a_sobol_design_is_the_same(mixed):
    sobol = Sobol(mixed, POINTS, seed=3)
    whole = sobol.rows(0, POINTS)
    assert np.array_equal(sobol.rows(100, 333), whole[100:333])
    assert np.array_equal(sobol.rows(0, 1), whole[:1])
    assert not np.allclose(Sobol(mixed, POINTS, seed=4).rows(0, 1), whole[:1])


def test_sobol_points_follow_the_prior(mixed):
    """Means and covariances are those of the laws, in closed form."""
    points = Sobol(mixed, 4 * POINTS, seed=1).rows(0, 4 * POINTS)
    decades = np.log(10) / np.sqrt(3)  # sd of the logarithm of b, uniform over two decades
    points[:, 3] = np.log(points[:, 3])
    sds = np.sqrt([1, 2, 1 / 12, decades**2, 18])
    assert np.all(np.abs(points.mean(axis=0) - [0, 3, 0.5, 0, 6]) < 0.01 * sds)
    assert np.allclose(points.std(axis=0), sds, rtol=0.02)
    assert np.corrcoef(points[:, :2].T)[0, 1] == pytest.approx(0.8 / np.sqrt(2), abs=0.01)


@pytest.fixture
def line(prior):
    """Gives back its parameters and its seed, so that a mix-up is seen."""
    return lf.Model(
        prior,
        lf.BatchSimulator(
            lambda theta, seeds: np.stack([theta[:, 0], theta[:, 1] + seeds % 7], axis=1),
            ("x", "y"),
        ),
    )


def test_slices_of_a_campaign_make_up_the_whole(line, prior, tmp_path, seed):
    grid = Grid(prior, {"a": 7, "b": 11})
    whole = lf.simulate(line, theta=grid, seed=seed)
    for first, n in ((40, 37), (0, 23), (23, 17)):
        campaign(line, n, theta=grid, first=first, seed=seed, store=tmp_path, shard_size=8)
    found = open_store(tmp_path).load()
    for name, values in whole.arrays().items():
        assert np.array_equal(values, found.arrays()[name]), name


def test_a_store_of_one_design_refuses_another(line, prior, tmp_path, seed):
    campaign(line, theta=Grid(prior, 4), store=tmp_path, seed=seed)
    with pytest.raises(ValueError, match=r"parameters that .* was begun with"):
        campaign(line, theta=Grid(prior, {"a": 2, "b": 8}), store=tmp_path, seed=seed)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"a": 3}, r"Expected levels for a, b; got b missing"),
        ({"a": 3, "b": 2, "c": 1}, r"got c unknown"),
        ({"a": 0, "b": 1}, r"at least 1 level of a; got 0"),
        ({"a": (0.5, 0.1), "b": 1}, r"rising values in its unit; got \(0.5, 0.1\)"),
        ({"a": (0.5, 3.0), "b": 1}, r"between -1 and 1, the prior's bounds; got 0.5 to 3"),
        ({"a": "many", "b": 1}, r"as a number, or as rising values"),
    ],
)
def test_levels_that_do_not_fit_are_named(prior, levels, message):
    with pytest.raises(ValueError, match=message):
        Grid(prior, levels)


def test_laws_without_quantiles_are_named(prior, line):
    samples = np.random.default_rng(0).normal(size=(50, 2))
    learned = lf.Prior(lf.FromSamples(["p", "q"], samples))
    with pytest.raises(ValueError, match=r'FromSamples for p, q: use design="random"'):
        Sobol(learned, 8, seed=0)
    with pytest.raises(ValueError, match=r"Expected at most 16 simulations, the points"):
        lf.simulate(line, 17, theta=Grid(prior, 4))
