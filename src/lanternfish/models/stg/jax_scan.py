"""The pyloric network in JAX: for a GPU, and to check the compiled kernel with.

The same equations, noise and statistics, laid out as ``lax.scan`` over chunks of steps with all
simulations of a batch side by side, shape (3, n). On a CPU it is several times slower than
the kernel (``python benchmarks/stg.py``). Precision is that of the conductances given: float32, or
float64 where JAX has it enabled.

Memory is bounded by the batch: a chunk of voltages, the bursts and the long plateaus of each
simulation, about 60 kB.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lanternfish.models.counter_noise import random_bits
from lanternfish.models.kernels import seed_key
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg import jax_statistics
from lanternfish.models.stg.compiled import DT, T_MAX, inputs, plan_of, threshold_of, which
from lanternfish.models.stg.statistics import SIZE

STEPS = 80  # samples of a chunk
Q_M = np.array(eq.Q10_TAU_M)[:, None, None]


class State(NamedTuple):
    """V, Ca (3, n); m (7, 3, n); h (4, 3, n); s (4, n): AB glut, AB chol, LP glut, PY glut."""

    V: jax.Array
    Ca: jax.Array
    m: jax.Array
    h: jax.Array
    s: jax.Array


def start(n: int, dtype) -> State:
    """The initial state."""
    return State(
        jnp.full((3, n), eq.V_START, dtype),
        jnp.full((3, n), eq.CA_START, dtype),
        jnp.zeros((7, 3, n), dtype),
        jnp.zeros((4, 3, n), dtype),
        jnp.zeros((4, n), dtype),
    )


def add(x, change, rest):
    """x + change + rest, and what rounding left out of it."""
    change = change + rest
    after = x + change
    return after, change - (after - x)


def changes(state: State, g, g_syn, current, temperature) -> State:
    """What one step adds to each variable; current is the noise (uA), shape (3, n)."""
    V, Ca, m, h, s = state
    slope = eq.nernst_slope(temperature)
    E_Ca = eq.calcium_reversal(Ca, slope, jnp.log)
    m3 = m * m * m
    c_Na, c_CaT, c_CaS, c_A = g[:4] * m3[:4] * h
    c_KCa, c_Kd = g[4:6] * m3[4:6] * m[4:6]
    c_H, leak = g[6] * m[6], g[7]
    c_Ca, c_K = c_CaT + c_CaS, c_A + c_KCa + c_Kd
    none = jnp.zeros_like(V[0])
    glut = jnp.stack(
        [
            g_syn[4] * s[2],
            g_syn[0] * s[0] + g_syn[6] * s[3],
            g_syn[2] * s[0] + g_syn[5] * s[2],
        ]
    )
    chol = jnp.stack([none, g_syn[1] * s[1], g_syn[3] * s[1]])
    total = c_Na + c_Ca + c_K + c_H + leak + glut + chol
    driven = c_Na * eq.E_NA + c_Ca * E_Ca + c_K * eq.E_K + c_H * eq.E_H + leak * eq.E_LEAK
    driven = driven + glut * eq.E_SYNAPSE["glut"] + chol * eq.E_SYNAPSE["chol"] + current
    rate = total * (DT / eq.CAPACITANCE)
    safe = jnp.where(rate > 0, rate, 1)
    share = jnp.where(rate > 0, -jnp.expm1(-safe) / safe, 1)
    Ca_inf = eq.calcium_target(c_Ca * (V - E_Ca))
    k_Ca = -np.expm1(-DT * eq.q10(eq.Q10_TAU_CA, temperature) / eq.TAU_CA)
    dV = (driven - total * V) * (DT / eq.CAPACITANCE) * share
    dm, dh = gate_changes(V, Ca, m, h, temperature)
    return State(dV, (Ca_inf - Ca) * k_Ca, dm, dh, synapse_changes(V, s, temperature))


def gate_changes(V, Ca, m, h, temperature):
    """What one step adds to m and h."""
    m_inf = jnp.stack(eq.m_inf(V, jnp.exp)).at[4].multiply(eq.calcium_gate(Ca))
    h_inf = jnp.stack(eq.h_inf(V, jnp.exp))
    speed_m = jnp.asarray(eq.q10(Q_M, temperature), V.dtype) * DT
    speed_h = eq.q10(eq.Q10_TAU_H, temperature) * DT
    k_m = -jnp.expm1(-speed_m / jnp.stack(eq.tau_m(V, jnp.exp)))
    k_h = -jnp.expm1(-speed_h / jnp.stack(eq.tau_h(V, jnp.exp)))
    return (m_inf - m) * k_m, (h_inf - h) * k_h


def synapse_changes(V, s, temperature):
    """What one step adds to the synapses: forward Euler, all the way where dt > tau_s."""
    pre = V[jnp.array([0, 0, 1, 2])]
    K = np.array([eq.K_SYNAPSE[kind] for kind in ("glut", "chol", "glut", "glut")])[:, None]
    rate = eq.synapse_rate(pre, jnp.asarray(K, V.dtype), jnp.exp)
    k = jnp.minimum(rate * (DT * eq.q10(eq.Q10_TAU_SYNAPSE, temperature)), 1)
    return (eq.s_inf(pre, jnp.exp) - s) * k


def normals(first, pairs: int, keys, dtype):
    """Pairs first, first + 1, ... of each key's stream of standard normals, shape (2 pairs, n)."""
    c = 2 * (first + jnp.arange(pairs, dtype=jnp.uint32))[:, None]
    one, two = random_bits(c, *keys), random_bits(c + 1, *keys)
    u = ((one >> 8).astype(dtype) + 0.5) * 2.0**-24
    v = ((two >> 8).astype(dtype) + 0.5) * 2.0**-24 - 0.5
    radius = jnp.sqrt(-2 * jnp.log(u)) * jnp.where(one & 1, -1, 1)
    pair = jnp.stack([radius * jnp.cos(jnp.pi * v), radius * jnp.sin(jnp.pi * v)], axis=1)
    return pair.reshape(2 * pairs, -1)


