"""Shares and quantiles against scipy, numpy and simulated roulette."""

import numpy as np
import pytest
from scipy.stats import binomtest

from lanternfish.core.weighted import quantile, share

EXACT = 1e-12
ROULETTE = 0.1  # chance with which a hopeless simulation is kept, at weight 10


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 1000), (1, 1)])
def test_a_share_without_weights_is_wilsons(hits, n):
    found = share(np.arange(n) < hits, np.ones(n))
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert found.value == pytest.approx(hits / n, abs=EXACT)
    assert found.low == pytest.approx(expected.low, abs=EXACT)
    assert found.high == pytest.approx(expected.high, abs=EXACT)


def test_roulette_leaves_a_share_unbiased_and_its_interval_honest():
    """True share 0.3: half of the hits are certain, half survive the roulette."""
    rng = np.random.default_rng(20_240)
    values, covered, trials, n = [], 0, 2_000, 400
    for _ in range(trials):
        certain, hopeless = rng.random(n) < 0.15, rng.random(n) < 0.15 / 0.85
        kept = rng.random(n) < ROULETTE
        hits = certain | (~certain & hopeless & kept)
        found = share(hits, np.where(certain, 1.0, 1 / ROULETTE))
        values.append(found.value)
        covered += found.low <= 0.3 <= found.high
    assert np.mean(values) == pytest.approx(0.3, abs=4 * np.std(values) / np.sqrt(trials))
    assert covered / trials > 0.92


def test_no_simulation_has_no_share():
    with pytest.raises(ValueError, match="at least one simulation"):
        share(np.zeros(0, bool), np.zeros(0))


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_quantiles_of_equal_weights_are_numpys(n):
    values = np.random.default_rng(n).normal(size=n)
    levels = [0.05, 0.25, 0.5, 0.95]
    found = quantile(values, np.full(n, 3.0), levels)
    assert found == pytest.approx(np.quantile(values, levels), abs=EXACT)


def test_a_weight_stands_for_so_many_values():
    rng = np.random.default_rng(1)
    values, weight = rng.normal(size=2_000), rng.integers(1, 4, size=2_000)
    levels = [0.1, 0.5, 0.9]
    expected = np.quantile(np.repeat(values, weight), levels)
    assert quantile(values, weight.astype(float), levels) == pytest.approx(expected, abs=0.01)
