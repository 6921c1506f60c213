"""EPI by what a network expects of noisy statistics, against closed forms."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.inference.epi import Loop
from lanternfish.inference.epi import method as epi_method
from lanternfish.inference.epi.learned import blank, taught
from lanternfish.inference.epi.memory import Memory
from lanternfish.inference.epi.pilot import Pilot
from lanternfish.inference.epi.population import anneal
from lanternfish.inference.epi.problem import Problem
from lanternfish.inference.epi.slack import allowance, steered

NOISE = 0.3
PRIOR = lf.Prior(a=lf.Uniform(-3, 3))


def noisy(theta, key):
    """a, with noise."""
    return {"x": theta["a"] + NOISE * jr.normal(key)}


def plain(theta, seeds):
    """The same without JAX."""
    noise = [np.random.default_rng(int(seed)).normal(0, NOISE) for seed in seeds]
    return theta[:, :1] + np.array(noise)[:, None]


def twice(theta, key):
    """The same statistic twice."""
    return {"x": theta["a"], "y": theta["a"]}


def wave(theta, key):
    """A mean and a noise that both vary."""
    a = theta["a"]
    return {"x": jnp.sin(2 * a) + (0.2 + 0.1 * a**2) * jr.normal(key)}


def costly(theta, key):
    """Two statistics of one parameter, with noise, that take many numbers."""
    noise = jr.normal(key, (2, 6_000)).mean(axis=1) * np.sqrt(6_000)
    return {"x": theta["a"] + NOISE * noise[0], "y": theta["a"] + NOISE * noise[1]}


def model_of(function, *names):
    return lf.Model(PRIOR, lf.JaxSimulator(function, tuple(lf.Column(n, "") for n in names)))


QUIET = Pilot(None, None, True, 0.0, False, ())


def test_regression_finds_mean_and_noise():
    """Of u, E u and E u^2 of 20,000 simulations, against what was put in."""
    problem = Problem(model_of(wave, "x"), lf.EmergentProperty(x=(0.2, 0.5)), 1, "uniform")
    z = jr.normal(jr.key(0), (1, 20_000))
    theta, log_b = problem.parameters(z)
    found = problem.features(problem.simulate(theta, jr.key(1)))
    known = Memory(z.T, found, log_b, log_b)
    model = taught(blank(problem, found, 0), known, 0)
    a = np.linspace(-2.5, 2.5, 101)
    expected = model.features(model.simulate(jnp.asarray(a[:, None], jnp.float32), jr.key(0)))
    mean, noise = (np.sin(2 * a) - 0.2) / 0.5, (0.2 + 0.1 * a**2) / 0.5
    assert np.all(expected.valid)
    np.testing.assert_allclose(expected.u[:, 0], mean, atol=0.2)
    assert np.sqrt(np.mean((np.asarray(expected.u[:, 0]) - mean) ** 2)) < 0.06
    np.testing.assert_allclose(expected.square[:, 0], mean**2 + noise**2, rtol=0.15, atol=0.1)


def test_slack_where_no_parameters_have_the_property():
    """One statistic twice, with means that differ: the optimum of the dual with slack."""
    target = lf.EmergentProperty(x=(0.0, 0.5), y=(0.1, 0.5))
    problem, slack = Problem(model_of(twice, "x", "y"), target, 1, "uniform"), (0.2, 0.2)
    assert anneal(problem, 0, QUIET, lambda level: None, 1_024) is None
    found = anneal(problem, 0, QUIET, lambda level: None, 2_048, slack)
    assert found is not None
    kept = [(np.array(level["mean"]), np.array(level["variance"])) for level in found.levels[-10:]]
    mean = np.mean([mean for mean, _ in kept], axis=0)
    square = np.mean([variance + mean**2 for mean, variance in kept], axis=0)
    np.testing.assert_allclose(mean, [0.1, -0.1], atol=0.02)  # half way, by symmetry
    means, squares = np.split(allowance(found.eta, slack)[0], 2)
    np.testing.assert_allclose(mean + means, 0, atol=0.02)
    np.testing.assert_allclose(square + squares, 1, atol=0.02)


def test_what_slack_allows():
    """Odd in eta of means, tighter for pulls outwards, and its slope by differences."""
    eta, slack = np.array([[-1.0, 0.1, 0.4], [-0.5, 0.01, 0.3]]), (0.02, 0.05)
    value, slope = allowance(eta, slack)
    np.testing.assert_allclose(allowance(-eta, slack)[0][:3], -value[:3])
    assert value[4] > -10 * allowance(-eta, slack)[0][4] > 0  # a small one outwards takes most
    assert np.all(np.abs(value) <= np.repeat(slack, 3) * (1 + 0.1 * np.abs(eta.ravel())))
    near = allowance(eta + 1e-6, slack)[0] - allowance(eta - 1e-6, slack)[0]
    np.testing.assert_allclose(slope, near / 2e-6, rtol=1e-4)
    assert not np.any(allowance(eta, None))


def test_what_slack_allows_is_the_same_in_jax():
    eta, slack = np.array([[-1.0, 0.1, 0.4], [-0.5, 0.01, 0.3]]), (0.02, 0.05)
    for one, other in zip(allowance(jnp.asarray(eta), slack), allowance(eta, slack), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_eta_is_steered_to_the_property_that_slack_leaves():
    """Of N(0, 4) tilted by exp(a x + b x^2), which is normal: its moments end where they should."""
    slack, eta = (0.05, 0.1), jnp.zeros((2, 1))
    noise = np.random.default_rng(0).standard_normal(20_000)
    valid = np.arange(len(noise)) % 7 > 0
    for _ in range(200):
        (a,), (b,) = np.asarray(eta, np.float64)
        variance = 1 / (1 / 4 - 2 * b)
        x = np.where(valid, 0.3 + variance * a + np.sqrt(variance) * noise, np.nan)
        eta = steered(eta, slack, jnp.asarray(np.c_[x, x**2]), jnp.asarray(valid))
    mean, square = np.nanmean(x), np.nanmean(x**2)
    allowed = allowance(np.asarray(eta, np.float64), slack)[0]
    np.testing.assert_allclose([mean, square], np.array([0.0, 1.0]) - allowed, atol=3e-3)


@pytest.mark.parametrize("compiled", [True, False])
def test_noise_is_taken_off_the_property(compiled):
    """x = a + noise of sd 0.3 with sd 0.5: at the greatest entropy, a is normal with sd 0.4."""
    columns = (lf.Column("x", ""),)
    simulator = lf.JaxSimulator(noisy, columns) if compiled else lf.BatchSimulator(plain, columns)
    method = lf.EPI(gradient="learned", loop=Loop(polish=1_500), samples=10_000)
    run = lf.infer(
        lf.Model(PRIOR, simulator), lf.EmergentProperty(x=(0.3, 0.5)), method, seed=0,
        progress=False,
    )  # fmt: skip
    assert run.posterior.converged, run.checks["convergence"]["sentence"]
    assert run.history["gradient"] == "learned"
    a = run.posterior.sample(20_000, seed=1)["a"]
    assert a.mean() == pytest.approx(0.3, abs=0.03)
    assert a.std() == pytest.approx(0.4, rel=0.05)
    exact = 0.5 * np.log(2 * np.pi * np.e * 0.4**2)
    assert run.checks["entropy"]["entropy"] == pytest.approx(exact, abs=0.05)


class Asked(Exception):
    """Instead of learning."""


def test_a_network_is_asked_for_more_statistics_than_parameters(monkeypatch):
    """Of a costly and noisy simulator, with nothing said; not of one of its two statistics."""

    def learn(*args):
        raise Asked

    monkeypatch.setattr(epi_method, "learn", learn)
    monkeypatch.setattr(epi_method, "anneal", learn)
    both = lf.EmergentProperty(x=(0.3, 0.5), y=(0.3, 0.5))
    with pytest.raises(Asked):
        lf.infer(model_of(costly, "x", "y"), both, lf.EPI(), seed=0, progress=False)
    monkeypatch.setattr(epi_method, "learn", lambda *args: pytest.fail("It was asked for."))
    one = lf.EmergentProperty(x=(0.3, 0.5))
    with pytest.raises(Asked):  # by the population of simulations
        lf.infer(model_of(costly, "x", "y"), one, lf.EPI(), seed=0, progress=False)


@pytest.mark.slow
def test_more_statistics_than_parameters_are_learned():
    """Of a costly and noisy simulator, with nothing said."""
    target = lf.EmergentProperty(x=(0.3, 0.5), y=(0.3, 0.5))
    method = lf.EPI(loop=Loop(polish=1_000), samples=4_000)
    run = lf.infer(model_of(costly, "x", "y"), target, method, seed=0, progress=False)
    assert run.history["gradient"] == "learned"
    a = run.posterior.sample(20_000, seed=1)["a"]
    assert a.mean() == pytest.approx(0.3, abs=0.03)
    assert a.std() == pytest.approx(0.4, rel=0.05)


def test_the_score_function_alone_meets_the_property():
    """The same NumPy simulator with nothing said: remembered rounds, and a last step from them."""
    method = lf.EPI(loop=Loop(tighten=2_000, polish=1_000), samples=4_000)
    model = lf.Model(PRIOR, lf.BatchSimulator(plain, (lf.Column("x", ""),)))
    run = lf.infer(model, lf.EmergentProperty(x=(0.3, 0.5)), method, seed=0, progress=False)
    assert run.history["gradient"] == "score"
    a = run.posterior.sample(20_000, seed=1)["a"]
    assert a.mean() == pytest.approx(0.3, abs=0.04)
    assert np.hypot(a.std(), NOISE) == pytest.approx(0.5, rel=0.05)


def test_what_learned_statistics_cannot_do():
    with pytest.raises(ValueError, match="population for gradient='learned'"):
        lf.EPI(gradient="learned", population=0)
    with pytest.raises(ValueError, match="one property of few parameters"):
        lf.infer(
            model_of(noisy, "x"), lf.PropertyRange("range", x=((0.0, 0.5), 0.5)),
            lf.EPI(gradient="learned"), seed=0, progress=False,
        )  # fmt: skip