def chunk(carry, clock, g, g_syn, keys, noise, temperature):
    """``STEPS`` steps from sample ``clock`` on; the voltages before each, shape (STEPS, 3, n)."""
    dtype = g.dtype
    shape = (STEPS, 3, g.shape[2])
    if noise:
        drawn = normals((clock * 3 // 2).astype(jnp.uint32), 3 * STEPS // 2, keys, dtype)
        current = eq.NOISE * drawn.reshape(shape)
    else:
        current = jnp.zeros(shape, dtype)

    def step(carry, current):
        state, rest = carry
        added = changes(state, g, g_syn, current, temperature)
        pairs = [add(*parts) for parts in zip(state, added, rest, strict=True)]
        after, left = zip(*pairs, strict=True)
        return (State._make(after), State._make(left)), state.V

    return lax.scan(step, carry, current)


@partial(jax.jit, static_argnames=("steps", "noise", "temperature"))
def _voltage(g, g_syn, keys, steps, noise, temperature):
    state = start(g.shape[2], g.dtype)
    rest = jax.tree.map(jnp.zeros_like, state)

    def run(carry, clock):
        return chunk(carry, clock, g, g_syn, keys, noise, temperature)

    clocks = jnp.arange(0, steps, STEPS, dtype=jnp.int32)
    _, V = lax.scan(run, (state, rest), clocks)
    return V.reshape(-1, 3, g.shape[2])[:steps].transpose(2, 1, 0)


@partial(jax.jit, static_argnames=("plan", "noise", "temperature"))
def _statistics(g, g_syn, keys, plan, noise, temperature):
    n = g.shape[2]
    state = start(n, g.dtype)
    rest = jax.tree.map(jnp.zeros_like, state)
    events = jax_statistics.start(n, plan)
    history = jnp.zeros((jax_statistics.HISTORY, 3, n), g.dtype)

    def run(carry, clock):
        dynamics, history, events = carry
        dynamics, V = chunk(dynamics, clock, g, g_syn, keys, noise, temperature)
        trace = jnp.concatenate([history, V])
        events = jax_statistics.detect(events, trace, clock, plan)
        return (dynamics, trace[STEPS:], events), None

    clocks = jnp.arange(0, plan.end, STEPS, dtype=jnp.int32)
    (_, _, events), _ = lax.scan(run, ((state, rest), history, events), clocks)
    return jax_statistics.statistics(jax_statistics.finish(events, plan), plan)


def _arrays(theta, seeds, temperature):
    """Conductances (8, 3, n) and (7, n) in mS, and the noise keys (n,), (n,)."""
    dtype = jnp.zeros(()).dtype
    membrane = theta[:, :24].reshape(-1, 3, 8).transpose(2, 1, 0)
    g = membrane * (eq.AREA * eq.q10(eq.Q10_MEMBRANE, temperature))
    g_syn = np.exp(theta[:, 24:].T) * eq.q10(eq.Q10_SYNAPSE, temperature)
    keys = np.array([seed_key(seed) for seed in seeds], np.uint32).reshape(-1, 2).T
    return jnp.asarray(g, dtype), jnp.asarray(g_syn, dtype), (keys[0], keys[1])


def voltage(theta, seeds, steps, *, noise=True, temperature=eq.REFERENCE_TEMPERATURE):
    """The first samples of the voltages of n circuits, shape (n, 3, steps), mV."""
    theta, seeds = inputs(theta, seeds)
    return _voltage(*_arrays(theta, seeds, temperature), steps, noise, float(temperature))


def simulate(
    theta,
    seeds,
    *,
    statistics: int = 18,
    order: str = "pyloric",
    burst_threshold: float | None = None,
    noise: bool = True,
    temperature: float = eq.REFERENCE_TEMPERATURE,
    t_max: float = T_MAX,
    batch: int = 4096,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of n circuits; as ``stg.simulate``, in JAX, without early abandonment.

    Args:
        batch: simulations that run at once; it bounds the memory. A last smaller batch is compiled
            for its own size.
    """
    columns = which(statistics, order)
    theta, seeds = inputs(theta, seeds)
    plan = plan_of(t_max, threshold_of(burst_threshold, order), noise, False)
    plan = jax_statistics.Plan(plan.begin, plan.end, plan.gap, plan.threshold, plan.dt)
    parts = [np.empty((0, SIZE))]
    for first in range(0, len(theta), batch):
        rows = slice(first, first + batch)
        arrays = _arrays(theta[rows], seeds[rows], temperature)
        x = _statistics(*arrays, plan, bool(noise), float(temperature))
        parts.append(np.asarray(x, np.float64))
    return np.concatenate(parts)[:, columns], np.ones(len(theta))
