"""What a step of EPI aims at in many dimensions, where importance weights say nothing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lanternfish as lf
from lanternfish import flows
from lanternfish.inference.epi.dual import Spread
from lanternfish.inference.epi.objective import WIDEST, Draws, aim, objective_of_many
from lanternfish.inference.epi.problem import Problem

PRIOR = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1))


def spread(mean, variance):
    return Spread(jnp.array([mean]), jnp.array([[variance]]), jnp.array([variance]))


def test_the_penalty_does_not_slacken_three_deviations_away():
    """A third as far, a third as strong; of few dimensions it is as strong from one on."""
    none = jnp.zeros((2, 1))
    far, near = (float(aim(none, spread(m, 1.0), many=True)[0, 0]) for m in (3.0, 1.0))
    assert far == pytest.approx(3 * near, rel=0.01)
    far, near = (float(aim(none, spread(m, 1.0))[0, 0]) for m in (3.0, 1.0))
    assert far == pytest.approx(near, rel=0.01)


@pytest.mark.parametrize("variance", [0.01, 0.3])
def test_no_statistic_is_widened_until_it_splits(variance):
    eta = jnp.array([[0.0], [2.5]])
    assert float(aim(eta, spread(0.0, variance), many=True)[1, 0]) == WIDEST
    assert float(aim(-eta, spread(0.0, 4.0), many=True)[1, 0]) < -2.5


@pytest.mark.parametrize(("mean", "sd", "pulled"), [(-10.0, 1.0, False), (0.0, 10.0, True)])
def test_what_is_far_from_the_property_is_not_pulled_further(mean, sd, pulled):
    """Ten standard deviations away widening has no slope; around the property it has."""
    model = lf.Model(PRIOR, lf.JaxSimulator(lambda t, key: {"x": t["a"]}, ("x",)))
    problem = Problem(model, lf.EmergentProperty(x=(mean, sd)), 1, "uniform")
    trained, rest = eqx.partition(flows.pushforward(0, flows.push_for(2), 2), eqx.is_inexact_array)
    start, build = ravel_pytree(trained)
    keys = jax.random.split(jax.random.key(0), 3)
    draws = Draws(jax.random.normal(keys[0], (2, 64)), jax.random.normal(keys[1], (2, 16)), keys[2])

    def slope(eta):
        loss = lambda p: objective_of_many(eqx.combine(build(p), rest), problem, eta, draws)[0]  # noqa: E731
        return np.asarray(jax.grad(loss)(start))

    away = np.abs(slope(jnp.array([[0.0], [1.0]])) - slope(jnp.zeros((2, 1)))).max()
    assert (away > 1e-3) == pulled
