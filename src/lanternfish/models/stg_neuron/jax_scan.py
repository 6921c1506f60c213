"""Single neurons in JAX, for a GPU: all of a batch side by side, one ``lax.scan`` over time.

A step notes for each neuron whether its voltage rose through the threshold, one bit; 32 steps make
a word. The words, 20 kB for 8 s, come back to the host, which turns them into spike times and
statistics as the compiled kernel does. On a CPU it is several times slower than the kernel.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numba import njit

from lanternfish.models.kernels import EXACT
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg_neuron.compiled import Plan
from lanternfish.models.stg_neuron.firing import NAMES, SPIKE, statistics

WORD = 32  # steps
_BATCH = 16_384


def _changes(state, g, dt, temperature, kinetics):
    """What one step adds to V, Ca, m (7, n) and h (4, n)."""
    V, Ca, m, h = state
    E_Ca = eq.calcium_reversal(Ca, eq.nernst_slope(temperature), jnp.log)
    cube = m * m * m
    c_Na, c_CaT, c_CaS, c_A = g[:4] * cube[:4] * h
    c_KCa, c_Kd = g[4:6] * cube[4:6] * m[4:6]
    c_H, leak = g[6] * m[6], g[7]
    c_Ca, c_K = c_CaT + c_CaS, c_A + c_KCa + c_Kd
    total = c_Na + c_Ca + c_K + c_H + leak
    driven = c_Na * eq.E_NA + c_Ca * E_Ca + c_K * eq.E_K + c_H * eq.E_H + leak * eq.E_LEAK
    rate = total * (dt / eq.CAPACITANCE)
    safe = jnp.where(rate > 0, rate, 1)
    share = jnp.where(rate > 0, -jnp.expm1(-safe) / safe, 1)
    dV = (driven - total * V) * (dt / eq.CAPACITANCE) * share
    k_Ca = -np.expm1(-dt * eq.q10(eq.Q10_TAU_CA, temperature) / eq.TAU_CA)
    dCa = (eq.calcium_target(c_Ca * (V - E_Ca)) - Ca) * k_Ca
    m_inf = jnp.stack(kinetics.m_inf(V, jnp.exp)).at[4].multiply(eq.calcium_gate(Ca))
    speed = np.array([dt * eq.q10(q, temperature) for q in eq.Q10_TAU_M])[:, None]
    k_m = -jnp.expm1(-jnp.asarray(speed, V.dtype) / jnp.stack(kinetics.tau_m(V, jnp.exp)))
    speed_h = dt * eq.q10(eq.Q10_TAU_H, temperature)
    k_h = -jnp.expm1(-speed_h / jnp.stack(kinetics.tau_h(V, jnp.exp)))
    h_inf = jnp.stack(kinetics.h_inf(V, jnp.exp))
    return dV, dCa, (m_inf - m) * k_m, (h_inf - h) * k_h


@partial(jax.jit, static_argnames=("plan", "temperature", "kinetics"))
def _bits(g, plan: Plan, temperature: float, kinetics):
    """Rises through the threshold after the burn-in, one bit each, (words, n) uint32."""
    n = g.shape[1]
    zero = jnp.zeros((n,), g.dtype)
    state = (zero + eq.V_START, zero + eq.CA_START, jnp.zeros((7, n)), jnp.zeros((4, n)))

    def step(carry, k):
        state, rest, word = carry
        after, left = [], []
        for value, change, kept in zip(
            state, _changes(state, g, plan.dt, temperature, kinetics), rest, strict=True
        ):
            change = change + kept
            new = value + change
            after.append(new)
            left.append(change - (new - value))  # what rounding left out (Kahan)
        rise = (state[0] < SPIKE) & (after[0] >= SPIKE)
        word = word | (rise.astype(jnp.uint32) << k)
        return (tuple(after), tuple(left), word), None

    def chunk(carry, _):
        state, rest = carry
        word = jnp.zeros((n,), jnp.uint32)
        (state, rest, word), _ = lax.scan(
            step, (state, rest, word), jnp.arange(WORD, dtype=jnp.uint32)
        )
        return (state, rest), word

    rest = jax.tree.map(jnp.zeros_like, state)
    return lax.scan(chunk, (state, rest), None, length=-(-plan.end // WORD))[1]


@njit(**EXACT)
def decode(words, plan, x):
    """Statistics of one neuron from its words."""
    times = np.empty(32 * len(words))
    count = 0
    for w in range(len(words)):
        if words[w]:
            for k in range(32):
                sample = 32 * w + k
                if (words[w] >> np.uint32(k)) & np.uint32(
                    1
                ) and plan.begin <= sample < plan.end - 1:
                    times[count] = (sample + 0.5 - plan.begin) * plan.dt
                    count += 1
    statistics(times[:count], (plan.end - plan.begin) * plan.dt, x)


def simulate(g: np.ndarray, plan: Plan, temperature: float, kinetics) -> np.ndarray:
    """As ``compiled.simulate``; spikes are timed to half a step."""
    x = np.full((len(g), len(NAMES)), np.nan)
    scaled = g * (eq.AREA * eq.q10(eq.Q10_MEMBRANE, temperature))
    for at in range(0, len(g), _BATCH):
        part = jnp.asarray(scaled[at : at + _BATCH].T, jnp.float32)
        words = np.ascontiguousarray(np.asarray(_bits(part, plan, temperature, kinetics)).T)
        for i, row in enumerate(words):
            decode(row, plan, x[at + i])
    return x
