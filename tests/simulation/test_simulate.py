"""Laws that hold for each kind of simulator."""

import contextlib
import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import jax
import numpy as np
import pytest
import specimens

import lanternfish as lf
from lanternfish.core.prior import key_data
from lanternfish.core.seeds import simulation_seeds
from lanternfish.simulation import SimulationError

N = 150  # several shards, tasks and blocks of each kind, the last ones not full
SINGLE = 1e-5  # float32 of one lane beside that of many: another order of a few operations


def same(one, other):
    """Equal bit for bit, NaN included."""
    return all(
        np.array_equal(v, other.arrays()[k], equal_nan=True) for k, v in one.arrays().items()
    )


def by_hand(model, theta, seed):
    """One simulation as a user would run it, without this library's machinery."""
    if model.name == "python":
        got = specimens.walk(theta, np.random.default_rng(seed))
        return [got["rate"], got["cv"]]
    if model.name == "batch":
        return specimens.batch(np.array([[theta["a"], theta["b"]]]), np.array([seed]))[0]
    words = key_data(np.array([seed]))[0]
    key = jax.random.fold_in(jax.random.wrap_key_data(words, impl="threefry2x32"), 1)
    got = model.simulator.function({k: np.float32(v) for k, v in theta.items()}, key)
    return [float(got["rate"]), float(got["cv"])]


@pytest.fixture(scope="module")
def reference(model, seed):
    return lf.simulate(model, N, seed=seed)


def test_parameters_and_seeds_belong_to_the_simulation(model, reference, seed):
    assert np.array_equal(reference.seeds, simulation_seeds(seed, 0, N))
    assert np.array_equal(reference.theta.array, model.prior.sample(N, seed).array)
    assert reference.theta.columns == model.parameters
    assert reference.x.columns == model.statistics


