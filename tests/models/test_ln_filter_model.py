"""The LN filter: its prior and its target are those of the specification and of the reference."""

import numpy as np
import pytest

import lanternfish as lf
from lanternfish.models.ln_filter import STATISTICS, TRUE, design, precision, spikes

PRIOR_SD = [1.4142, 1, 1.6771, 1.8299, 1.5521, 1.2163, 1.1004, 1.0692, 0.9806, 0.8803]
FILTER = [0.3679, 1.0827, 1.3443, 1.1722, 0.8422, 0.5354, 0.3128, 0.1718, 0.0900]
OBSERVED = [18, 0.1309, 5.7472, 6.9476, 0.9917, -0.4518, -0.2109, -1.6755, -2.6610, -2.8160]


def test_the_prior_has_the_deviations_of_the_specification():
    np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(precision()))), PRIOR_SD, atol=1e-4)
    drawn = lf.models.ln_filter().prior.sample(20_000).array
    np.testing.assert_allclose(drawn.std(axis=0), PRIOR_SD, rtol=0.03)


def test_the_filter_and_the_target_are_those_of_the_specification():
    np.testing.assert_allclose(TRUE[1:], FILTER, atol=1e-4)
    observed = lf.models.ln_filter().targets["cell"].array_for(STATISTICS)
    np.testing.assert_allclose(observed, OBSERVED, atol=1e-4)


def test_stimulus_and_spikes_are_those_of_the_reference_samples(data):
    with np.load(data / "glm" / "ln_reference_posterior.npz") as stored:
        np.testing.assert_array_equal(design(), stored["X"])
        np.testing.assert_array_equal(spikes(), stored["y"])


def test_the_simulator_spikes_as_often_as_its_logistic_says():
    """Means of the statistics, X' s(X theta), to four standard errors."""
    model, n = lf.models.ln_filter(), 4_000
    x = lf.simulate(model, theta=np.tile(TRUE, (n, 1)), progress=False).x.array
    chance = 1 / (1 + np.exp(-design() @ TRUE))
    expected = design().T @ chance
    error = np.sqrt((design() ** 2).T @ (chance * (1 - chance)) / n)
    assert np.all(np.abs(x.mean(axis=0) - expected) < 4 * error)


@pytest.mark.parametrize("bins", [3, 20.5, True])
def test_bins_that_cannot_be(bins):
    with pytest.raises(ValueError, match="Expected bins, a whole number of at least 9"):
        lf.models.ln_filter(bins)
