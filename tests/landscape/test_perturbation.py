"""Perturbation tests of models whose slopes are known."""

import numpy as np
import pytest
from scipy.stats import kstest, linregress

import lanternfish as lf
from lanternfish.landscape import perturb
from lanternfish.landscape.perturbation import line

PRIOR = lf.Prior(a=lf.Uniform(-1, 1, unit="nS"), b=lf.Uniform(-1, 1, unit="nS"))
OUTPUTS = (lf.Column("rate", "Hz"), lf.Column("cv"))
NOISE = 0.2


def linear(theta, seeds):
    """rate = 10 + 3 a + noise, whatever b; cv = 0.5 + b^2, without noise."""
    noise = [np.random.default_rng(int(s)).normal(0, NOISE) for s in seeds]
    return np.stack([10 + 3 * theta[:, 0] + noise, 0.5 + theta[:, 1] ** 2], axis=1)


def half(theta, seeds):
    return np.where(theta[:, :1] > 0.05, np.nan, linear(theta, seeds))


MODEL = lf.Model(PRIOR, lf.BatchSimulator(linear, OUTPUTS))
PARTLY = lf.Model(PRIOR, lf.BatchSimulator(half, OUTPUTS))
DISTANCES = np.linspace(-0.5, 0.5, 11)


def slope_of(result, name):
    return next(s for s in result.slopes if s.column.name == name)


def test_the_slope_of_a_linear_model(seed):
    found = perturb(MODEL, [0, 0], {"a": 1.0}, DISTANCES, trials=40, seed=seed)
    rate = slope_of(found, "rate")
    assert rate.of == "statistic"
    assert rate.error == pytest.approx(NOISE / np.sqrt(40 * np.sum(DISTANCES**2)), rel=0.8)
    assert abs(rate.value - 3) < 5 * rate.error
    assert rate.p < 1e-4
    np.testing.assert_allclose(found.mean["rate"], 10 + 3 * DISTANCES, atol=5 * NOISE / 40**0.5)
    np.testing.assert_allclose(found.sd["rate"], NOISE, rtol=0.6)
    assert found.valid.tolist() == [40] * 11
    assert len(found.simulations) == 440


def test_no_slope_along_a_direction_that_does_nothing(seed):
    found = perturb(MODEL, [0, 0], [0.0, 1.0], DISTANCES, trials=40, seed=seed)
    assert slope_of(found, "rate").p > 1e-3
    assert abs(slope_of(found, "cv").value) < 1e-6  # even in b


def test_the_misfit_grows_both_ways(seed):
    target = {"rate": (10.0, 0.1)}
    found = perturb(MODEL, [0, 0], {"a": 2.0}, DISTANCES / 2, target=target, seed=seed)
    rate = slope_of(found, "rate")
    assert rate.of == "misfit"
    assert rate.value == pytest.approx(6, rel=0.15)  # flat within the noise
    assert rate.p < 1e-4
    assert slope_of(found, "cv").of == "statistic"
    assert found.target == target
    assert "|rate − target|" in repr(found)


def test_p_values_are_uniform_where_there_is_no_slope(seed):
    rng = np.random.default_rng(seed)
    weight = np.full(9, 5.0)
    p = [line(np.arange(9.0), rng.normal(size=9), weight)[2] for _ in range(400)]
    assert kstest(p, "uniform").pvalue > 1e-3


def test_the_line_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 12))
    expected = linregress(x, y)
    found = line(x, y, np.full(12, 3.0))
    np.testing.assert_allclose(found, [expected.slope, expected.stderr, expected.pvalue])


def test_points_outside_the_prior_are_flagged():
    found = perturb(MODEL, [0.8, 0], {"a": 1.0}, [-0.1, 0.0, 0.1, 0.3], trials=3)
    assert found.inside.tolist() == [True, True, True, False]
    assert found.valid.tolist() == [3, 3, 3, 0]
    assert np.isnan(found.mean.array[3]).all()
    assert len(found.simulations) == 9
    assert "1 of 4 points lie outside the prior" in repr(found)


