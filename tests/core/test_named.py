"""Parameters by name and as one vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lanternfish.core import Named, vector_of

NAMES = ("a", "b", "c")


@pytest.fixture
def theta():
    return Named(jnp.array([1.0, 2.0, 3.0]), NAMES)


def test_reads_like_a_dictionary(theta):
    assert dict(theta) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert theta | {"a": 5} == {"a": 5, "b": 2.0, "c": 3.0}
    assert {"d": 1} | theta == {"d": 1, "a": 1.0, "b": 2.0, "c": 3.0}
    assert len(theta) == 3
    assert "b" in theta
    with pytest.raises(KeyError, match="d"):
        theta["d"]


def test_vector_in_any_order(theta):
    assert vector_of(theta, NAMES) is theta.vector
    assert np.array_equal(vector_of(theta, ("c", "a")), [3, 1])
    assert np.array_equal(vector_of({"a": 1.0, "b": 2.0}, ("b", "a")), [2, 1])


def test_is_a_pytree(theta):
    slope = jax.grad(lambda t: t["a"] * t["c"] + t.vector[1])(theta)
    assert isinstance(slope, Named)
    assert np.array_equal(slope.vector, [3, 1, 1])
