"""Simulators that return arrays, of each kind."""

import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.simulation import SimulationError, open_store

OUTPUTS = ("rate", lf.Trace("voltage", 5, unit="mV"), lf.Trials("responses", (3, 2)))
SPREAD = np.arange(5.0)


def whole(a, b, np):
    """Statistics in closed form: half of the second trials are absent, and all where a > 0.9."""
    trials = np.stack([np.stack([a, b]), np.stack([b, a]), np.stack([a, a])])
    absent = np.array([[False], [True], [False]]) & (b > 1)
    trials = np.where(absent | (a > 0.9), np.nan, trials)
    return {"rate": a + b, "voltage": a * SPREAD + b, "responses": trials}


def in_jax(theta, key):
    return whole(theta["a"], theta["b"], jnp)


def in_python(theta, rng):
    return whole(theta["a"], theta["b"], np)


def in_batches(theta, seeds):
    rows = [whole(a, b, np) for a, b in theta]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


SIMULATORS = {
    "jax": lf.JaxSimulator(in_jax, OUTPUTS, lanes=16),
    "python": lf.PythonSimulator(in_python, OUTPUTS),
    "batch": lf.BatchSimulator(in_batches, OUTPUTS, block=16),
}


@pytest.mark.parametrize("kind", SIMULATORS)
def test_arrays_come_back_and_are_kept(kind, prior, tmp_path):
    model = lf.Model(prior, SIMULATORS[kind])
    got = lf.simulate(model, 60, seed=1, store=tmp_path, shard_size=32, progress=False)
    a, b = got.theta["a"], got.theta["b"]
    tolerance = 1e-5 * np.abs(b).max()  # float32 in JAX
    np.testing.assert_allclose(got.x["voltage"], a[:, None] * SPREAD + b[:, None], atol=tolerance)
    assert got.x["responses"].shape == (60, 3, 2)
    assert np.array_equal(np.isnan(got.x["responses"][:, 1, 0]), (b > 1) | (a > 0.9))
    assert np.array_equal(got.valid, a <= 0.9)  # absent trials are no fault, none at all is
    again = open_store(tmp_path).load()
    assert again.x.columns == model.statistics
    assert np.array_equal(again.x.array, got.x.array, equal_nan=True)


def fewer_trials(theta, rng):
    return {"rate": 1.0, "voltage": np.zeros(5), "responses": [[1.0, 2.0]]}


def short_trace(theta, rng):
    return {"rate": 1.0, "voltage": np.zeros(4), "responses": np.zeros((3, 2))}


def test_python_may_return_fewer_trials(prior):
    model = lf.Model(prior, lf.PythonSimulator(fewer_trials, OUTPUTS))
    got = lf.simulate(model, 4, seed=1, progress=False)
    assert got.valid.all()
    assert np.isnan(got.x["responses"][:, 1:]).all()


def test_a_wrong_shape_is_named(prior):
    model = lf.Model(prior, lf.PythonSimulator(short_trace, OUTPUTS))
    got = lf.simulate(model, 3, seed=1, progress=False)
    assert got.counts() == {lf.Status.WRONG_SHAPE: 3}
    assert "voltage (5,)" in got.messages[0]
    assert "shape (4,) for voltage" in got.messages[0]
    for simulator in (
        lf.JaxSimulator(lambda theta, key: short_trace(theta, key), OUTPUTS),
        lf.BatchSimulator(lambda theta, seeds: {"rate": theta[:, 0]}, OUTPUTS),
    ):
        with pytest.raises(SimulationError, match=r"^Expected .*voltage \(5,\).*; got "):
            lf.simulate(lf.Model(prior, simulator), 3, seed=1, progress=False)


def test_one_array_needs_no_name(prior):
    simulator = lf.JaxSimulator(
        lambda theta, key: jnp.full((2, 3), theta["a"]), [lf.Image("field", (2, 3))]
    )
    got = lf.simulate(lf.Model(prior, simulator), 5, seed=1, progress=False)
    np.testing.assert_allclose(got.x["field"][:, 1, 2], got.theta["a"], rtol=1e-6)


def test_shards_of_raw_data_hold_fewer_simulations(prior):
    from lanternfish.simulation.plan import default_shard_size

    def size(outputs):
        return default_shard_size(lf.Model(prior, lf.JaxSimulator(in_jax, outputs)))

    assert size(["rate"]) == 4096
    assert size([lf.Trace("voltage", 4096)]) == 256
