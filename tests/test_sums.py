"""Sums of products by any compiled program of this process, and the flag that makes them right."""

import os
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lanternfish import sums


def test_sums_of_products_are_right():
    """As JAX 0.10.2 by itself does not compute them of long arrays; NumPy is the oracle."""
    rng = np.random.default_rng(0)
    several, one = (rng.normal(size=s).astype(np.float32) for s in ((2, 6, 60_000), (6, 60_000)))
    found = jax.jit(lambda a, b: jnp.sum(a * b, axis=1))(several, one)
    np.testing.assert_allclose(found, (several * one).sum(axis=1), atol=1e-4)
    rows = np.arange(40_000, dtype=np.float32)[:, None] * np.eye(1, 3, dtype=np.float32)
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    np.testing.assert_allclose(squares, rows[:, 0] ** 2, rtol=1e-6)


def test_a_jaxlib_that_sums_wrongly_is_set_right_before_it_computes(monkeypatch):
    flag = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    bridge = SimpleNamespace(backends_are_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "jax._src.xla_bridge", bridge)
    monkeypatch.setenv("XLA_FLAGS", "--others=1")
    for other in ("0.12.0", None):
        monkeypatch.setattr(sums, "_jaxlib", lambda other=other: other)
        sums.sum_rightly()
        assert os.environ["XLA_FLAGS"] == "--others=1"
    monkeypatch.setattr(sums, "_jaxlib", lambda: "0.10.2")
    for _ in range(2):
        sums.sum_rightly()
        assert os.environ["XLA_FLAGS"] == f"{flag} --others=1"


def test_a_jaxlib_that_sums_wrongly_is_named_where_it_has_computed(monkeypatch):
    jnp.zeros(1).block_until_ready()
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(sums, "_jaxlib", lambda: "0.10.2")
    with pytest.warns(UserWarning, match=r"jaxlib 0\.10\.2 sums.*Import lanternfish first"):
        sums.sum_rightly()
