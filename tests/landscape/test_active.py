"""Active subspaces of functions whose subspace is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_forms import uniform_prior
from quadrature_forms import Flat

import lanternfish as lf
from lanternfish.landscape import active_subspace

D = 5
PRIOR = uniform_prior(-np.sqrt(3) * np.ones(D), np.sqrt(3) * np.ones(D)) if D > 4 else None
WAY = np.array([0.6, -0.5, 0.0, 0.4, np.sqrt(1 - 0.77)])
ROOT = np.random.default_rng(4).normal(size=(D, D))
MATRIX = ROOT + ROOT.T


def functions(theta, key):
    """A ridge, exp(0.7 w.u), of one active direction; and u^T A u / 2, where C = A A."""
    u = jnp.stack([theta[name] for name in PRIOR.names])
    noise = 0.05 * jax.random.normal(key)
    return {
        "ridge": jnp.exp(0.7 * (u @ WAY)) + noise,
        "bowl": u @ jnp.asarray(MATRIX) @ u / 2,
        "still": jnp.float32(3.0),
        "rare": jnp.where(u[0] > 1.7, u[0], jnp.nan),
    }


MODEL = lf.Model(PRIOR, lf.JaxSimulator(functions, ("ridge", "bowl", "still", "rare")))
POSTERIOR = Flat(PRIOR)


@pytest.mark.parametrize("gradients", ["regression", "simulator"])
def test_a_ridge_has_one_direction(gradients):
    found = active_subspace(POSTERIOR, MODEL, "ridge", points=1_500, gradients=gradients)
    assert abs(found.vectors[0] @ WAY) > 0.998
    assert found.shares[0] > 0.98
    assert found.explained > 0.9
    np.testing.assert_allclose(found.activity, WAY**2, atol=0.05)
    assert abs(np.corrcoef(found.project(), np.log(np.maximum(found.values, 0.05)))[0, 1]) > 0.9
    assert "ridge lies along one direction" in found.sentence


def test_eigenvalues_of_a_quadratic():
    """grad = A u and E[u u^T] = I, so that C = A A in units of the statistic's spread."""
    found = active_subspace(POSTERIOR, MODEL, "bowl", points=3_000, gradients="simulator")
    values, vectors = np.linalg.eigh(MATRIX @ MATRIX / found.spread**2)
    assert np.all(np.abs(found.eigenvalues - values[::-1]) < 5 * found.error)
    assert abs(found.vectors[0] @ vectors[:, -1]) > 0.99
    assert found.directions.array.shape == (D, D)


def test_simulations_that_are_there_are_enough():
    sims = lf.simulate(MODEL, 900, seed=2)
    sims = lf.simulate(
        lf.Model(PRIOR, lf.BatchSimulator(lambda t, s: np.exp(0.7 * t @ WAY)[:, None], ["ridge"])),
        theta=sims.theta,
    )
    model = lf.Model(PRIOR, lf.Elsewhere(("ridge",)))
    found = active_subspace(sims.theta, model, "ridge", simulations=sims, scale="posterior")
    assert abs(found.vectors[0] @ WAY) > 0.99


@pytest.mark.parametrize(
    ("statistic", "options", "words"),
    [
        ("speed", {}, "Expected a statistic among ridge"),
        ("still", {}, "no direction changes it"),
        ("rare", {"points": 300}, "in which rare can be measured"),
        ("ridge", {"gradients": "exact"}, 'Expected gradients="regression"'),
        ("ridge", {"points": 1}, "at least 2"),
    ],
)
def test_bad_input(statistic, options, words):
    with pytest.raises(ValueError, match=words):
        active_subspace(POSTERIOR, MODEL, statistic, **{"points": 200, **options})


def test_gradients_need_jax():
    model = lf.Model(PRIOR, lf.BatchSimulator(lambda t, s: t[:, :1], ["x"]))
    with pytest.raises(ValueError, match="Expected a simulator in JAX"):
        active_subspace(POSTERIOR, model, "x", gradients="simulator", points=50)
