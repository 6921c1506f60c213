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


@pytest.mark.slow
def test_the_defaults_find_the_posterior(data):
    """Ten parameters: two-sample accuracy, means within 0.2 sd, deviations within a fifth."""
    truth = ln_filter.reference(data)
    found = ln_filter.posterior(lf.NPE(), seed=0)
    drawn = found.sample(len(truth["samples"])).array
    assert ln_filter.c2st_by_moments(truth["samples"], drawn) <= MOST
    sd = np.sqrt(np.diag(truth["cov"]))
    np.testing.assert_allclose(drawn.mean(axis=0) / sd, truth["mean"] / sd, atol=0.2)
    np.testing.assert_allclose(drawn.std(axis=0), sd, rtol=0.2)
