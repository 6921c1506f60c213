"""Pushforwards against their own Jacobian: there and back, and volume."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lanternfish import flows

ROUNDING = 1e-4  # of float32 through six layers there and six back


def bent(dim):
    """A pushforward with every weight moved from where it starts."""
    flow = flows.pushforward(0, flows.Push(width=8), dim)
    weights, rest = eqx.partition(flow, eqx.is_inexact_array)
    rng = np.random.default_rng(dim)  # a compilation for each shape would take much longer
    move = lambda a: a + np.float32(0.05 * rng.normal(size=a.shape))  # noqa: E731
    return eqx.combine(jax.tree.map(move, weights), rest)


@pytest.mark.parametrize("dim", [1, 5, 40])
def test_there_and_back_and_volume(dim):
    flow, noise = bent(dim), jax.random.normal(jax.random.key(1), (dim, 4))
    x, log_det = eqx.filter_jit(flow.forward)(noise)
    back, inverse_log_det = eqx.filter_jit(flow.inverse)(x)
    np.testing.assert_allclose(back, noise, atol=ROUNDING)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=dim * ROUNDING)
    slope = eqx.filter_jit(jax.jacobian(lambda e: flow.forward(e[:, None])[0][:, 0]))
    jacobian = slope(noise[:, 0])
    exact = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
    assert float(log_det[0]) == pytest.approx(exact, abs=dim * ROUNDING)


@pytest.mark.parametrize("dim", [4])
def test_it_starts_as_the_standard_normal(dim):
    x = jax.random.normal(jax.random.key(2), (dim, 4))
    flow = flows.pushforward(3, flows.Push(width=8), dim)
    np.testing.assert_allclose(flow.log_prob(x), flows.standard_normal(jnp.asarray(x)), rtol=1e-5)
