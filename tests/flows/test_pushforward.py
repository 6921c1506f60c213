"""Pushforwards against their own Jacobian: there and back, and volume."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lanternfish import flows
from lanternfish.core import Folder
from lanternfish.inference.weights import read_weights, write_weights

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


def test_far_points_are_drawn_in_and_come_back():
    dim = 40
    flow = bent(dim).drawn_in(jax.random.normal(jax.random.key(3), (dim, 2_000)))
    noise = jax.random.normal(jax.random.key(4), (dim, 3)) * np.array([1.0, 3.0, 9.0], np.float32)
    x, log_det = eqx.filter_jit(flow.forward)(noise)
    loose, loose_det = eqx.filter_jit(bent(dim).forward)(noise)
    lengths, before = (np.linalg.norm(a, axis=0) for a in (x, loose))
    np.testing.assert_allclose(x[:, 0], loose[:, 0])  # most points stay where they are
    assert lengths[1] < 0.9 * before[1]
    assert lengths[1] < lengths[2] < 0.6 * before[2]
    back, inverse_log_det = eqx.filter_jit(flow.inverse)(x)
    np.testing.assert_allclose(back, noise, atol=10 * ROUNDING)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=10 * dim * ROUNDING)
    slope = eqx.filter_jit(jax.jacobian(lambda e: flow.forward(e[:, None])[0][:, 0]))
    exact = np.linalg.slogdet(np.asarray(slope(noise[:, 2]), np.float64))[1]
    assert float(log_det[2]) == pytest.approx(exact, abs=10 * dim * ROUNDING)
    assert float(log_det[2]) < float(loose_det[2])


def test_weights_kept_before_points_were_drawn_in_are_read(tmp_path):
    """They lack the last array of each layer, which in few dimensions is empty."""
    folder, flow = Folder(str(tmp_path)), bent(5)
    write_weights(folder, "flow.safetensors", flow)
    before = dict(sorted(folder.read_weights("flow.safetensors").items())[:-1])
    folder.write_weights("flow.safetensors", before)
    again = read_weights(folder, "flow.safetensors", flows.pushforward(1, flows.Push(width=8), 5))
    x = jax.random.normal(jax.random.key(5), (5, 3))
    np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))
