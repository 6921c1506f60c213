"""Maximum entropy where it is known in closed form, by functions of SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, polygamma
from scipy.stats import dirichlet

import lanternfish as lf
from lanternfish.inference.epi import Loop

ALPHA = np.array([2.0, 3.0, 4.0])


def log_shares(theta, key):
    """Logarithms of two shares and of what they leave of 1; none where they leave nothing."""
    shares = jnp.stack([theta["x1"], theta["x2"], 1 - theta["x1"] - theta["x2"]])
    return jnp.where(shares > 0, jnp.log(jnp.where(shares > 0, shares, 1.0)), jnp.nan)


def test_means_of_log_shares_make_a_dirichlet():
    """Its own variances are asked for, too, so that what widens a statistic without bound is 0.

    exp(eta_2 u^2) has no integral with eta_2 above 0, however little, because log x has no bound.
    """
    whole = ALPHA.sum()
    mean = digamma(ALPHA) - digamma(whole)
    sd = np.sqrt(polygamma(1, ALPHA) - polygamma(1, whole))
    names = [f"log_x{i}" for i in (1, 2, 3)]
    prior = lf.Prior(x1=lf.Uniform(0, 1), x2=lf.Uniform(0, 1))
    model = lf.Model(prior, lf.JaxSimulator(log_shares, tuple(names)), name="shares")
    asked = lf.EmergentProperty(
        "a Dirichlet's", **dict(zip(names, zip(mean, sd, strict=True), strict=True))
    )
    loop = Loop(polish=2_000, fit=600)
    run = lf.infer(model, asked, lf.EPI(loop=loop), seed=0, progress=False)
    assert run.posterior.converged, run.checks["convergence"]["sentence"]
    exact = dirichlet(ALPHA)
    found = run.checks["entropy"]
    assert found["low"] < exact.entropy() < found["high"]
    assert found["entropy"] == pytest.approx(exact.entropy(), abs=0.03)
    samples = run.posterior.sample(20_000, seed=1).array
    np.testing.assert_allclose(samples.mean(0), exact.mean()[:2], atol=0.01)
    np.testing.assert_allclose(np.cov(samples.T), exact.cov()[:2, :2], atol=0.002)
    np.testing.assert_allclose(found["eta"][0] / sd, ALPHA - 1, atol=0.15)
