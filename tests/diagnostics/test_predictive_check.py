"""The predictive check on posteriors whose predictions are known in closed form."""

import json
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import lanternfish as lf
from lanternfish.core import Folder
from lanternfish.diagnostics import predictive_check
from lanternfish.diagnostics.predictive import compare, percent, reference_spread

N = 4_000
SHARE = 4 * 0.5 / np.sqrt(N)  # four standard errors of a share
SPREAD = 0.06  # relative error of a robust standard deviation from N normal values, four sigma


@dataclass(frozen=True)
class NormalPosterior(lf.Posterior):
    """Independent normal laws, whatever the observation."""

    prior: lf.Prior
    statistics: tuple
    observation: lf.Observation
    mean: float = 0.0
    kind = "normal"

    def sample(self, n, seed=0):
        drawn = np.random.default_rng(seed).normal(self.mean, 1.0, (n, len(self.prior)))
        return lf.Table(np.clip(drawn, self.prior.low, self.prior.high), self.prior.columns)

    def log_density(self, theta):
        return -0.5 * jnp.sum((theta - self.mean) ** 2)

    def at(self, observation):
        return self

    def write(self, folder: Folder):
        raise NotImplementedError


def model_of(function, outputs=("x", "y")):
    prior = lf.Prior(a=lf.Uniform(-50, 50), b=lf.Uniform(-50, 50))
    return lf.Model(prior, lf.BatchSimulator(function, [lf.Column(o, "mV") for o in outputs]))


def identity(theta, seeds):
    return theta.copy()


def half_invalid(theta, seeds):
    return np.where(theta[:, :1] > 0, theta, np.nan)


def never_valid(theta, seeds):
    return np.full_like(theta, np.nan)


def second_constant(theta, seeds):
    return np.stack([theta[:, 0], np.full(len(theta), 3.0)], axis=1)


def normal_reference(model, n=N, seed=1):
    """Reference simulations whose parameters are standard normal."""
    theta = np.random.default_rng(seed).normal(size=(n, 2))
    return lf.simulate(model, theta=theta, seed=seed, progress=False)


def check(function, x=0.0, y=0.0, mean=0.0, reference=None, **more):
    model = model_of(function)
    posterior = NormalPosterior(model.prior, model.statistics, lf.Observation(x=x, y=y), mean)
    reference = normal_reference(model_of(identity)) if reference is None else reference
    settings = {"n": N, "seed": 2, "progress": False, **more}
    return predictive_check(posterior, model, reference, **settings)


def test_a_matching_share_is_that_of_the_normal_law():
    """Two independent standard normal statistics within one standard deviation of 0."""
    finding = check(identity).finding
    expected = (norm.cdf(1) - norm.cdf(-1)) ** 2
    assert finding["valid"]["share"] == 1.0
    assert finding["matching"]["share"] == pytest.approx(expected, abs=SHARE + SPREAD)
    assert finding["matching_before"]["share"] == pytest.approx(expected, abs=SHARE + SPREAD)
    assert finding["matching"]["low"] < finding["matching"]["share"] < finding["matching"]["high"]
    assert finding["passed"]
    row = finding["statistics"][0]
    assert (row["name"], row["unit"]) == ("x", "mV")
    assert row["median"] == pytest.approx(0.0, abs=0.1)
    assert row["low"] == pytest.approx(norm.ppf(0.05), abs=0.15)
    assert row["high"] == pytest.approx(norm.ppf(0.95), abs=0.15)
    assert row["inside"] is True


def test_a_distance_is_in_standard_deviations_of_the_reference():
    row = check(identity, x=3.0).finding["statistics"][0]
    assert row["distance"] == pytest.approx(3.0, rel=SPREAD, abs=0.1)
    assert row["inside"] is False


def test_a_measurement_out_of_reach_fails():
    finding = check(identity, x=3.0).finding
    assert not finding["passed"]
    sentences = [f["sentence"] for f in finding["findings"] if not f["passed"]]
    assert any("x lies outside" in s for s in sentences)
    assert any("the check asks for 10 %" in s for s in sentences)


def test_valid_share_with_invalid_rows():
    found = check(half_invalid)
    assert found.finding["valid"]["share"] == pytest.approx(0.5, abs=SHARE)
    assert np.isnan(found.x["x"][~found.simulations.valid]).all()
    assert not found.matching[~found.simulations.valid].any()


def test_no_valid_sample_at_all():
    found = check(never_valid)
    finding = found.finding
    assert finding["valid"]["share"] == 0.0
    assert finding["valid"]["high"] > 0.0
    assert finding["matching"]["share"] == 0.0
    assert not finding["passed"]
    assert "No sample is valid" in finding["sentence"]
    assert all(row["median"] is None and row["inside"] is None for row in finding["statistics"])
    json.dumps(finding, allow_nan=False)


def test_a_statistic_that_never_varies_matches_at_its_value_only():
    reference = normal_reference(model_of(second_constant))
    assert reference_spread(reference)[1] == 0.0
    hit = check(second_constant, y=3.0, reference=reference).finding
    assert hit["statistics"][1]["inside"] is True
    assert hit["statistics"][1]["distance"] is None
    assert hit["matching"]["share"] == pytest.approx(norm.cdf(1) - norm.cdf(-1), abs=0.07)
    missed = check(second_constant, y=3.1, reference=reference).finding
    assert missed["statistics"][1]["inside"] is False
    assert missed["matching"]["share"] == 0.0
    json.dumps(missed, allow_nan=False)


def test_a_statistic_that_rarely_varies_has_its_standard_deviation():
    def counts(theta, seeds):
        return np.stack([theta[:, 0], (theta[:, 1] > 1).astype(float)], axis=1)

    reference = normal_reference(model_of(counts))
    rare = norm.sf(1)
    expected = np.sqrt(rare * (1 - rare))
    assert reference_spread(reference)[1] == pytest.approx(expected, rel=0.1)


def test_weights_make_up_for_abandoned_simulations():
    """Rows of weight 4 count four times; the others were abandoned."""
    model = model_of(identity)
    plain = normal_reference(model, n=100)
    kept = np.arange(100) % 4 == 0
    status = np.where(kept, lf.Status.OK, lf.Status.ABANDONED).astype(np.int8)
    weighted = lf.Simulations(
        plain.theta, plain.x, status, np.where(kept, 4.0, 4.0 / 3), plain.seeds
    )
    found = compare(weighted, np.zeros(2), plain).finding
    assert found["valid"]["share"] == pytest.approx(1.0)


def test_a_reference_without_valid_rows():
    reference = normal_reference(model_of(never_valid), n=10)
    with pytest.raises(ValueError, match="Expected valid reference simulations"):
        check(identity, reference=reference)


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_a_number_of_samples_that_cannot_be(n):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        check(identity, n=n)


def test_same_seed_same_check(tmp_path):
    first, second = check(identity, n=50), check(identity, n=50, store=tmp_path / "kept")
    assert first.finding == second.finding
    again = check(identity, n=50, store=tmp_path / "kept")
    assert again.finding == first.finding
    assert check(identity, n=50, seed=3).finding != first.finding


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.00123, "0.12 %"), (0.5, "50 %"), (0.123, "12 %"), (1.0, "100 %")],
)
def test_shares_in_words(share, text):
    assert percent(share) == text
