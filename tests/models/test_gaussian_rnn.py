"""The mean-field theory against double integrals in NumPy and against networks of finite size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.models import gaussian_rnn
from lanternfish.models.gaussian_rnn import prior, solve

EQUATIONS = 2e-4  # relative, float32 solutions in float64 equations
Z = np.linspace(-8, 8, 321)
P = np.exp(-0.5 * Z**2) / np.exp(-0.5 * Z**2).sum()
CHAOTIC = (3.59, 1.03, 1.78)  # close to the published posterior: kappa_r 3.3, Delta_T 0.6
SOLVE = jax.jit(jax.vmap(lambda theta: solve(theta)))


def published_equations(theta, solution, y=2.0):
    """Left less right side of the equations as the preprint has them, with its double integrals."""
    g, M_m, M_n = theta
    kappa_r, delta_inf, delta_T = solution
    x = kappa_r + np.sqrt(delta_inf + delta_T) * Z
    kappa_n = M_n * (P @ np.tanh(x)) + P @ (1 - np.tanh(x) ** 2)
    both = kappa_r + np.sqrt(delta_inf) * Z[:, None] + np.sqrt(delta_T) * Z  # static, chaos
    static = P @ (np.tanh(both) @ P) ** 2
    Phi = np.log(np.cosh(both))
    spread = P @ (Phi**2 @ P - (Phi @ P) ** 2)
    half = ((delta_inf + delta_T) ** 2 - delta_inf**2) / 2
    return np.array(
        [
            kappa_r - (M_m * kappa_n + y),
            delta_inf - (g**2 * static + kappa_n**2 + 1),
            half - (g**2 * spread + (kappa_n**2 + 1) * delta_T),
        ]
    )


def test_published_equations_hold():
    theta = np.concatenate([prior.sample(30, seed=1).array, [CHAOTIC]])
    solutions = np.asarray(SOLVE(jnp.asarray(theta, jnp.float32)), np.float64)
    assert (solutions[:, 2] > 0.05).sum() > 5
    for row, solution in zip(theta, solutions, strict=True):
        scale = max(solution[1] + solution[2], 1.0) ** 2
        assert np.all(np.abs(published_equations(row, solution)) < EQUATIONS * scale)


def test_chaos_where_the_theory_has_it():
    """Delta_T = 0 exactly where g^2 <phi'^2> < 1, the stability of the static solution."""
    theta = prior.sample(100, seed=2).array
    for (g, _, _), solution in zip(theta, SOLVE(jnp.asarray(theta, jnp.float32)), strict=True):
        kappa_r, delta_inf, delta_T = np.asarray(solution, np.float64)
        x = kappa_r + np.sqrt(delta_inf) * Z
        radius = g**2 * (P @ (1 - np.tanh(x) ** 2) ** 2)
        if delta_T == 0:
            assert radius < 1 + 1e-4
        elif delta_T < 0.02:
            assert radius > 1


def test_a_solution_everywhere_in_the_prior():
    run = lf.simulate(gaussian_rnn(), 3_000, seed=0)
    assert run.valid.mean() > 0.999
    near = np.abs(run.x.array - [3, 0.5]) < np.sqrt(0.1)
    assert near.all(axis=1).sum() >= 5


def finite_network(theta, seed, N=800, dt=0.1):
    """Mean activity, variance of time averages, variance over time; m and n standardised."""
    g, M_m, M_n = theta
    rng = np.random.default_rng(seed)
    chi = rng.standard_normal((N, N)).astype(np.float32) / np.float32(np.sqrt(N))
    drawn = np.column_stack([np.ones(N), rng.standard_normal((N, 2))])
    m, n = np.linalg.qr(drawn)[0][:, 1:].T * np.sqrt(N)
    x, kept = rng.standard_normal(N), []
    for step in range(2_000):
        r = np.tanh(x)
        drive = g * (chi @ r.astype(np.float32)) + (m + M_m) * np.mean((n + M_n) * r)
        x = x + dt * (-x + drive + 2.0 + n)
        if step >= 400:
            kept.append(x)
    kept = np.array(kept)
    return kept.mean(), kept.mean(axis=0).var(), kept.var(axis=0).mean()


@pytest.mark.slow
@pytest.mark.parametrize("theta", [CHAOTIC, (3.0, -1.0, 1.0), (0.5, 0.5, 0.5)])
def test_networks_of_finite_size(theta):
    """Three networks: chaos of 800 neurons is slower and weaker than the theory's, but there."""
    kappa_r, delta_inf, delta_T = np.asarray(SOLVE(jnp.asarray([theta], jnp.float32)))[0]
    found = np.array([finite_network(theta, seed) for seed in range(3)])
    assert found[:, 0].mean() == pytest.approx(kappa_r, abs=4 * found[:, 0].std() / np.sqrt(3))
    total = found[:, 1:].sum(axis=1).mean()
    assert total == pytest.approx(delta_inf + delta_T, rel=0.1)
    assert 0.4 * delta_T <= found[:, 2].mean() <= 1.1 * delta_T + 1e-6


@pytest.mark.parametrize("theta", [CHAOTIC, (0.5, 0.5, 0.5)])
def test_gradient_against_finite_differences(theta):
    with jax.enable_x64(True):
        simulate, h = gaussian_rnn().simulator.function, 1e-5
        key = jax.random.key(0)

        @jax.jit
        def f(theta):
            return simulate(dict(zip(prior.names, theta, strict=True)), key)

        theta = jnp.array(theta)
        slope = jax.jit(jax.jacrev(f))(theta)
        expected = np.stack([(f(theta + h * e) - f(theta - h * e)) / (2 * h) for e in jnp.eye(3)])
        assert np.allclose(slope, expected.T, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_input_moves_the_mean():
    """Without feedback (M_m = 0) the mean activity is the input."""
    for y in (0.0, 1.5):
        found = solve(jnp.array([1.0, 0.0, 1.0]), y)
        assert found[0] == pytest.approx(y, abs=1e-5)


def test_traces_are_of_a_finite_network():
    traces = gaussian_rnn().traces(np.array([(4.5, -1, 1), (0.2, 0, 0)]), np.arange(2))
    late = traces.values[:, :, traces.time > 30]
    assert late.var(axis=2).mean(axis=1)[0] > 0.1  # chaos
    assert late.var(axis=2).max(axis=1)[1] < 1e-6  # a fixed point


def test_bad_input():
    with pytest.raises(ValueError, match="Expected a finite input y; got nan"):
        gaussian_rnn(y=float("nan"))
