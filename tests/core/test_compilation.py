"""Compiled programs: options that this XLA knows, and results as without them."""

import jax.numpy as jnp
import numpy as np
import pytest

from lanternfish.core import compilation
from lanternfish.core.compilation import fast_jit


@pytest.mark.parametrize("brief", [False, True])
def test_a_program_gives_what_its_function_gives(brief):
    def function(name: str, x):
        """Some arithmetic."""
        return jnp.exp(x) @ jnp.ones((3, 2)) if name == "product" else x.sum(axis=0)

    program = fast_jit(function, brief=brief)
    x = np.arange(12.0, dtype=np.float32).reshape(4, 3) / 10
    np.testing.assert_allclose(program("product", x), np.exp(x) @ np.ones((3, 2)), rtol=1e-5)
    np.testing.assert_allclose(program("sum", x), x.sum(axis=0), rtol=1e-6)
    assert program.__doc__ == "Some arithmetic."


def test_options_that_this_xla_does_not_know_are_left_out():
    known = {"xla_backend_optimization_level": 1}
    assert compilation._known(**known, xla_of_another_year=True) == known