def test_a_point_on_the_bound_is_inside():
    found = perturb(MODEL, [1, 0], {"a": 1 / 3}, [-3.0, -2.0, -1.0, 0.0], trials=2)
    assert found.inside.all()


def test_trials_without_a_value_are_left_out():
    found = perturb(PARTLY, [0, 0], {"a": 1.0}, DISTANCES, trials=4)
    assert found.valid.tolist() == [4] * 6 + [0] * 5
    assert np.isfinite(slope_of(found, "rate").value)
    assert "5 of 11 points gave no valid trial" in repr(found)


def test_two_distances_have_a_slope_without_a_p_value():
    found = perturb(MODEL, [0, 0], {"a": 1.0}, [0.0, 0.5], trials=1, statistics=["rate"])
    rate = slope_of(found, "rate")
    assert np.isfinite(rate.value)
    assert np.isnan(rate.p)
    assert np.isnan(found.sd.array).all()
    assert found.mean.names == ("rate",)
    assert "unknown" in repr(found)


def test_an_observation_is_a_target():
    found = perturb(MODEL, [0, 0], {"a": 1.0}, [0.0, 0.1], target=lf.Observation(rate=10, cv=1))
    assert found.target == {"rate": (10.0, 0.0), "cv": (1.0, 0.0)}


def test_raw_data_are_tested_by_mean_and_sd():
    trace = lf.Trace("voltage", 50, unit="mV")
    wave = np.sin(np.linspace(0, 8 * np.pi, 50, endpoint=False))
    grown = lf.BatchSimulator(lambda theta, seeds: (1 + theta[:, :1]) * wave, [trace])
    found = perturb(lf.Model(PRIOR, grown), [0, 0], {"a": 1.0}, DISTANCES, trials=2)
    assert found.mean.names == ("voltage_mean", "voltage_sd")
    assert slope_of(found, "voltage_sd").value == pytest.approx(np.sqrt(0.5), rel=1e-6)


D = [0.0, 0.1]
WRONG = {
    "point outside": (lambda: perturb(MODEL, [2, 0], [1, 0], D), "a between.+got 2"),
    "point unknown": (lambda: perturb(MODEL, {"z": 0}, [1, 0], D), "z unknown"),
    "direction of wrong shape": (lambda: perturb(MODEL, [0, 0], [1, 0, 0], D), r"got \(3,\)"),
    "direction unknown": (lambda: perturb(MODEL, [0, 0], {"z": 1}, D), "z unknown"),
    "direction of 0": (lambda: perturb(MODEL, [0, 0], [0, 0], D), "other than 0"),
    "direction NaN": (lambda: perturb(MODEL, [0, 0], [np.nan, 0], D), "other than 0"),
    "several directions": (lambda: perturb(MODEL, [0, 0], np.eye(2), D), "got 2 rows"),
    "no distance": (lambda: perturb(MODEL, [0, 0], [1, 0], []), "got"),
    "distance NaN": (lambda: perturb(MODEL, [0, 0], [1, 0], [np.nan]), "nan"),
    "all outside": (lambda: perturb(MODEL, [0, 0], [1, 0], [5.0]), "got none"),
    "trials": (lambda: perturb(MODEL, [0, 0], [1, 0], D, trials=0), "got 0"),
    "statistics": (lambda: perturb(MODEL, [0, 0], [1, 0], D, statistics=["z"]), "got z"),
    "no statistic": (lambda: perturb(MODEL, [0, 0], [1, 0], D, statistics=[]), "got none"),
    "target unknown": (lambda: perturb(MODEL, [0, 0], [1, 0], D, target={"z": 1}), "got z too"),
    "target NaN": (lambda: perturb(MODEL, [0, 0], [1, 0], D, target={"cv": np.nan}), "got nan"),
    "target sd": (lambda: perturb(MODEL, [0, 0], [1, 0], D, target={"cv": (1, -1)}), "got"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    call, told = WRONG[name]
    with pytest.raises(ValueError, match=rf"^Expected [^\n]*{told}[^\n]*\.$"):
        call()
