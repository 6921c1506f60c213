"""The step that takes the rest of the residual, against draws of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish import flows
from lanternfish.inference.epi.memory import Memory
from lanternfish.inference.epi.problem import Problem
from lanternfish.inference.epi.projection import Drawn, Remembered, projected

PRIOR = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1))


def problem(function, **target):
    model = lf.Model(PRIOR, lf.JaxSimulator(function, tuple(target)))
    return Problem(model, lf.EmergentProperty(**target), 1, "uniform")


@pytest.fixture(scope="module")
def flow():
    return flows.pushforward(0, flows.push_for(2), 2)


def thetas(flow, asked, n=200_000):
    noise = jax.random.normal(jax.random.key(5), (flow.dim, n))
    return np.asarray(asked.parameters(flow.forward(noise)[0])[0], np.float64)


def test_means_and_variances_become_those_of_the_property(flow):
    """Of a standard normal density, with statistics that bend."""
    asked = problem(
        lambda t, key: {"x": t["a"] + 0.2 * t["b"] ** 2, "y": t["b"]}, x=(0.3, 1.1), y=(-0.1, 0.9)
    )
    before, after = (thetas(q, asked) for q in (flow, projected(flow, Drawn(asked, 2, 0))))
    found = lambda t: (t[:, 0] + 0.2 * t[:, 1] ** 2, t[:, 1])  # noqa: E731
    assert abs(found(before)[1].mean() + 0.1) > 0.09
    for values, mean, sd in zip(found(after), (0.3, -0.1), (1.1, 0.9), strict=True):
        assert values.mean() == pytest.approx(mean, abs=0.01 * sd)
        assert values.std() == pytest.approx(sd, rel=0.01)


def remembered(asked, n=16_384, width=1.3):
    """Simulated points of a wider normal than the density's."""
    z = width * jax.random.normal(jax.random.key(1), (2, n))
    theta, log_b = asked.parameters(z)
    log_r = flows.standard_normal(z / width) - 2 * np.log(width)
    found = asked.features(asked.simulate(theta, jax.random.key(2)))
    return Remembered(Memory(z.T, found, log_b, log_r))


def test_simulated_points_tell_the_moments_of_other_densities(flow):
    """By weights: no simulation is made, and the property is met on fresh ones."""
    asked = problem(lambda t, key: {"x": t["a"] + 0.2 * t["b"] ** 2}, x=(0.3, 1.15))
    moments = remembered(asked)
    theta = thetas(projected(flow, moments), asked)
    values = theta[:, 0] + 0.2 * theta[:, 1] ** 2
    assert moments.simulated == 0
    assert values.mean() == pytest.approx(0.3, abs=0.02)
    assert values.std() == pytest.approx(1.15, rel=0.02)


def test_points_that_a_density_hardly_visits_tell_nothing(flow):
    moments = remembered(problem(lambda t, key: {"x": t["a"]}, x=(0.1, 1.0)), width=8.0)
    assert np.isinf(moments.residual(flow)).all()
    assert projected(flow, moments) is flow
    none = moments.memory.features._replace(valid=jnp.zeros(16_384, bool))
    assert np.isinf(Remembered(moments.memory._replace(features=none)).residual(flow)).all()


def test_draws_without_statistics_do_not_count(flow):
    """x is known where b < 1 alone, which the other statistic keeps where it is."""
    half = lambda t, key: {"x": jnp.where(t["b"] < 1, t["a"], jnp.nan)}  # noqa: E731
    asked = problem(half, x=(0.15, 1.05))
    theta = thetas(projected(flow, Drawn(asked, 2, 0)), asked)
    kept = theta[theta[:, 1] < 1, 0]
    assert kept.mean() == pytest.approx(0.15, abs=0.01)
    assert kept.std() == pytest.approx(1.05, rel=0.01)


def test_simulations_are_counted(flow):
    """All draws once where there is nothing to do; not one more of a property that is met."""
    met = problem(lambda t, key: {"x": t["a"]}, x=(0.0, 1.0))
    moments = Drawn(met, 2, 0)
    projected(flow, moments)
    assert moments.simulated == 32_768


def test_a_property_out_of_reach_makes_nothing_worse(flow):
    asked = problem(lambda t, key: {"x": jnp.tanh(t["a"])}, x=(3.0, 0.1))
    value = np.tanh(thetas(projected(flow, Drawn(asked, 2, 0)), asked)[:, 0])
    assert np.isfinite(value).all()
    worst = lambda v: max(abs(v.mean() - 3) / 0.1, abs(v.var() / 0.01 - 1))  # noqa: E731
    assert worst(value) <= worst(np.tanh(thetas(flow, asked)[:, 0])) * 1.01


@pytest.mark.parametrize("path", [True, False], ids=["path", "score"])
def test_all_weights_move_in_many_dimensions(path):
    """A sum of squares and a mean of forty parameters."""
    names = [f"p{i}" for i in range(40)]
    prior = lf.Prior(**{name: lf.Normal(0, 1) for name in names})

    def simulate(theta, key):
        values = jnp.stack([theta[name] for name in names])
        return {"length": jnp.sqrt(jnp.mean(values**2)), "overlap": jnp.mean(values * values[::-1])}

    target = lf.EmergentProperty(length=(0.95, 0.12))
    model = lf.Model(prior, lf.JaxSimulator(simulate, ("length", "overlap")))
    asked = Problem(model, target, 1, "uniform")
    flow = projected(flows.pushforward(0, flows.push_for(40), 40), Drawn(asked, 40, 0, path))
    length = np.sqrt((thetas(flow, asked, 20_000) ** 2).mean(axis=1))
    assert length.mean() == pytest.approx(0.95, abs=0.0032)
    assert length.std() == pytest.approx(0.12, rel=0.03)
