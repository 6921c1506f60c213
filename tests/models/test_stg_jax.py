"""The JAX integrator of the pyloric network against the compiled one."""

import jax
import numpy as np
import pytest

from lanternfish.models.stg import compiled, jax_scan, prior, simulate, voltage

FLANK = 0.1  # mV: a spike's flank climbs 10 mV per step, and float32 moves it by 0.01 steps
QUIET = 1e-4  # mV, the median over circuits
CHAOTIC = 6  # an arrhythmic draw, on which float32 and float64 of one integrator differ, too
STATISTICS_TOLERANCE = 2e-3  # relative: a spike that moves by one sample, 0.025 of 20 ms


@pytest.fixture(scope="module")
def circuits(theta_on_path):
    return np.concatenate([theta_on_path, prior.sample(12, seed=5).array])


@pytest.fixture(scope="module")
def theta_on_path():
    """The two ends of the published path: both pyloric, of the specification's printed digits."""
    start = (
        "212.1139 1.4781 5.1466 28.9243 14.4299 137.781 .0019 .0079 76.1281 .3865 5.2437 46.2094 "
        "3.0281 86.7072 .0451 .0209 498.2858 7.5888 1.7279 46.9177 1.2153 116.4905 .0275 .0179 "
        "-9.0232 -16.7348 -12.8585 -10.1472 -7.3729 -14.9977 -8.1803"
    )
    end = (
        "102.8223 .5817 3.0679 11.8722 11.7301 76.6075 .0072 .0048 152.0018 .224 4.1282 20.2149 "
        "6.7648 51.0986 .0295 .0163 531.1057 8.3453 3.176 48.0023 .5392 141.7291 .0038 .0118 "
        "-14.496 -11.6826 -7.7629 -16.2746 -8.7851 -14.9478 -10.4796"
    )
    return np.array([np.array(text.split(), float) for text in (start, end, start, end)])


def test_voltages(circuits):
    seeds = np.arange(len(circuits))
    V = np.asarray(jax_scan.voltage(circuits, seeds, 2_000))
    _, expected = voltage(circuits, seeds, t_start=0, t_end=1_999 * 0.025)
    error = np.abs(V - expected).max(axis=(1, 2))
    assert np.median(error) < QUIET
    assert error.max() < FLANK


@pytest.mark.parametrize("double", [False, True])
def test_statistics(circuits, double):
    seeds = np.arange(len(circuits))
    with jax.enable_x64(double):
        x, weights = jax_scan.simulate(circuits, seeds, t_max=4_000, order="7_stg")
    expected, _ = simulate(circuits, seeds, t_max=4_000, order="7_stg")
    assert np.array_equal(np.isnan(x), np.isnan(expected))
    assert (~np.isnan(x).any(axis=1)).sum() >= 3
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(np.abs(x / expected - 1)).max(axis=1)
    assert np.all(np.delete(error, CHAOTIC) < STATISTICS_TOLERANCE)
    assert np.all(weights == 1)


def test_noise_is_the_compiled_noise():
    seeds = np.arange(5)
    arrays = jax_scan._arrays(np.zeros((5, 31)), seeds.astype(np.uint64), 283.0)
    drawn = np.asarray(jax_scan.normals(np.uint32(0), 60, arrays[2], np.float32))
    expected = compiled.noise_current(seeds, 40).transpose(2, 1, 0).reshape(120, 5) / 0.001
    assert np.abs(drawn - expected).max() < 1e-5


def test_batches_and_none(circuits):
    """A second batch of eight runs the program of the first."""
    twice, seeds = np.concatenate([circuits[:8], circuits[:8]]), np.tile(np.arange(8), 2)
    x, weights = jax_scan.simulate(twice, seeds, t_max=1_100, batch=8)
    assert np.array_equal(x[:8], x[8:], equal_nan=True)
    assert weights.shape == (16,)
    x, weights = jax_scan.simulate(np.empty((0, 31)), np.empty(0, int))
    assert x.shape == (0, 18)
    assert weights.shape == (0,)


def test_bad_input():
    with pytest.raises(ValueError, match=r"Expected theta of shape \(n, 31\)"):
        jax_scan.simulate(np.zeros(31), [0])
