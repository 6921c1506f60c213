"""Comparison with a reference: distances of normal laws in closed form, and planted faults."""

import numpy as np
import pytest
from scipy.stats import norm

import lanternfish as lf
from lanternfish.diagnostics import compare
from lanternfish.diagnostics.c2st import c2st

N = 800
SIGMAS = 5.0


def normal(seed, n=N, d=2, shift=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * scale
    x[:, 0] += shift
    return x


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_best_classifier_of_shifted_normals(shift):
    """Tells Phi(shift / 2) right; a trained one comes near it and not beyond."""
    found = c2st(normal(1), normal(2, shift=shift))
    best = norm.cdf(shift / 2)
    assert best - 0.05 < found.value < best + SIGMAS * found.error
    assert found.p_value < 1e-6


def test_distances_of_shifted_normals_in_closed_form():
    """Along u the sliced Wasserstein-1 distance is shift |u_1|, in the plane 2/pi on average."""
    found = compare(normal(3, shift=0.8), normal(4))
    expected = 0.8 * 2 / np.pi
    assert found["Wasserstein"]["value"] == pytest.approx(expected, abs=0.1)
    assert found["means"]["value"] == pytest.approx(0.8 / np.sqrt(2), abs=0.1)
    assert found["C2ST"]["passed"] is False
    assert not found.passed
    (first, second) = found.finding["parameters"]
    assert abs(first["difference"] - 0.8) < SIGMAS * first["difference_error"]
    assert abs(second["difference"]) < SIGMAS * second["difference_error"]
    assert abs(first["ratio"] - 1) < SIGMAS * first["ratio_error"]


def test_a_posterior_too_narrow_is_found():
    """|0.64 I - I|_F / sqrt(d) = 0.36; deviations are 0.8 of the reference's."""
    found = compare(normal(5, scale=0.8), normal(6))
    assert found["covariances"]["value"] == pytest.approx(0.36, abs=0.1)
    assert found["covariances"]["passed"] is False
    assert found["means"]["passed"]
    for row in found.finding["parameters"]:
        assert abs(row["ratio"] - 0.8) < SIGMAS * row["ratio_error"]


def test_a_missing_correlation_is_found_though_margins_agree():
    sheared = normal(7) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    found = compare(sheared, normal(8))
    assert found["covariances"]["passed"] is False
    assert all(abs(row["ratio"] - 1) < 0.15 for row in found.finding["parameters"])


def test_samples_of_the_same_law_pass():
    found = compare(normal(9), normal(10))
    assert found.passed
    assert str(found).startswith("No difference from the reference beyond chance in 800 samples")
    for row in found.finding["distances"]:
        assert row["p_value"] > 0.0125
        assert row["error"] > 0


@pytest.mark.slow
def test_false_alarms_and_error_bars_of_the_classifier():
    """Of 60 comparisons of the same law, about one in 20 passes the 95 % mark of chance."""
    values = [c2st(normal(i, 300), normal(1_000 + i, 300), seed=i) for i in range(60)]
    above = sum(v.value > v.chance for v in values)
    assert above <= 9  # P(Bin(60, 0.05) > 9) = 1e-3
    spread = np.std([v.value for v in values])
    assert spread == pytest.approx(values[0].error, rel=0.5)


def test_posteriors_are_sampled_and_columns_matched(gaussian_run, exact):
    mean, covariance = exact()
    rng = np.random.default_rng(0)
    table = lf.Table(
        rng.multivariate_normal(mean, covariance, N), gaussian_run.posterior.parameters
    )
    found = compare(gaussian_run.posterior, table[["b", "a"]], n=N)
    assert found.columns == gaussian_run.posterior.parameters
    assert found["means"]["value"] < 0.3
    assert found["C2ST"]["value"] < 0.6


def test_repeated_samples_are_said():
    few = normal(1, n=100)
    found = compare(few[np.random.default_rng(0).integers(0, 100, N)], normal(2))
    assert "Only 100 of 800 samples are different ones" in str(found)


@pytest.mark.parametrize(
    ("samples", "reference", "message"),
    [
        (normal(1, 20), normal(2), r"at least 50 samples of shape \(m, d\); got shape \(20, 2\)"),
        (normal(1), normal(2, d=3), r"samples of shape \(n, 3\); got \(800, 2\)"),
        (normal(1), normal(2) * [1, 0], r"parameter_1 constant: leave it out of both"),
        (normal(1), normal(2)[:, [0, 0]], r"varies in every direction"),
        (normal(1) * np.nan, normal(2), r"Expected finite samples; got NaN"),
    ],
)
def test_what_cannot_be_compared_is_said(samples, reference, message):
    with pytest.raises(ValueError, match=message):
        compare(samples, reference)
