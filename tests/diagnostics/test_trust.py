"""``run.check``: what is made of a run, what is left out, what is kept and shown."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import kstest

import lanternfish as lf
from lanternfish.core.checks import FALSE_ALARM, Check, Checks, judged
from lanternfish.diagnostics.batch import draws_of
from lanternfish.diagnostics.calibration import ranks_of
from lanternfish.diagnostics.local_c2st import local_c2st
from lanternfish.diagnostics.plausibility import plausibility

BUDGET = 400


@pytest.fixture(scope="module")
def checked(gaussian_run):
    """The shared run, as a copy, with its checks."""
    run = replace(gaussian_run)
    return run, run.check(BUDGET, progress=False)


def test_a_trained_posterior_passes_what_is_valid_for_it(checked):
    run, found = checked
    assert found.passed, found
    assert set(found) >= {"observation", "prediction", "calibration", "coverage", "TARP", "local"}
    assert found.simulations <= BUDGET
    assert "there was one round" in found.left_out["rounds"]
    assert run.trust is not None
    assert str(run.trust) == str(found)
    assert "Good: the run passed all" in repr(run)


@pytest.mark.parametrize("name", ["observation", "prediction", "calibration", "coverage", "local"])
def test_every_check_has_words_and_a_picture(checked, name):
    check = checked[1][name]
    assert check.verdict.endswith(".")
    assert check.advice
    assert 0 <= check.p_value <= 1
    assert check.plot().axes
    json.dumps(check.as_plain(), allow_nan=False)


def test_findings_are_kept_in_the_folder(checked, gaussian_model, tmp_path):
    run = replace(checked[0], checks={})
    run.save(tmp_path / "run")
    again = lf.Run.load(tmp_path / "run", gaussian_model)
    assert again.trust is None
    assert "Not checked yet" in repr(again)
    found = again.check(200, progress=False)
    stored = lf.Run.load(tmp_path / "run")
    assert str(stored.trust) == str(found)
    failed = {**found.as_plain(), "found": {"local": vars(Check("local", False, "No.", "Look."))}}
    assert "Careful: the run failed 1 of 1 checks: local" in repr(stored.with_checks(trust=failed))


def test_without_the_model_only_what_needs_none(checked, tmp_path):
    checked[0].save(tmp_path / "run")
    run = lf.Run.load(tmp_path / "run")
    with pytest.raises(ValueError, match="Expected the model, because checks simulate"):
        run.check()
    assert {"support", "observation"} <= set(run.check(0))


@pytest.mark.parametrize("budget", [-1, 2.5, True])
def test_budgets_that_are_none(checked, budget):
    with pytest.raises(ValueError, match="Expected simulations"):
        checked[0].check(budget)


def test_another_model_is_refused(checked):
    with pytest.raises(ValueError, match="Expected the model that was studied"):
        checked[0].check(100, model=lf.models.linear_2d())


def test_a_run_without_simulations(checked):
    """What is not there is brought by the budget, or its check left out with a sentence."""
    run = replace(checked[0], simulations=checked[0].simulations[:0], checks={}, history={})
    assert "no simulations of the prior" in run.check(0).left_out["observation"]
    assert "observation" in run.check(BUDGET, progress=False)


def test_weighted_samples_have_no_other_truths(gaussian_model, gaussian_target):
    method = lf.Rejection(simulations=600, quantile=0.1)
    run = lf.infer(gaussian_model, gaussian_target, method, progress=False)
    found = run.check(200, progress=False)
    assert "holds for one observation" in found.left_out["calibration"] or (
        "samples were accepted for" in found.left_out["calibration"]
    )
    assert not found["samples"].passed  # sixty
    assert "Accept more" in found["samples"].advice


def test_many_posteriors_in_one_program_are_those_one_by_one(gaussian_run):
    """Ranks of both are of one law: Kolmogorov-Smirnov of the draws of each posterior."""
    run, kept = gaussian_run, gaussian_run.simulations[:5]
    together = draws_of(run.posterior, kept, 199, seed=1)
    for i in range(len(kept)):
        x = lf.Observation.from_array(kept.x.array[i], kept.x.columns)
        alone = run.posterior.at(x)
        drawn = alone.sample(2_000, seed=3).array
        for j in range(drawn.shape[1]):
            assert kstest(together.theta[i, :, j], drawn[:, j]).pvalue > 1e-4
        both = np.concatenate([kept.theta.array[i : i + 1], together.theta[i]])
        np.testing.assert_allclose(together.density[i], alone.log_prob(both), atol=1e-3)


def test_holm_holds_its_rate():
    """Of m uniform p-values, any fails with a chance of FALSE_ALARM at most; to 4 sd of 4,000."""
    rng, n = np.random.default_rng(0), 4_000
    hits = 0
    for row in rng.random((n, 6)):
        made = judged([Check(str(i), True, "", p_value=p) for i, p in enumerate(row)])
        hits += not Checks(made).passed
    assert hits / n < FALSE_ALARM + 4 * np.sqrt(FALSE_ALARM / n)
    two = judged([Check("a", True, "", p_value=0.005), Check("b", True, "", p_value=0.015)])
    assert not two["a"].passed  # 2 x 0.005 < 0.02
    assert not two["b"].passed  # 1 x 0.015 < 0.02, as it would not be alone of two


def test_the_local_test_is_uniform_where_nothing_is_wrong_and_small_where_something_is():
    rng, p, wrong = np.random.default_rng(0), [], []
    for seed in range(20):
        x = rng.normal(size=(150, 2))
        here, x_obs = rng.normal(size=(100, 2)), np.zeros(2)
        truths, draws = x + rng.normal(size=(150, 2)), x + rng.normal(size=(150, 2))
        p.append(local_c2st(truths, draws, x, here, x_obs, seed).p_value)
        wrong.append(local_c2st(truths, draws + 1.0, x, here + 1.0, x_obs, seed).p_value)
    assert kstest(p, "uniform").pvalue > 1e-3
    assert np.mean(np.array(wrong) < 0.01) > 0.8


def test_places_are_uniform_among_their_own_kind():
    rng, p = np.random.default_rng(0), []
    mix, columns = rng.normal(size=(4, 4)), [lf.Column(f"s{i}") for i in range(4)]
    for _ in range(200):
        x = np.exp(0.5 * rng.normal(size=(121, 4)) @ mix)
        p.append(plausibility(x[1:], x[0], columns).p_value)
    assert kstest(p, "uniform").pvalue > 1e-3
    x = rng.normal(size=(300, 2)) @ np.array([[1.0, 0.99], [0.0, 0.1]])
    found = plausibility(x, np.array([1.5, -1.5]), columns[:2])  # each is likely, both are not
    assert found.p_value < 0.01
    assert found.by_statistic.min() > 0.05


def test_too_few_or_constant_simulations():
    columns = [lf.Column("a")]
    with pytest.raises(ValueError, match="Expected at least 50 valid simulations"):
        plausibility(np.zeros((10, 1)), np.zeros(1), columns)
    with pytest.raises(ValueError, match="got every statistic constant"):
        plausibility(np.zeros((100, 1)), np.zeros(1), columns)
    with pytest.raises(ValueError, match="at least 50 pairs"):
        local_c2st(*[np.zeros((10, 1))] * 4, np.zeros(1))


@dataclass(frozen=True)
class Dumb(lf.Posterior):
    """Draws without a density, whatever the observation: the prior itself, which is calibrated."""

    prior: lf.Prior
    statistics: tuple
    observation: lf.Observation
    kind = "dumb"
    has_density = False

    def sample(self, n, seed=0):
        return self.prior.sample(n, seed)

    def log_density(self, theta):
        raise ValueError("Expected a posterior with a density; got draws.")

    def at(self, observation):
        return replace(self, observation=observation)

    def write(self, folder):
        raise ValueError("Expected a posterior that can be stored; got draws.")


def test_a_posterior_without_a_density(gaussian_model, gaussian_target):
    posterior = Dumb(gaussian_model.prior, gaussian_model.statistics, gaussian_target)
    made = lf.simulate(gaussian_model, 300, progress=False)
    run = lf.Run(posterior, made, model=gaussian_model.describe(), target=gaussian_target)
    found = run.check(240, progress=False)
    assert "has no density" in found.left_out["coverage"]
    assert found["calibration"].passed
    ranks, regions = ranks_of(made.theta.array[:60], draws_of(posterior, made[:60], 19), 0)
    assert regions is None
    assert ranks.shape == (60, 2)
