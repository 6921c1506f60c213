"""Faults planted into known posteriors are found, and what is right is left alone."""

import numpy as np
import pytest

import planted_faults as pf
from lanternfish.diagnostics.trust import check_run

FAULTS = {  # a check that must fail, where the verdict fails in 96 of 100 runs or more
    "overconfident": "coverage",
    "underconfident": "coverage",
    "biased": "calibration",
    "mode missing": "calibration",
    "leaking": "support",
    "wrong simulator": None,
    "out of range": "observation",
}
RIGHT = [case for case in pf.CASES if case.startswith("right")]


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found(case):
    """Both of two runs: of a power of 96 % neither is found once in 600."""
    failed = [pf.tried(case, seed) for seed in (200, 201)]
    assert any(failed)
    assert FAULTS[case] is None or all(FAULTS[case] in names for names in failed)


def test_what_is_right_is_left_alone():
    """Of nine right runs, three fail with a chance below 1 in 1,000 at 2 % each."""
    failed = [pf.tried(case, seed) for case in RIGHT for seed in range(300, 303)]
    assert sum(map(bool, failed)) <= 2


def test_the_closed_forms_draw_what_their_densities_say():
    """Means of draws against quadrature of the densities, to five standard errors."""
    grid = np.linspace(-4, 4, 4_001)
    run, _ = pf.planted("right: folded", 0)
    x = run.posterior.x
    weight = np.exp(run.posterior.density(x[None], grid[None, :, None])[0])
    drawn = run.posterior.sample(20_000, 1).array[:, 0]
    for power in (1, 2):
        expected = np.sum(grid**power * weight) / weight.sum()
        assert abs(np.mean(drawn**power) - expected) < 5 * np.std(drawn**power) / np.sqrt(20_000)


def test_what_a_budget_does_not_reach_is_said():
    run, model = pf.planted("right: linear", 0)
    none = check_run(run, None, 0, 0)
    assert "observation" in none  # the run's own simulations
    assert none.simulations == 0
    assert "a budget of at least 200" in none.left_out["calibration"]
    assert "a budget of at least 50" in none.left_out["prediction"]
    spent = check_run(run, model, 600, 0, progress=False)
    assert 0 < spent.simulations <= 600


def test_the_same_seed_gives_the_same_verdicts():
    run, model = pf.planted("biased", 3)
    first, second = (check_run(run, model, 300, 5, progress=False) for _ in range(2))
    assert [c.p_value for c in first.values()] == [c.p_value for c in second.values()]


@pytest.mark.slow
@pytest.mark.parametrize("case", pf.CASES)
def test_power_and_false_alarms(case):
    """Of 100 runs: found in at least 93 of a power of 95 % and more, at most 7 alarms of 2 %."""
    found = sum(bool(pf.tried(case, seed)) for seed in range(100))
    assert found <= 7 if case.startswith("right") else found >= 93
