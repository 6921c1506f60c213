"""Calibration: posteriors that are known, right and wrong, and the words about each."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import lanternfish as lf
from lanternfish.core import Column, Posterior, Table
from lanternfish.diagnostics import calibration_check
from lanternfish.diagnostics.calibration import FALSE_ALARM, judge_ranks
from lanternfish.diagnostics.uniformity import Uniformity

N, L = 300, 199


@dataclass(frozen=True)
class Known(Posterior):
    """The closed form of the linear Gaussian model, and what may be wrong with it.

    ``shift`` and ``stretch`` are in standard deviations; ``tied`` leaves correlations in.
    """

    prior: Any
    statistics: Any
    exact: Any
    observation: Any = None
    shift: float = 0.0
    stretch: float = 1.0
    tied: bool = True
    kind = "known"

    def law(self):
        mean, covariance = self.exact(self.observation.array_for(self.statistics))
        sd = np.sqrt(np.diag(covariance))
        covariance = covariance if self.tied else np.diag(sd**2)
        return mean + self.shift * sd, covariance * self.stretch**2

    def sample(self, n, seed=0):
        mean, covariance = self.law()
        return Table(
            np.random.default_rng(seed).multivariate_normal(mean, covariance, n), self.parameters
        )

    def log_density(self, theta):
        raise NotImplementedError

    def log_prob(self, theta):
        mean, covariance = self.law()
        away = theta - mean
        return -0.5 * np.sum(away @ np.linalg.inv(covariance) * away, axis=1)

    def at(self, observation):
        return replace(self, observation=observation)

    def write(self, folder):
        raise NotImplementedError


@pytest.fixture(scope="module")
def truths(gaussian_model):
    return lf.simulate(gaussian_model, N, seed=7, progress=False)


@pytest.fixture
def check(gaussian_model, truths, exact):
    def found(simulations=truths, **wrong):
        posterior = Known(gaussian_model.prior, gaussian_model.statistics, exact, **wrong)
        return calibration_check(posterior, gaussian_model, simulations=simulations, draws=L)

    return found


def verdicts_of(finding):
    return [row["verdict"] for row in finding["parameters"]] + [finding["coverage"]["verdict"]]


def verdicts(found):
    return verdicts_of(found.finding)


def test_a_posterior_that_is_right_passes(check):
    found = check()
    assert found.finding["passed"], found.finding["sentence"]
    assert verdicts(found) == ["calibrated"] * 3
    assert "each parameter as it should, in 300 simulations" in found.finding["sentence"]
    assert np.all((found.ranks.array > 0) & (found.ranks.array < 1))
    shares = np.array([np.mean(found.coverage < level) for level in found.levels])
    assert np.all((found.low <= shares) & (shares <= found.high))


@pytest.mark.parametrize(
    ("wrong", "parameters", "coverage", "words"),
    [
        ({"stretch": 0.6}, "too narrow", "overconfident", "a is too narrow, overconfident (the tr"),
        ({"stretch": 1.7}, "too wide", "underconfident", "b is too wide, underconfident (the tr"),
        ({"shift": 0.8}, "too high", "overconfident", "a is too high (the truth lies below its m"),
        ({"shift": -0.8}, "too low", "overconfident", "a is too low (the truth lies above its me"),
    ],
)
def test_a_posterior_that_is_wrong_is_told_how(check, wrong, parameters, coverage, words):
    found = check(**wrong)
    assert not found.finding["passed"]
    assert verdicts(found) == [parameters, parameters, coverage]
    assert words in found.finding["sentence"]
    assert f"the posterior is {coverage}" in found.finding["sentence"]


def test_the_density_sees_what_no_parameter_shows(gaussian_model, exact):
    """Right marginals, independent of each other where the truth's are not."""

    def tied(observed):
        mean, _ = exact(observed)
        return mean, np.array([[1.0, 0.95], [0.95, 1.0]])

    rng = np.random.default_rng(0)
    truths = lf.simulate(gaussian_model, N, seed=8, progress=False)
    root = np.linalg.cholesky(tied(np.zeros(3))[1])
    theta = [exact(x)[0] + root @ rng.normal(size=2) for x in truths.x.array]
    truths = replace(truths, theta=Table(np.array(theta), truths.theta.columns))
    posterior = Known(gaussian_model.prior, gaussian_model.statistics, tied)
    right = calibration_check(posterior, gaussian_model, simulations=truths)
    assert right.finding["passed"]
    loose = replace(posterior, tied=False)
    found = calibration_check(loose, gaussian_model, simulations=truths).finding
    assert [row["passed"] for row in found["parameters"]] == [True, True]
    assert not found["coverage"]["passed"]


