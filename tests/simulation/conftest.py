"""What the tests of the simulation room share: a prior, models by name, executors, a seed."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import pytest
import specimens

import lanternfish as lf

OUTPUTS = (lf.Column("rate", "Hz"), lf.Column("cv"))


@pytest.fixture(scope="session")
def seed():
    return 20_260_801


@pytest.fixture(scope="session")
def prior():
    return lf.Prior(a=lf.Uniform(-1, 1, unit="mS/cm2"), b=lf.LogUniform(0.1, 10))


def wait_in_jax(theta, key):
    """Steps that a random walk takes to leave an interval: lanes of different lengths."""

    def step(state):
        x, steps, key = state
        key, mine = jax.random.split(key)
        return x + theta["a"] + jax.random.normal(mine), steps + 1, key

    x, steps, _ = jax.lax.while_loop(
        lambda s: (jnp.abs(s[0]) < theta["b"]) & (s[1] < 50), step, (0.0, 0, key)
    )
    return {"cv": jnp.sin(x) * theta["b"], "rate": jnp.asarray(steps, float)}


SIMULATORS = {
    "jax": lf.JaxSimulator(wait_in_jax, OUTPUTS, lanes=16),
    "batch": lf.BatchSimulator(specimens.batch, OUTPUTS, block=32),
    "python": lf.PythonSimulator(specimens.walk, OUTPUTS),
}


@pytest.fixture(scope="session", params=SIMULATORS)
def model(request, prior):
    return lf.Model(prior, SIMULATORS[request.param], name=request.param)


@pytest.fixture(scope="session")
def python_model(prior):
    """A model of any Python function, with what else a simulator takes."""

    def make(function, outputs=OUTPUTS, **options):
        return lf.Model(prior, lf.PythonSimulator(function, outputs, **options))

    return make


@pytest.fixture(scope="session")
def processes():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="session")
def forks():
    """What ``ProcessPoolExecutor()`` is on Linux before Python 3.14: copies of this process."""
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        yield pool


@pytest.fixture(scope="session")
def dask():
    """The executor of a client of a real cluster with two worker processes."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()
