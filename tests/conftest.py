"""What all tests share: the place of the recordings, and one small study."""

import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf

NOISE = 0.5  # sd of each statistic of the linear Gaussian model
LONG = [
    "test_npe",
    "test_epi",
    "test_epi_learned",
    "test_flows",
    "test_server_commands",
    "test_condition",
    "test_worker_jobs",
    "test_rounds",
    "test_web_journey",
    "test_accepting",
    "test_contrast",
    "test_server_ways_in",
    "test_epi_projection",
    "test_raw_data",
    "test_examples",
    "test_docs",
    "test_epi_population",
    "test_nle",
    "test_planted_faults",
    "test_server_access",
    "test_amplifying_rnn",
    "test_sbibm",
    "test_property_study",
    "test_runs",
    "test_interruption",
    "test_reference",
    "test_calcium_suite2p",
    "test_server_laboratory",
    "test_analyses_ours",
    "test_web_regions",
]


def pytest_collection_modifyitems(items):
    """Files that take long begin first, so that no process is left alone with one of them."""
    place = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C raises in each test, whatever a test before or a background shell made of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def programs_of_a_file():
    """Compiled programs go with the file that needed them.

    Each takes some memory mappings; a process that keeps those of the whole suite reaches what
    Linux allows (65,530), and the next compilation crashes it.
    """
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def data():
    """Folder of recordings and references, beside the project or where LANTERNFISH_DATA says."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LANTERNFISH_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set LANTERNFISH_DATA to their folder")
    return folder


def linear(theta, key):
    """x = A theta + b + noise, with A, b and the noise known: the posterior has a closed form."""
    vector = jnp.stack([theta["a"], theta["b"]])
    return MATRIX @ vector + OFFSET + NOISE * jax.random.normal(key, (3,))


MATRIX = np.array([[1.0, 0.5], [-0.3, 1.2], [0.4, 0.4]])
OFFSET = np.array([0.2, -0.1, 1.0])
PRIOR_MEAN, PRIOR_SD = np.array([0.5, -1.0]), np.array([1.0, 2.0])
OBSERVED = np.array([1.0, 0.4, 1.2])


@pytest.fixture(scope="session")
def gaussian_model():
    """Linear Gaussian model of two parameters and three statistics."""
    prior = lf.Prior(a=lf.Normal(0.5, 1.0, unit="mS/cm2"), b=lf.Normal(-1.0, 2.0, label="$b$"))
    return lf.Model(prior, lf.JaxSimulator(linear, outputs=("x1", "x2", "x3")), name="linear")


@pytest.fixture(scope="session")
def gaussian_target():
    return lf.Observation("made", x1=OBSERVED[0], x2=OBSERVED[1], x3=OBSERVED[2])


def gaussian_posterior(observed=OBSERVED):
    """Mean (2,) and covariance (2, 2) in closed form (conjugate normal)."""
    precision = MATRIX.T @ MATRIX / NOISE**2 + np.diag(PRIOR_SD**-2)
    covariance = np.linalg.inv(precision)
    pull = MATRIX.T @ (observed - OFFSET) / NOISE**2 + PRIOR_MEAN / PRIOR_SD**2
    return covariance @ pull, covariance


@pytest.fixture(scope="session")
def exact():
    """The closed form, for an observation."""
    return gaussian_posterior


@pytest.fixture(scope="session")
def gaussian_run(gaussian_model, gaussian_target):
    """One trained run that the tests share."""
    method = lf.NPE(simulations=4_000, density="maf")
    return lf.infer(gaussian_model, gaussian_target, method, seed=1, progress=False)
