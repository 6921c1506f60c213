"""The compiled building blocks against NumPy's, for single numbers and for vectors."""

import numpy as np
import pytest
from numba import njit

from lanternfish.models.kernels import fast_exp, fast_log, normal_pair, seed_key, uniform
from lanternfish.models.simd import load8, store

TOLERANCE = 2e-7  # about two last bits of a float32
SE = 5


@njit
def one_by_one(function, x, y):
    for i in range(len(x)):
        y[i] = function(x[i])


@njit
def eight_by_eight(function, x, y):
    for i in range(0, len(x), 8):
        store(y, i, function(load8(x, i)))


@njit
def draw(seeds, c, y, z, u):
    for i in range(len(seeds)):
        key0, key1 = seed_key(seeds[i])
        y[i], z[i] = normal_pair(c[i], key0, key1)
        u[i] = uniform(c[i], key0, key1)


def drawn(seeds, c):
    out = [np.empty(len(seeds), np.float32) for _ in range(3)]
    draw(seeds.astype(np.uint64), c.astype(np.uint32), *out)
    return [o.astype(float) for o in out]


@pytest.mark.parametrize(
    ("function", "exact", "x"),
    [
        (fast_exp, np.exp, np.linspace(-86.9, 87.9, 80_000)),
        (fast_log, np.log, np.geomspace(1e-37, 1e37, 80_000)),
        (fast_log, np.log, np.linspace(0.5, 2, 80_000)),
    ],
)
def test_accuracy(function, exact, x):
    x = x.astype(np.float32)
    scalar, vector = np.empty_like(x), np.empty_like(x)
    one_by_one(function, x, scalar)
    eight_by_eight(function, x, vector)
    expected = exact(x.astype(float))
    size = np.abs(expected) if exact is np.exp else np.maximum(np.abs(expected), 1)
    assert np.max(np.abs(scalar - expected) / size) < TOLERANCE
    assert np.array_equal(scalar, vector)


@pytest.mark.parametrize("along", ["counter", "seed"])
def test_normals(along):
    n = 400_000
    numbers, same = np.arange(n), np.full(n, 7)
    y, z, u = drawn(same, numbers) if along == "counter" else drawn(numbers, same)
    for x in (y, z):
        assert abs(x.mean()) < SE / np.sqrt(n)
        assert abs((x**2).mean() - 1) < SE * np.sqrt(2 / n)
        assert abs((x**4).mean() - 3) < SE * np.sqrt(96 / n)
        assert abs((x[1:] * x[:-1]).mean()) < SE / np.sqrt(n)
    assert abs((y * z).mean()) < SE / np.sqrt(n)
    assert abs(((y**2 - 1) * (z**2 - 1)).mean()) < SE * 2 / np.sqrt(n)
    assert abs(u.mean() - 0.5) < SE / np.sqrt(12 * n)
    assert u.min() > 0
    assert u.max() < 1 + 1e-7


def test_seeds_give_different_keys():
    keys = {seed_key(np.uint64(seed)) for seed in range(2_000)}
    assert len(keys) == 2_000