def test_claims_are_the_coverage_in_closed_form(check):
    """Regions of a normal law too narrow by s in two dimensions: 1 - (1 - c)^(s^2)."""
    for row in check(stretch=0.6).finding["coverage"]["claims"]:
        true = 1 - (1 - row["claim"]) ** 0.36
        error = np.sqrt(true * (1 - true) / N)
        assert abs(row["share"] - true) < 4 * error


def test_simulations_with_weights_count_by_them(check, truths):
    """Half of the rows below 0.5 abandoned, the rest of them of weight 2."""
    rng = np.random.default_rng(1)
    more = truths + truths
    low = more.theta["a"] < 0.5
    lost = low & (rng.random(len(more)) < 0.5)
    weight = np.where(low, 2.0, 1.0) * ~lost
    status = np.where(lost, lf.Status.ABANDONED, lf.Status.OK)
    found = check(simulations=replace(more, weight=weight, status=status))
    assert found.finding["passed"]
    assert 200 < found.finding["n"] < 400


def test_new_simulations_are_of_the_prior(gaussian_model, exact):
    posterior = Known(gaussian_model.prior, gaussian_model.statistics, exact)
    found = calibration_check(posterior, gaussian_model, n=100, draws=99, progress=False)
    assert found.finding["passed"]
    assert (found.finding["n"], found.finding["draws"]) == (100, 99)


def test_too_few_valid_simulations(check, truths):
    with pytest.raises(ValueError, match=r"^Expected at least 50 valid simulations.*got 20"):
        check(simulations=truths[:20])


@pytest.mark.parametrize(("n", "draws"), [(60, 199), (300, 99), (100, 7)])
def test_p_values_against_simulation(n, draws):
    """The chance of straying as far, from 4,000 sets of uniform ranks."""
    rng, uniform = np.random.default_rng(0), Uniformity(n, draws)
    ranks = rng.integers(0, draws, size=(4_000, n), endpoint=True)
    tails = uniform._tails
    places = np.arange(len(uniform.levels))
    least = np.array([tails[places, uniform.counts(r)].min() for r in ranks])
    for at in (0.02, 0.2, 0.6):
        example = int(np.argmin(np.abs(least - np.quantile(least, at))))
        share = np.mean(least <= least[example] * (1 + 1e-9))
        error = np.sqrt(share * (1 - share) / len(ranks))
        assert abs(uniform.p_value(ranks[example]) - share) < 5 * error + 1e-3


def test_uniform_ranks_seldom_leave_the_band():
    rng, uniform = np.random.default_rng(2), Uniformity(200, L)
    low, high = uniform.band(0.1)
    counts = np.array([uniform.counts(rng.integers(0, L + 1, 200)) for _ in range(3_000)]) / 200
    left = np.mean(np.any((counts < low) | (counts > high), axis=1))
    assert 0.05 < left < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 3_000)
    wider = uniform.band(FALSE_ALARM)
    assert np.all(wider[0] <= low)
    assert np.all(wider[1] >= high)


def test_coverage_that_is_right_on_average_alone_is_of_the_wrong_shape():
    """Masses all near one half: regions of 40 % never hold the truth, those of 60 % always."""
    rng = np.random.default_rng(0)
    ranks = Table(rng.integers(0, L, (N, 1), endpoint=True), (Column("a"),))
    masses = rng.integers(round(0.4 * L), round(0.6 * L), N, endpoint=True)
    found = judge_ranks(ranks, masses, L).finding
    assert not found["passed"]
    assert verdicts_of(found) == ["calibrated", "not uniform"]
    assert "regions of 40 % hold it in" in found["sentence"] or "60 %" in found["sentence"]
    assert "of the wrong shape" in found["sentence"]
    assert "overconfident" not in found["sentence"]