def test_statistics_are_those_of_the_function(model, reference):
    rtol = SINGLE if model.name == "jax" else 0
    for i in (0, 1, 33, N - 1):
        theta = dict(zip(model.prior.names, reference.theta.array[i].tolist(), strict=True))
        expected = by_hand(model, theta, int(reference.seeds[i]))
        np.testing.assert_allclose(reference.x.array[i], expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("shard_size", [7, 16, 50, 1000])
def test_shards_change_nothing(model, reference, seed, shard_size):
    assert same(lf.simulate(model, N, seed=seed, shard_size=shard_size), reference)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_change_nothing(model, reference, seed, workers):
    with ThreadPoolExecutor(workers) as pool:
        assert same(lf.simulate(model, N, seed=seed, executor=pool, shard_size=23), reference)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_study_can_be_run_in_parts(model, reference, seed, cut):
    parts = lf.simulate(model, cut, seed=seed)
    parts = parts + lf.simulate(model, N - cut, seed=seed, first=cut)
    assert same(parts, reference)


class LastFirst(Executor):
    """Runs what it was given when asked for a result, the last task first."""

    def __init__(self):
        self._waiting = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self._waiting.append((future, fn, args))
        if len(self._waiting) == 2 * self._max_workers or args[2] + len(args[1]) == N:
            while self._waiting:
                future_, fn_, args_ = self._waiting.pop()
                future_.set_result(fn_(*args_))
        return future

    _max_workers = 3


def test_order_changes_nothing(model, reference, seed):
    mixed = LastFirst()
    assert same(lf.simulate(model, N, seed=seed, executor=mixed, shard_size=40), reference)


def test_given_parameters_are_used(model, reference, seed):
    again = lf.simulate(model, theta=reference.theta, seed=seed)
    assert same(again, reference)
    named = {"b": reference.theta["b"][:20], "a": reference.theta["a"][:20]}
    assert same(lf.simulate(model, theta=named, seed=seed), reference[:20])


def test_a_proposal_is_asked_shard_by_shard(model, seed):
    asked = []

    def proposal(seeds):
        asked.append(len(seeds))
        return np.stack([np.zeros(len(seeds)), 1 + (seeds % 7)], axis=1).astype(float)

    got = lf.simulate(model, 50, seed=seed, proposal=proposal, shard_size=20)
    assert asked == [20, 20, 10]
    assert np.array_equal(got.theta["b"], 1 + (got.seeds % 7))


def test_none_at_all(model):
    got = lf.simulate(model, 0)
    assert len(got) == 0
    assert got.x.names == ("rate", "cv")


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # workers do not call JAX
@pytest.mark.parametrize("kind", ["processes", "forks", "dask"])
def test_executors_change_nothing(request, model, reference, seed, kind):
    executor = request.getfixturevalue(kind)
    assert same(lf.simulate(model, N, seed=seed, executor=executor), reference)


def test_progress_is_told(model, seed):
    events = []
    got = lf.simulate(model, N, seed=seed, progress=events.append)
    assert [events[0].done, events[-1].done, events[-1].total] == [0, N, N]
    assert events[0].seconds_left is None
    assert events[-1].seconds_left == 0
    assert events[-1].counts == got.counts()
    assert str(events[-1]) == f"150 of 150, {got.valid.sum()} valid"


def read_all(master):
    """What was written to a terminal whose other end is closed."""
    parts = []
    with contextlib.suppress(OSError):
        while part := os.read(master, 1 << 16):
            parts.append(part)
    os.close(master)
    return b"".join(parts).decode()


def test_a_bar_is_shown_where_somebody_looks(model, seed, monkeypatch, capfd):
    lf.simulate(model, 10, seed=seed)
    assert capfd.readouterr() == ("", "")
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", terminal)
        patch.setenv("TERM", "xterm")
        lf.simulate(model, 10, seed=seed)
        lf.simulate(model, 10, seed=seed, progress=False)
    shown = read_all(master)
    assert "10/10" in shown
    assert "10 valid" in shown
    assert shown.count("Simulating") >= 1
    assert capfd.readouterr() == ("", "")


MISTAKES = {
    "neither": ({}, "Expected n, a whole number of at least 0; got None"),
    "negative": ({"n": -1}, "Expected n, a whole number of at least 0; got -1"),
    "fraction": ({"n": 1.5}, "Expected n, a whole number"),
    "first": ({"n": 1, "first": -1}, "Expected first, a whole number of at least 0"),
    "shard": ({"n": 1, "shard_size": 0}, "Expected shard_size, a whole number of at least 1"),
    "seed": ({"n": 1, "seed": -3}, "Expected a whole number from 0"),
    "rows": ({"n": 3, "theta": [[0, 1], [0, 2]]}, "Expected n of 2, the rows of theta; got 3"),
    "shape": ({"theta": [[0, 1, 2]]}, r"Expected theta of shape \(n, 2\)"),
    "outside": ({"theta": [[0, 1], [0, 11]]}, "Expected b between 0.1 and 10.*11 in row 1"),
    "nan": ({"theta": [[np.nan, 1]]}, "Expected a between -1 and 1"),
    "names": ({"theta": {"a": [0], "c": [0]}}, "b missing and c unknown"),
    "both": ({"theta": [[0, 1]], "proposal": len}, "Expected theta or a proposal; got both"),
    "columns": (
        {"n": 2, "proposal": lambda s: np.zeros(2)},
        r"Expected a proposal of shape \(2, 2\)",
    ),
    "leak": (
        {"n": 2, "proposal": lambda s: np.full((2, 2), 5.0)},
        "Expected a between -1 and 1, the prior's bounds; got 5",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_arguments_that_do_not_fit(python_model, mistake):
    arguments, sentence = MISTAKES[mistake]
    with pytest.raises(ValueError, match=sentence):
        lf.simulate(python_model(specimens.walk), **arguments)


def test_things_of_the_wrong_kind(python_model, dask):
    model = python_model(specimens.walk)
    with pytest.raises(TypeError, match="Expected a Model; got function"):
        lf.simulate(specimens.walk, 3)
    with pytest.raises(TypeError, match=r"got Client: give client\.get_executor"):
        lf.simulate(model, 3, executor=dask._client)
    with pytest.raises(TypeError, match="Expected progress of None"):
        lf.simulate(model, 3, progress=7)
    with pytest.raises(TypeError, match="Expected a proposal that is a function"):
        lf.simulate(model, 3, proposal=[[0, 1]])


JAX_MISTAKES = {
    "shape": (lambda t, k: t["a"], r"Expected 2 numbers \(rate, cv\).*got shape \(\)"),
    "names": (lambda t, k: {"rate": t["a"]}, r"Expected 2 numbers \(rate, cv\).*got rate"),
    "unknown": (lambda t, k: t["c"], r"of theta with a, b and a key; got KeyError: 'c'"),
    "branch": (lambda t, k: [1, 2] if t["a"] > 0 else [3, 4], "that JAX can trace"),
    "complex": (lambda t, k: jax.numpy.array([1j, 2.0]), "return real numbers"),
}


@pytest.mark.parametrize("mistake", JAX_MISTAKES)
def test_jax_functions_that_cannot_be_compiled(prior, mistake):
    function, sentence = JAX_MISTAKES[mistake]
    model = lf.Model(prior, lf.JaxSimulator(function, ("rate", "cv")))
    with pytest.raises(SimulationError, match=sentence):
        lf.simulate(model, 3)


def test_jax_compiles_once(prior):
    traced = []

    def function(theta, key):
        traced.append(1)
        return theta["a"] * 2

    model = lf.Model(prior, lf.JaxSimulator(function, ("double",)))
    for n in (3, 300, 700):
        lf.simulate(model, n)
    assert len(traced) == 2  # one for the shape, one to compile


BATCH_MISTAKES = {
    "shape": (
        lambda t, s: t[:, :1],
        r"Expected statistics of shape \(64, 2\).*got shape \(64, 1\)",
    ),
    "kind": (lambda t, s: "no", "got str: return an array"),
    "weights": (lambda t, s: (t, np.ones(3)), r"Expected weights of shape \(64,\)"),
    "negative": (lambda t, s: (t, -np.ones(len(t))), "Expected finite weights of at least 0"),
}


@pytest.mark.parametrize("mistake", BATCH_MISTAKES)
def test_batch_functions_that_return_something_else(prior, mistake):
    function, sentence = BATCH_MISTAKES[mistake]
    with pytest.raises(SimulationError, match=sentence):
        lf.simulate(lf.Model(prior, lf.BatchSimulator(function, ("rate", "cv"))), 100)


def test_batch_weights_and_status(prior, seed):
    def function(theta, seeds):
        x = theta.copy()
        x[theta[:, 0] < -0.5] = np.nan
        theta[:] = 7  # a careless function does not reach the record
        return x, np.where(x[:, 0] > 0.5, 0.0, 2.0)

    got = lf.simulate(lf.Model(prior, lf.BatchSimulator(function, ("p", "q"))), 300, seed=seed)
    a = got.theta["a"]
    assert np.array_equal(got.status == lf.Status.ABANDONED, a > 0.5)
    assert np.array_equal(got.status == lf.Status.INVALID, a < -0.5)
    assert np.array_equal(got.weight, np.where(a > 0.5, 0.0, 2.0))


def test_a_batch_that_raises_costs_the_rows_that_raise(prior, seed):
    def function(theta, seeds):
        if (theta[:, 0] > 0.9).any():
            raise FloatingPointError("overflow")
        return theta

    got = lf.simulate(lf.Model(prior, lf.BatchSimulator(function, ("p", "q"))), 300, seed=seed)
    assert np.array_equal(got.status == lf.Status.RAISED, got.theta["a"] > 0.9)
    assert "FloatingPointError: overflow" in got.messages[0]
