"""The population that EPI's loop starts from, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish import flows
from lanternfish.core import Folder
from lanternfish.inference.epi.pilot import Pilot
from lanternfish.inference.epi.population import anneal, recalled
from lanternfish.inference.epi.problem import Problem, work
from lanternfish.inference.epi.start import fitted

SIZE = 2_048


def annealed(prior, function, target, *, base="uniform", noise=0.0):
    model = lf.Model(prior, lf.JaxSimulator(function, tuple(target)))
    problem = Problem(model, target, 1, base)
    pilot = Pilot(None, None, True, noise, False, ())
    told = []
    found = anneal(problem, 3, pilot, told.append, SIZE)
    if found is None:
        return None, told
    theta = np.asarray(problem.parameters(jnp.asarray(found.z))[0])
    return found, theta


def test_a_tilted_normal_prior_has_the_entropy_of_the_closed_form():
    """Relative to N(0, I), the sum of three parameters goes from N(0, 3) to N(2, 0.5^2)."""
    prior = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1), c=lf.Normal(0, 1))
    target = lf.EmergentProperty(x=(2.0, 0.5))
    found, theta = annealed(
        prior, lambda t, key: {"x": t["a"] + t["b"] + t["c"]}, target, base="prior"
    )
    ratio = 0.5**2 / 3
    divergence = 0.5 * (ratio + 2.0**2 / 3 - 1 - np.log(ratio))
    assert found.entropy == pytest.approx(-divergence, abs=max(4 * found.error, 0.05))
    total = theta.sum(axis=1)
    assert total.mean() == pytest.approx(2.0, abs=0.05)
    assert total.std() == pytest.approx(0.5, rel=0.05)
    assert (theta[:, 0] - theta[:, 1]).std() == pytest.approx(np.sqrt(2), rel=0.06)


def test_the_base_measure_takes_the_prior_s_place():
    """Without bounds: N(1, 0.5^2), whatever the prior was."""
    found, theta = annealed(
        lf.Prior(a=lf.Normal(0, 3)), lambda t, key: {"x": t["a"]}, lf.EmergentProperty(x=(1.0, 0.5))
    )
    exact = 0.5 * np.log(2 * np.pi * np.e * 0.25)
    assert found.entropy == pytest.approx(exact, abs=max(4 * found.error, 0.05))
    assert theta.mean() == pytest.approx(1.0, abs=0.03)
    assert theta.std() == pytest.approx(0.5, rel=0.05)


def test_modes_keep_their_shares_and_what_is_not_valid_is_left():
    """b^2 = 2 has two branches, one of which ends where the simulator fails."""

    def bent(theta, key):
        b = theta["b"]
        return {"y": jnp.where((b > 0) & (theta["a"] < 1), jnp.nan, b**2)}

    prior = lf.Prior(a=lf.Uniform(0, 4), b=lf.Uniform(-2, 2))
    _, theta = annealed(prior, bent, lf.EmergentProperty(y=(2.0, 0.4)))
    positive = theta[:, 1] > 0
    assert positive.mean() == pytest.approx(3 / 7, abs=0.04)
    assert (theta[positive, 0] >= 1).all()
    assert (theta[:, 1] ** 2).mean() == pytest.approx(2.0, abs=0.03)


def test_a_noisy_simulator_meets_the_property_by_simulations_anew():
    """The variance of a + noise is 0.5^2 in all, so that a keeps what the noise leaves of it."""

    def noisy(theta, key):
        return {"x": theta["a"] + 0.2 * jax.random.normal(key)}

    target = lf.EmergentProperty(x=(1.0, 0.5), total_variance=True)
    _, theta = annealed(lf.Prior(a=lf.Uniform(-4, 6)), noisy, target, noise=0.4)
    assert theta.mean() == pytest.approx(1.0, abs=0.04)
    assert theta.std() == pytest.approx(np.sqrt(0.5**2 - 0.2**2), rel=0.06)


def test_a_population_is_read_back(tmp_path):
    target = lf.EmergentProperty(x=(1.0, 0.5))
    model = lf.Model(
        lf.Prior(a=lf.Uniform(0, 3)), lf.JaxSimulator(lambda t, key: {"x": t["a"]}, ("x",))
    )
    problem = Problem(model, target, 1, "uniform")
    found = anneal(problem, 0, Pilot(None, None, True, 0.0, False, ()), print, 256)
    folder = Folder(tmp_path)
    found.keep(folder)
    again = recalled(folder, problem)
    assert np.array_equal(again.z, found.z)
    assert np.array_equal(again.spread.variance, found.spread.variance)
    assert again.as_plain() == found.as_plain()


def test_there_is_no_way_to_what_no_parameters_reach():
    found, told = annealed(
        lf.Prior(a=lf.Uniform(0, 1)), lambda t, key: {"x": t["a"]}, lf.EmergentProperty(x=(9, 0.5))
    )
    assert found is None
    assert len(told) < 100


def test_a_density_is_fitted_to_points():
    """A bent ridge of known entropy: (u, u^2 / 2 + v / 4) has that of (u, v / 4)."""
    u, v = np.random.default_rng(0).normal(size=(2, 8_000))
    z = np.stack([u, u**2 / 2 + v / 4])
    flow = flows.pushforward(0, flows.Push(layers=3, width=24, bins=8), 2)
    got = -float(jnp.mean(fitted(flow, z, 0, 400).log_prob(jnp.asarray(z, jnp.float32))))
    exact = np.log(2 * np.pi * np.e) + np.log(1 / 4)
    assert got == pytest.approx(exact, abs=0.1)


def test_work_counts_what_loops_repeat():
    def loop(theta, key):
        end = jax.lax.scan(lambda x, _: (0.9 * x + 1, None), theta["a"], None, length=5_000)[0]
        return {"x": end}

    prior, target = lf.Prior(a=lf.Uniform(0, 1)), lf.EmergentProperty(x=(0.5, 0.1))

    def cost(function):
        return work(Problem(lf.Model(prior, lf.JaxSimulator(function, ("x",))), target, 1, "prior"))

    assert cost(loop) >= 10_000
    assert cost(lambda theta, key: {"x": 0.9 * theta["a"] + 1}) < 100


@pytest.mark.parametrize("size", [-8, 9])
def test_a_population_that_is_none(size):
    with pytest.raises(ValueError, match=r"^Expected a population that is a multiple of 8"):
        lf.EPI(population=size)
