"""NPE's defaults on the LN filter, whose posterior is known; and the test that judges them."""

import numpy as np
import pytest

import lanternfish as lf
import ln_filter

MOST = 0.56  # two-sample accuracy


def normal(mean, sd, n=5_500, seed=0):
    return mean + sd * np.random.default_rng(seed).normal(size=(n, 3))


def test_the_classifier_finds_what_is_known():
    """Equal sets give a half; means apart by 0.5 sd, the accuracy of the best cut, Phi(0.25)."""
    assert abs(ln_filter.c2st_by_moments(normal(0, 1), normal(0, 1, seed=1)) - 0.5) < 0.02
    shifted = normal(np.array([0.5, 0, 0]), 1, seed=1)
    assert abs(ln_filter.c2st_by_moments(normal(0, 1), shifted) - 0.5987) < 0.02
    assert ln_filter.c2st_by_moments(normal(0, 1), normal(0, 1.5, seed=1)) > 0.6


def test_the_prior_has_the_deviations_of_the_specification():
    expected = [1.4142, 1, 1.6771, 1.8299, 1.5521, 1.2163, 1.1004, 1.0692, 0.9806, 0.8803]
    (law,) = ln_filter.prior().joint_laws
    np.testing.assert_allclose(np.sqrt(np.diag(law.root @ law.root.T)), expected, atol=1e-4)


def test_the_statistics_are_those_of_the_reference(data):
    truth = ln_filter.reference(data)
    x = lf.simulate(ln_filter.model(truth["X"]), 200, progress=False).x
    assert np.all(x["spikes"] == np.round(x["spikes"]))
    assert np.all((x["spikes"] >= 0) & (x["spikes"] <= 100))
    assert np.all(truth["X"][:, 0] == 1)
    assert truth["x"][0] == 18


@pytest.mark.slow
def test_the_defaults_find_the_posterior(data):
    """Ten parameters: two-sample accuracy, means within 0.2 sd, deviations within a fifth."""
    truth = ln_filter.reference(data)
    found = ln_filter.posterior(truth, lf.NPE(), seed=0)
    drawn = found.sample(len(truth["samples"])).array
    assert ln_filter.c2st_by_moments(truth["samples"], drawn) <= MOST
    sd = np.sqrt(np.diag(truth["cov"]))
    np.testing.assert_allclose(drawn.mean(axis=0) / sd, truth["mean"] / sd, atol=0.2)
    np.testing.assert_allclose(drawn.std(axis=0), sd, rtol=0.2)
