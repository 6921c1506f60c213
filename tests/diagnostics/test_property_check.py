"""The property check, on distributions of which the truth is known."""

import jax
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.diagnostics import property_check

NOISE = 2.0


@pytest.fixture(scope="module")
def model():
    """y = theta + noise, theta uniform: mean 3, variance 1/3 over theta and 1/3 + 4 in total."""
    prior = lf.Prior(a=lf.Uniform(2, 4))

    def simulate(theta, key):
        return theta["a"][None] + NOISE * jax.random.normal(key, (1,))

    return lf.Model(prior, lf.JaxSimulator(simulate, outputs=("y",)), name="noisy")


def accepted(model, target):
    """All prior draws, as a posterior of samples."""
    method = lf.Rejection(simulations=4_000, tolerance=1e9)
    return lf.infer(model, target, method, seed=0, progress=False).posterior


@pytest.mark.parametrize("total", [False, True])
def test_means_and_both_kinds_of_variance(model, total):
    sd = float(np.sqrt(1 / 3 + total * NOISE**2))
    target = lf.EmergentProperty(y=(3.0, sd), total_variance=total)
    check = property_check(accepted(model, target), model, n=4_000, progress=False)
    row = check.finding["statistics"][0]
    assert check.finding["passed"], check.finding["sentence"]
    assert row["mean"] == pytest.approx(3.0, abs=4 * np.sqrt((1 / 3 + 2) / 4_000))
    assert row["mean_error"] == pytest.approx(np.sqrt((1 / 3 + 2) / 4_000), rel=0.1)
    assert row["sd"] ** 2 == pytest.approx(sd**2, abs=4 * np.sqrt(2 * (1 / 3 + 4) ** 2 / 4_000))
    near = np.abs(check.x["y"] - 3.0) <= sd
    assert np.array_equal(check.matching, near)


@pytest.mark.parametrize(
    ("target", "what"),
    [((3.3, np.sqrt(1 / 3)), "where 3.3"), ((3.0, 3.0), "± 3 is wanted"), ((3.0, 0.1), "± 0.1")],
)
def test_what_is_not_had_is_found(model, target, what):
    posterior = accepted(model, lf.EmergentProperty(y=target))
    check = property_check(posterior, model, n=4_000, progress=False)
    assert not check.finding["passed"]
    assert what in check.finding["sentence"]


def test_it_seldom_fails_what_holds(model):
    target = lf.EmergentProperty(y=(3.0, float(np.sqrt(1 / 3 + 4))), total_variance=True)
    posterior = accepted(model, target)
    failed = [
        not property_check(posterior, model, n=200, seed=s, progress=False).finding["passed"]
        for s in range(40)
    ]
    assert sum(failed) <= 5  # of 5 % or less, with a chance of 1.4 % of more


def test_bad_input(model, gaussian_run, gaussian_model):
    with pytest.raises(ValueError, match=r"Expected a posterior of an EmergentProperty; got one"):
        property_check(gaussian_run.posterior, gaussian_model)
    posterior = accepted(model, lf.EmergentProperty(y=(3.0, 1.0)))
    with pytest.raises(ValueError, match=r"at least 2; got 1"):
        property_check(posterior, model, n=1)
