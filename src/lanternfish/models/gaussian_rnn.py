"""Recurrent network of rank one that computes a Gaussian posterior, by its mean-field theory.

    dx/dt = -x + W tanh(x) + h,    W = g chi + m n^T / N,    h = y r + n - M_n
    chi_ij ~ N(0, 1/N),    m ~ N(M_m, 1),    n ~ N(M_n, 1),    r = (1, ..., 1)

The input y is the observation of a quantity with prior N(4, 1) and unit likelihood variance. The
network represents the posterior by its mean activity and by the variance of its chaos over time;
for y = 2 these should be 3 and 0.5. The parameters are g, M_m and M_n. For large N

    kappa_r = M_m kappa_n + y,    kappa_n = M_n <phi> + <phi'>,    phi = tanh
    Delta_inf = g^2 K(Delta_inf) + kappa_n^2 + 1
    (Delta_0^2 - Delta_inf^2) / 2 = g^2 (<Phi^2> - K_Phi) + (kappa_n^2 + 1) (Delta_0 - Delta_inf)

with Delta_T = Delta_0 - Delta_inf the variance over time (Mastrogiuseppe & Ostojic 2018), averages
over x ~ N(kappa_r, Delta_0), and K_f(q) = E[f(x) f(x')] at a covariance q of x and x'. The last
equation is solved by Delta_T = 0 always. What remains after division is, by dK_f/dq = K_f'(q),

    1 = 2 g^2 int_0^1 (1 - u) K_phi'(Delta_inf + u Delta_T) du,

without the difference of near-equal double integrals. Covariances come from one-dimensional
integrals, by Mehler's formula: K_f(q) = sum_k a_k^2 (q / Delta_0)^k, where a_k is the coefficient
of f in normalised Hermite polynomials. So an evaluation takes 161 values of tanh, not 2,500.

The equations are relaxed from kappa_r = y and then solved by Newton's method; the gradient is that
of the solution (implicit function theorem) and not of the relaxation. Where there are several
solutions the one that the relaxation finds is reported. Below the onset of chaos Delta_T = 0, with
gradient 0: it moves there only with g large enough.

Traps, for whoever compares with published numbers:

- The published solver relaxes 40 steps of 0.2 from a warm start, which is not yet the solution, and
  integrates by 50 Gauss-Hermite nodes, which tanh with a variance above 10 is too steep for.
- It belongs to the preprint of 2020; the final paper dropped it.

References: Bittner et al. (2020), bioRxiv 837567; Mastrogiuseppe & Ostojic (2018), Neuron
99:609-623.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import (
    Column,
    EmergentProperty,
    JaxSimulator,
    Model,
    Prior,
    Traces,
    Uniform,
    vector_of,
)
from lanternfish.models.jax_traces import trace_all

prior = Prior(
    g=Uniform(0.0, 5.0, label="$g$"),
    M_m=Uniform(-5.0, 5.0, label="$M_m$"),
    M_n=Uniform(-5.0, 5.0, label="$M_n$"),
)
INPUT = 2.0  # y
STATISTICS = (
    Column("kappa_r", "", r"$\kappa_r$"),
    Column("delta_T", "", r"$\Delta_T$"),
)
TARGETS = {
    "posterior": EmergentProperty(
        "Bittner et al. 2020: posterior N(3, 0.5)",
        kappa_r=(3.0, math.sqrt(0.1)),
        delta_T=(0.5, math.sqrt(0.1)),
    )
}

TERMS = 60  # of Mehler's sum; what is left is put into one more
NODES = np.linspace(-8, 8, 161)  # trapezoidal rule: exponentially accurate for a normal
RELAXATIONS, RATE, NEWTON = 100, 0.1, 16
ONSET = 1e-3  # Delta_T below which there is no chaos where it still falls
TOLERANCE = 1e-3  # of the equations; beyond it there is no solution, and NaN


def _hermite() -> np.ndarray:
    """Normalised Hermite polynomials at the nodes, times their weights, shape (161, TERMS + 1)."""
    columns = [np.ones_like(NODES), NODES]
    for k in range(1, TERMS):
        columns.append((NODES * columns[k] - math.sqrt(k) * columns[k - 1]) / math.sqrt(k + 1))
    weight = np.exp(-0.5 * NODES**2)
    return np.stack(columns, axis=1) * (weight / weight.sum())[:, None]


HERMITE = _hermite()
_LEGENDRE, _WEIGHTS = np.polynomial.legendre.leggauss(32)
BETWEEN = (_LEGENDRE + 1) / 2  # u
BETWEEN_WEIGHTS = _WEIGHTS * (1 - BETWEEN)  # of 2 int_0^1 (1 - u) f(u) du


class Averages(NamedTuple):
    """<phi>, <phi'>, K_phi(Delta_inf), and 2 int (1 - u) K_phi'(Delta_inf + u Delta_T) du."""

    phi: Array
    slope: Array
    static: Array
    chaos: Array


def gaussian_rnn(y: float = INPUT) -> Model:
    """The network's mean-field theory as a model.

    Args:
        y: the input, on the scale of the quantity that is inferred.

    Raises:
        ValueError: if it is not a finite number.
    """
    if not np.isfinite(y):
        raise ValueError(f"Expected a finite input y; got {y}.")
    return Model(
        prior=prior,
        simulator=JaxSimulator(partial(simulate, y=float(y)), STATISTICS),
        name="gaussian_rnn",
        targets=TARGETS,
        traces=partial(_traces, y=float(y)),
        about="Rank-one recurrent network that computes a Gaussian posterior: Bittner et al. "
        "(2020), bioRxiv 837567, by the theory of Mastrogiuseppe & Ostojic (2018), Neuron 99:609.",
    )


def simulate(theta, key: Array | None = None, *, y: float = INPUT) -> Array:
    """``STATISTICS``, shape (2,): a deterministic solution, differentiable; ``key`` is unused."""
    kappa_r, _, delta_T = solve(vector_of(theta, prior.names), y)
    return jnp.stack([kappa_r, delta_T])


def solve(theta: Array, y: float = INPUT) -> Array:
    """kappa_r, Delta_inf and Delta_T of theta = (g, M_m, M_n), shape (3,); NaN where none."""
    held = jax.lax.stop_gradient(theta)
    start = jnp.array([y, 2.0, 1.0], theta.dtype)

    def relax(state, _):
        return relaxed(state, held, y), None

    def newton(carry, _):
        state, quiet = carry
        quiet = quiet | ((state[2] < ONSET) & (held[0] ** 2 * averages(*state).chaos < 1))
        off, slope = residual(state, held, y, quiet), slopes(state, held, y, quiet)
        after = state - jnp.linalg.solve(slope, off)
        after = after.at[1:].max(0.3 * state[1:])
        return (after.at[2].set(jnp.where(quiet, 0.0, after[2])), quiet), None

    state, _ = jax.lax.scan(relax, start, None, length=RELAXATIONS)
    carry = state, jnp.array(False)
    (state, quiet), _ = jax.lax.scan(newton, carry, None, length=NEWTON)
    state = jax.lax.stop_gradient(state)
    off = residual(state, theta, y, quiet)
    slope = jax.lax.stop_gradient(slopes(state, held, y, quiet))
    solution = state - jnp.linalg.solve(slope, off)
    return jnp.where(jnp.max(jnp.abs(off)) < TOLERANCE, solution, jnp.nan)


def relaxed(state: Array, theta: Array, y: float) -> Array:
    """One step of relaxation; Delta_T grows or shrinks by the factor that should be 1."""
    kappa_r, delta_inf, delta_T = state
    at = averages(kappa_r, delta_inf, delta_T)
    mean, static = right_side(at, theta, y)
    factor = jnp.clip(theta[0] ** 2 * at.chaos, 0.5, 2.0)
    return jnp.stack(
        [
            kappa_r + RATE * (mean - kappa_r),
            delta_inf + RATE * (static - delta_inf),
            jnp.maximum(delta_T * factor, 1e-6),
        ]
    )


def residual(state: Array, theta: Array, y: float, quiet: Array) -> Array:
    """What the equations are off by, shape (3,); without chaos the last is Delta_T itself."""
    kappa_r, delta_inf, delta_T = state
    at = averages(kappa_r, delta_inf, delta_T)
    mean, static = right_side(at, theta, y)
    chaos = jnp.where(quiet, delta_T, theta[0] ** 2 * at.chaos - 1)
    return jnp.stack([kappa_r - mean, delta_inf - static, chaos])


slopes = jax.jacfwd(residual)  # by state


def right_side(at: Averages, theta: Array, y: float) -> tuple[Array, Array]:
    """M_m kappa_n + y and g^2 K_phi(Delta_inf) + kappa_n^2 + 1."""
    g, M_m, M_n = theta
    kappa_n = M_n * at.phi + at.slope
    return M_m * kappa_n + y, g**2 * at.static + kappa_n**2 + 1


def averages(kappa_r: Array, delta_inf: Array, delta_T: Array) -> Averages:
    """Gaussian averages at x ~ N(kappa_r, Delta_inf + Delta_T)."""
    delta_0 = delta_inf + delta_T
    dtype = delta_0.dtype
    phi = jnp.tanh(kappa_r + jnp.sqrt(delta_0) * jnp.asarray(NODES, dtype))
    slope = 1 - phi**2
    values = jnp.stack([phi, slope])
    hermite = jnp.asarray(HERMITE, dtype)
    a = values @ hermite
    total = values**2 @ hermite[:, 0]
    rest = jnp.maximum(total - jnp.sum(a**2, axis=1), 0.0)
    squares = jnp.concatenate([a**2, rest[:, None]], axis=1)
    order = jnp.arange(TERMS + 2, dtype=dtype)
    rho = delta_inf / delta_0
    static = squares[0] @ jnp.exp(order * jnp.log(rho))
    between = rho + jnp.asarray(BETWEEN, dtype) * (1 - rho)
    powers = jnp.exp(order * jnp.log(between)[:, None])
    chaos = jnp.asarray(BETWEEN_WEIGHTS, dtype) @ (powers @ squares[1])
    return Averages(a[0, 0], a[1, 0], static, chaos)


NEURONS, SHOWN, T_MAX, DT = 400, 6, 60.0, 0.1  # of the traces: a network of finite size


def activity(theta: Array, key: Array, y: float = INPUT) -> Array:
    """x of the first neurons of one finite network over time, shape (6, time)."""
    g, M_m, M_n = theta
    keys = jax.random.split(key, 4)
    chi = jax.random.normal(keys[0], (NEURONS, NEURONS), theta.dtype) / math.sqrt(NEURONS)
    m, n, x = (jax.random.normal(k, (NEURONS,), theta.dtype) for k in keys[1:])

    def step(x, _):
        r = jnp.tanh(x)
        current = g * (chi @ r) + (m + M_m) * jnp.mean((n + M_n) * r) + y + n
        return x + DT * (current - x), x[:SHOWN]

    return jax.lax.scan(step, x, None, length=round(T_MAX / DT))[1].T


def _traces(theta: np.ndarray, seeds: np.ndarray, *, y: float) -> Traces:
    def function(theta, key):
        return activity(vector_of(theta, prior.names), key, y)

    x = trace_all(function, prior.names, theta, seeds)
    channels = tuple(f"neuron {i + 1}" for i in range(SHOWN))
    return Traces(np.arange(x.shape[2]) * DT, x, channels, unit="", time_unit="tau")
