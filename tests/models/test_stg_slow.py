"""What the pyloric network does over thousands of prior draws: minutes, so marked slow."""

import numpy as np
import pytest

from lanternfish.models.stg import compiled, prior
from lanternfish.models.stg.statistics import NAMES

pytestmark = pytest.mark.slow

PRIOR_DRAWS = 20_000
VALID = (0.009, 0.012)  # published: 0.94 % of 18.5 million; 0.973 % of 3 million
SE = 3


def valid(x):
    return ~np.isnan(x[:, : len(NAMES)]).any(axis=1)


@pytest.fixture(scope="module")
def draws():
    return prior.sample(PRIOR_DRAWS, seed=2).array, np.arange(PRIOR_DRAWS, dtype=np.uint64)


@pytest.fixture(scope="module")
def whole(draws):
    plan = compiled.plan_of(11_000, 40, True, False)
    return compiled.run(*draws, plan, 283.0)


def test_valid_fraction_of_the_prior(whole):
    """Between the bounds, but for the chance of this many draws."""
    fraction = valid(whole[0]).mean()
    chance = SE * np.sqrt(0.01 / PRIOR_DRAWS)
    assert VALID[0] - chance < fraction < VALID[1] + chance


def test_proof_gives_up_no_valid_simulation(draws, whole):
    plan = compiled.plan_of(11_000, 40, True, True)
    plan = plan._replace(checks=plan.checks[:0], survival=plan.survival[:0])
    x, weights, steps, _ = compiled.run(*draws, plan, 283.0)
    given_up = steps < 440_000
    assert given_up.mean() > 0.1
    assert not np.any(given_up & valid(whole[0]))
    assert np.array_equal(x[~given_up], whole[0][~given_up], equal_nan=True)
    assert np.all(weights == 1)


def test_roulette_is_unbiased(draws, whole):
    """Weights average to 1, over all simulations and over the valid ones, and leave T's mean."""
    plan = compiled.plan_of(11_000, 40, True, True)
    x, weights, steps, _ = compiled.run(*draws, plan, 283.0)
    truth = valid(whole[0])
    assert np.array_equal(x[valid(x)], whole[0][valid(x)])
    for some in (np.ones(PRIOR_DRAWS, bool), truth):
        spread = weights[some].std() / np.sqrt(some.sum())
        assert abs(weights[some].mean() - 1) < SE * spread
    T = whole[0][truth, 0]
    difference = (weights[truth] - 1) * (T - T.mean())
    assert abs(difference.mean()) < SE * difference.std() / np.sqrt(truth.sum())
    assert steps.mean() < 0.55 * 440_000
