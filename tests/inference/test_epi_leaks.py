"""Samples of a density far below what it should be: they cost nats, and become few."""

import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.inference.epi.objective import leaks, shares


@pytest.mark.parametrize("weight", [np.full(6, 1 / 6), np.array([0.3, 0.1, 0.2, 0.1, 0.2, 0.1])])
def test_a_sample_costs_what_does_not_count_by_its_gradient(weight):
    """Of five depths: none of the middle, and all of ten nats, at most, far below it."""
    log_weight = jnp.array([0.5, 0.0, -0.1, -6.0, -50.0, 0.0])
    valid = jnp.array([True, True, True, True, True, False])
    counted = shares(log_weight, valid, jnp.ones(()))
    found = np.asarray(leaks(log_weight, valid, counted, jnp.asarray(weight)))
    middle = -0.1  # median of the valid ones
    depth = np.array([0.0, 0.0, 0.0, middle + 6.0, 10.0, 0.0])
    cost = -(1 - np.asarray(counted)) * depth
    np.testing.assert_allclose(found, weight * (cost - weight @ cost), atol=1e-5)
    assert counted[4] < 0.05
    assert found.sum() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.slow
def test_few_samples_of_the_linear_system_lie_between_its_modes():
    """At 1 Hz, sd 0.25, p has nothing where eigenvalues are real, which parts both modes."""
    model = lf.models.linear_2d()
    run = lf.infer(model, model.targets["oscillation"], lf.EPI(), seed=1, progress=False)
    assert run.posterior.converged
    theta = run.posterior.sample(100_000, seed=0)
    turning = (theta["a11"] - theta["a22"]) ** 2 + 4 * theta["a12"] * theta["a21"]
    assert np.mean(turning > 0) < 5e-4
    assert np.mean(theta["a12"] > 0) == pytest.approx(0.5, abs=0.02)
    assert run.checks["entropy"]["entropy"] > 7.02  # of 7.0416 exactly
