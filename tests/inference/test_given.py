"""Simulations that are there already: learned from, recognised, checked against the prior."""

import warnings

import numpy as np
import pytest

import lanternfish as lf
from lanternfish.inference.given import check_given, not_from_prior

SMALL = lf.flows.Architecture("maf", layers=2, width=16, depth=1)
QUICK = lf.inference.Training(epochs=40)
METHOD = lf.NPE(density=SMALL, training=QUICK)
N = 2_000


@pytest.fixture(scope="module")
def arrays(gaussian_model):
    """Single precision, as toolboxes on other frameworks hold them."""
    sims = lf.simulate(gaussian_model, N, seed=5, progress=False)
    return sims.theta.array.astype(np.float32), sims.x.array.astype(np.float32)


@pytest.fixture
def elsewhere(gaussian_model):
    return lf.Model(gaussian_model.prior, lf.Elsewhere(outputs=("x1", "x2", "x3")))


def learned(model, target, given, method=METHOD, **where):
    return lf.infer(model, target, method, simulations=given, progress=False, **where)


def test_one_round_learns_the_closed_form_without_a_simulator(
    elsewhere, gaussian_target, arrays, exact
):
    run = learned(elsewhere, gaussian_target, lf.Simulations.of(elsewhere, *arrays))
    mean, covariance = exact()
    sd = np.sqrt(np.diag(covariance))
    samples = run.posterior.sample(20_000).array
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.2 * sd.min())
    np.testing.assert_allclose(samples.std(0), sd, rtol=0.2)
    assert len(run.simulations) == run.history["rounds"][0]["simulations"] == N


def test_weights_turn_another_proposal_into_the_prior(gaussian_model, gaussian_target, exact):
    """Half as many a above 0.5 as below, in the proposal; the posterior is the same."""
    theta, rng = gaussian_model.prior.sample(12_000, seed=3).array, np.random.default_rng(0)
    theta = theta[(theta[:, 0] < 0.5) | (rng.random(len(theta)) < 0.5)]
    x = lf.simulate(gaussian_model, theta=theta, progress=False).x
    weight = np.where(theta[:, 0] < 0.5, 0.75, 1.5)  # 1 over (4/3, 2/3), the proposal's densities
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = lf.Simulations.of(gaussian_model, theta, x, weight)
        run = learned(gaussian_model, gaussian_target, given)
    with pytest.warns(UserWarning, match=r"^Expected simulations whose .* got others in a: give"):
        check_given(gaussian_model, lf.Simulations.of(gaussian_model, theta, x))
    mean, covariance = exact()
    found = run.posterior.sample(20_000).array.mean(0)
    np.testing.assert_allclose(found, mean, atol=0.2 * np.sqrt(np.diag(covariance)).min())


def test_further_rounds_spend_the_budget_beyond_them(gaussian_model, gaussian_target, arrays):
    method = lf.NPE(600, rounds=3, density=SMALL, training=QUICK)
    given = lf.Simulations.of(gaussian_model, *arrays)
    run = learned(gaussian_model, gaussian_target, given, method)
    assert run.history["rounds"][0]["simulations"] == N
    assert len(run.simulations) == N + 600


def test_a_store_holds_them_and_recognises_them(elsewhere, gaussian_target, arrays, tmp_path):
    given = lf.Simulations.of(elsewhere, *arrays)
    run = learned(elsewhere, gaussian_target, given, store=tmp_path)
    again = lf.Run.load(tmp_path)
    assert np.array_equal(again.simulations.theta.array, given.theta.array)
    assert np.array_equal(again.posterior.sample(20).array, run.posterior.sample(20).array)
    with pytest.raises(ValueError, match=r"^Expected the study that .*got another simulations"):
        learned(elsewhere, gaussian_target, given[:1_000], store=tmp_path)


def test_rounds_need_a_simulator(elsewhere, gaussian_target, arrays):
    method = lf.NPE(600, rounds=2, density=SMALL, training=QUICK)
    given = lf.Simulations.of(elsewhere, *arrays)
    with pytest.raises(ValueError, match=r"^Expected a simulator of model that runs here; got one"):
        learned(elsewhere, gaussian_target, given, method)


def test_draws_from_the_prior_are_called_so(gaussian_model):
    sims = lf.simulate(gaussian_model, 5_000, seed=2, progress=False)
    assert not_from_prior(gaussian_model, sims) == []
    assert not_from_prior(gaussian_model, sims[sims.theta["b"] < 0]) == ["b"]


def test_arrays_instead_of_simulations(gaussian_model, gaussian_target, arrays):
    with pytest.raises(TypeError, match=r"^Expected Simulations; got tuple: arrays become some by"):
        learned(gaussian_model, gaussian_target, arrays)


def test_simulations_of_another_model(gaussian_model, gaussian_target):
    other = lf.Model(gaussian_model.prior, lf.Elsewhere(outputs=("rate",)))
    given = lf.Simulations.of(other, [[0.0, 0.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"^Expected .* statistics, x1, x2, x3; got rate"):
        learned(gaussian_model, gaussian_target, given)


def test_a_method_that_simulates_for_itself_takes_none(gaussian_model):
    given = lf.simulate(gaussian_model, 100, seed=0, progress=False)
    target = lf.EmergentProperty(x1=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"^Expected simulations for a method .*got them for EPI"):
        lf.infer(gaussian_model, target, lf.EPI(), simulations=given, progress=False)
