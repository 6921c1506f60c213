"""The V1 network against linear noise theory and a NumPy simulation of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov

import lanternfish as lf
from lanternfish.models import v1
from lanternfish.models.jax_traces import keys_of
from lanternfish.models.v1 import H_BASE, H_CONTRAST, W, prior, rates

SIGMA = np.array([3e-4, 5e-4, 2e-3, 1e-3])  # small: the network is linear in such noise
ONE = 1_000  # trials of the comparisons: 1 / sqrt(2 ONE) = 2.2 % standard error
WITHIN = 4 / np.sqrt(2 * ONE)


def fixed_point():
    """Rates (Hz) without noise and the gain of each population, by iteration in NumPy."""
    x = np.full(4, 15.0)
    for _ in range(5_000):
        x = x + 0.1 * (np.maximum(W @ x + H_BASE + 0.5 * H_CONTRAST, 0) ** 2 - x)
    return x, 2 * np.sqrt(x)


def linear_system():
    """Drift A (8, 8) and diffusion Q of (x, epsilon), per ms, with tau = 1 and tau_n = 5 ms."""
    _, gain = fixed_point()
    A = np.zeros((8, 8))
    A[:4, :4] = -np.eye(4) + gain[:, None] * W
    A[:4, 4:] = np.diag(gain)
    A[4:, 4:] = -np.eye(4) / 5
    Q = np.zeros((8, 8))
    Q[4:, 4:] = np.diag(2 / 5 * SIGMA**2 * (1 + 1 / 5))
    return A, Q


def window_sd(dt):
    """sd of the rates inside 25 ms (4,): stationary variance less that of the window's mean."""
    A, Q = linear_system()
    if dt == 0.5:  # the Euler map itself
        step = np.eye(8) + dt * A
        P = solve_discrete_lyapunov(step, dt * Q)
    else:
        step, P = expm(dt * A), solve_continuous_lyapunov(A, -Q)
    n = round(25 / dt)
    covariance, of_mean = P.copy(), n * P
    for lag in range(1, n):
        covariance = step @ covariance
        of_mean = of_mean + (n - lag) * (covariance + covariance.T)
    return np.sqrt(np.diag(P - of_mean / n**2)[:4])


@pytest.mark.parametrize("dt", [0.5, pytest.param(0.05, marks=pytest.mark.slow)])
def test_fluctuations_against_lyapunov_theory(dt):
    @jax.jit
    def run(keys):
        return jax.vmap(lambda key: rates(jnp.asarray(SIGMA, jnp.float32), key, dt=dt))(keys)

    x = np.asarray(run(keys_of(np.arange(ONE))), np.float64)[:, :, -round(25 / dt) :]
    found = np.sqrt(x.var(axis=2).mean(axis=0))
    assert np.all(np.abs(found / window_sd(dt) - 1) < WITHIN)
    assert np.allclose(x.mean(axis=(0, 2)), fixed_point()[0], rtol=2e-3)


def numpy_fluctuation(sigma, trials, seed):
    """s_E of each trial, (trials,), Hz, of the whole nonlinear map."""
    rng = np.random.default_rng(seed)
    x, noise, kept = rng.uniform(10, 25, (4, trials)), np.zeros((4, trials)), []
    h = (H_BASE + 0.5 * H_CONTRAST)[:, None]
    for step in range(200):
        drive = np.maximum(W @ x + h + noise, 0) ** 2
        drawn = rng.standard_normal((4, trials))
        kick = np.sqrt(2 * 5.0) * sigma[:, None] * np.sqrt(1 + 1 / 5) * np.sqrt(0.5) * drawn
        x, noise = x + 0.5 * (drive - x), noise + (-noise * 0.5 + kick) / 5
        if step >= 150:
            kept.append(x[0])
    return np.std(kept, axis=0)


@pytest.mark.parametrize("sigma", [(0.05, 0.05, 0.05, 0.05), (0.03, 0.0, 0.01, 0.02)])
def test_statistic_against_numpy(sigma):
    sigma = np.array(sigma)
    single = numpy_fluctuation(sigma, 4_000, seed=0)
    run = lf.simulate(v1(), theta=np.repeat(sigma[None], 40, axis=0), seed=1)
    found = run.x["sd_E"]
    error = single.std() / np.sqrt(4_000)
    assert np.abs(found.mean() - single.mean()) < 4 * np.sqrt(2) * error
    assert found.std() == pytest.approx(single.std() / np.sqrt(100), rel=0.5)


def test_strongest_noise_makes_17_hz():
    """The published observation that settles the prior: 17 Hz at 0.05 in all populations."""
    assert numpy_fluctuation(np.full(4, 0.05), 2_000, seed=1).mean() == pytest.approx(17, abs=1)


def test_E_and_P_matter_and_S_and_V_hardly():
    sd = [numpy_fluctuation(0.05 * row, 500, seed=2).mean() for row in np.eye(4)]
    run = lf.simulate(v1(), theta=0.05 * np.eye(4), seed=2)
    assert np.allclose(run.x["sd_E"], sd, rtol=0.15)
    assert min(sd[:2]) > 1.5 * max(sd[2:])


def test_gradient_against_finite_differences():
    with jax.enable_x64(True):
        simulate = v1(trials=5).simulator.function
        key, sigma, h = jax.random.key(1), jnp.array([0.02, 0.03, 0.01, 0.02]), 1e-6

        @jax.jit
        def f(sigma):
            return simulate(dict(zip(prior.names, sigma, strict=True)), key)[0]

        slope = jax.jit(jax.grad(f))(sigma)
        expected = [(f(sigma + h * e) - f(sigma - h * e)) / (2 * h) for e in jnp.eye(4)]
        assert np.allclose(slope, expected, rtol=1e-5)


def test_both_properties_lie_inside_the_prior():
    run = lf.simulate(v1(trials=20), 500, seed=0)
    assert run.valid.all()
    for rate in (5, 10):
        assert v1().targets[f"{rate}hz"]["sd_E"] == (rate, 1)
        assert np.sum(np.abs(run.x["sd_E"] - rate) < 1) > 20


def test_no_noise_no_fluctuation():
    run = lf.simulate(v1(trials=2), theta=np.zeros((1, 4)), seed=0)
    assert run.x["sd_E"][0] < 0.01  # the last of the transient
    traces = v1().traces(np.zeros((2, 4)), np.arange(2))
    assert traces.values.shape == (2, 4, 200)
    assert np.allclose(traces.values[:, :, -1], fixed_point()[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trials": 0}, "Expected trials, a whole number of at least 1; got 0"),
        ({"trials": 2.5}, "got 2.5"),
        ({"contrast": 2}, "Expected a contrast from 0 to 1; got 2"),
        ({"dt": 0}, "Expected dt above 0"),
        ({"dt": 0.3}, "a part of 25 ms; got 0.3"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        v1(**options)
