"""One time step of the pyloric network, for sixteen simulations at a time, in float32.

Every right-hand side uses the step before: exponential Euler for V, Ca and the gates, forward Euler
for the synapses. A step has two halves, which lay the same numbers out in two ways.

Gates: one neuron of one simulation is a vector over its gates, because all of them are read from
one row of the table of its voltage (see ``table``). Eight such vectors, one per simulation, are
then transposed.
Membrane: one neuron of all simulations is a vector over the simulations: currents, calcium,
reversal potential, noise, the new voltage. Its chains of dependent operations are long; sixteen
simulations are two chains on registers of eight, which the processor overlaps.

No operation mixes simulations, and none is approximated differently on some lane, so the bits of a
simulation depend on its parameters and its seed only.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from lanternfish.models.kernels import EXACT, fast_exp, fast_log, normal_pair
from lanternfish.models.simd import (
    fma,
    load4,
    load8,
    load_int,
    loader,
    maximum,
    minimum,
    shuffler,
    splat8,
    store,
    times,
    truncate,
    where_less,
    wrapping_add,
)
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg.table import ROW, ROWS, ROWS_PER_MV, V_MIN, aligned

F = np.float32
LANES = 8
WIDTH = 16  # simulations side by side
STEPS = 80  # of a chunk, between two looks at the traces
HISTORY = 24  # samples before the chunk that a look needs

inline = njit(**EXACT, forceinline=True)
load_wide = loader(WIDTH)
calcium_gate = inline(eq.calcium_gate)
calcium_reversal = inline(eq.calcium_reversal)
calcium_target = inline(eq.calcium_target)

E_NA, E_K, E_H, E_LEAK = F(eq.E_NA), F(eq.E_K), F(eq.E_H), F(eq.E_LEAK)
E_GLUT, E_CHOL = F(eq.E_SYNAPSE["glut"]), F(eq.E_SYNAPSE["chol"])
ROW_MAX = F(np.nextafter(F(ROWS), F(0)))

# Where each quantity of a block begins in its one array of state; index (neuron, gate, lane).
G = 0  # conductances, mS: 3 x 8 membrane, then 7 synapses
G_SYNAPSE = G + 24 * WIDTH
M = G + 31 * WIDTH + WIDTH  # (neuron, lane, gate)
H = M + 24 * WIDTH  # (neuron, lane, gate)
VOLTAGE = H + 12 * WIDTH
CALCIUM = VOLTAGE + 3 * WIDTH
GATE = CALCIUM + 3 * WIDTH  # Ca / (Ca + 3)
ROW_START = GATE + 3 * WIDTH  # int32: where the row of V begins in the table
X = ROW_START + 3 * WIDTH  # how far V is into its row, 0 ... 1
CHOL = X + 3 * WIDTH
C_CA = CHOL + WIDTH  # from here on: what one half of a step hands to the next
TOTAL = C_CA + 3 * WIDTH
DRIVEN = TOTAL + 3 * WIDTH
S = DRIVEN + 3 * WIDTH
V_REST = S + 3 * WIDTH  # from here on: what rounding left out of V, Ca, m and h
CA_REST = V_REST + 3 * WIDTH
M_REST = CA_REST + 3 * WIDTH
H_REST = M_REST + 24 * WIDTH
SQUARED = H_REST + 12 * WIDTH  # sum of c E^2, for the energy
ENERGY = SQUARED + 3 * WIDTH  # of the chunk so far
STATE = ENERGY + 3 * WIDTH

Constants = namedtuple("Constants", "nernst k_ca dt_per_c k_chol noise")
Block = namedtuple("Block", "state noise trace key0 key1")


def constants(dt, temperature, noise):
    """The numbers of a step that no simulation changes, as float32."""
    k_ca = -np.expm1(-dt * eq.q10(eq.Q10_TAU_CA, temperature) / eq.TAU_CA)
    k_chol = dt * eq.q10(eq.Q10_TAU_SYNAPSE, temperature) / eq.K_SYNAPSE["chol"]
    return Constants(
        F(eq.nernst_slope(temperature)),
        F(k_ca),
        F(dt / eq.CAPACITANCE),
        F(k_chol),
        F(eq.NOISE if noise else 0.0),
    )


def block():
    """Memory of ``WIDTH`` simulations; index (neuron, gate, lane), the lane running fastest."""
    return Block(
        state=aligned(STATE),
        noise=aligned(STEPS * 3 * WIDTH),
        trace=aligned((HISTORY + STEPS) * 3 * WIDTH),
        key0=aligned(WIDTH, np.uint32),
        key1=aligned(WIDTH, np.uint32),
    )


_four_and_four = shuffler(0, 1, 2, 3, 12, 13, 14, 15)
_six_and_two = shuffler(0, 1, 2, 3, 4, 5, 14, 15)
_only_kca = shuffler(0, 1, 2, 3, 12, 5, 6, 7)
_widen = shuffler(0, 1, 2, 3, 4, 5, 6, 7)
_low = shuffler(0, 1, 2, 3)
_high = shuffler(4, 5, 6, 7)
_pairs_low = shuffler(0, 8, 1, 9, 4, 12, 5, 13)
_pairs_high = shuffler(2, 10, 3, 11, 6, 14, 7, 15)
_quads_low = shuffler(0, 1, 8, 9, 4, 5, 12, 13)
_quads_high = shuffler(2, 3, 10, 11, 6, 7, 14, 15)
_halves_low = shuffler(0, 1, 2, 3, 8, 9, 10, 11)
_halves_high = shuffler(4, 5, 6, 7, 12, 13, 14, 15)


@inline
def add(x, change):
    """x + change, and what rounding left out of it."""
    after = x + change
    return after, change - (after - x)


@inline
def gate_step(state, table, i):
    """Move the gates of neuron x simulation i on; m^3 h (4), m^4 (2), H's m and s, of before."""
    row = load_int(state, ROW_START + i)
    x = splat8(state[X + i])
    m_inf = fma(fma(load8(table, row + 48), x, load8(table, row + 24)), x, load8(table, row))
    k_m = fma(fma(load8(table, row + 56), x, load8(table, row + 32)), x, load8(table, row + 8))
    hk = fma(fma(load8(table, row + 64), x, load8(table, row + 40)), x, load8(table, row + 16))
    m_inf = _only_kca(m_inf, m_inf * splat8(state[GATE + i]))
    m, h = load8(state, M + 8 * i), load4(state, H + 4 * i)
    after, rest = add(m, fma(m_inf - m, k_m, load8(state, M_REST + 8 * i)))
    store(state, M + 8 * i, after)
    store(state, M_REST + 8 * i, rest)
    after, rest = add(h, fma(_low(hk, hk) - h, _high(hk, hk), load4(state, H_REST + 4 * i)))
    store(state, H + 4 * i, after)
    store(state, H_REST + 4 * i, rest)
    last = _four_and_four(_widen(h, h), m)
    return _six_and_two((m * m) * (m * last), m)


@inline
def transpose(a, b, c, d, e, f, g, h):
    """Eight vectors over gates as eight vectors over simulations."""
    ab, cd, ef, gh = _pairs_low(a, b), _pairs_low(c, d), _pairs_low(e, f), _pairs_low(g, h)
    AB, CD, EF, GH = _pairs_high(a, b), _pairs_high(c, d), _pairs_high(e, f), _pairs_high(g, h)
    a, b, c, d = _quads_low(ab, cd), _quads_high(ab, cd), _quads_low(AB, CD), _quads_high(AB, CD)
    e, f, g, h = _quads_low(ef, gh), _quads_high(ef, gh), _quads_low(EF, GH), _quads_high(EF, GH)
    return (
        _halves_low(a, e),
        _halves_low(b, f),
        _halves_low(c, g),
        _halves_low(d, h),
        _halves_high(a, e),
        _halves_high(b, f),
        _halves_high(c, g),
        _halves_high(d, h),
    )


@inline
def conductances(state, table, i, energetic):
    """Move the gates of eight simulations on; store what they conducted before (mS, uA).

    ``energetic`` is a constant where this is inlined, and costs nothing where it is False.
    """
    na, cat, cas, a, kca, kd, hyp, s = transpose(
        gate_step(state, table, i),
        gate_step(state, table, i + 1),
        gate_step(state, table, i + 2),
        gate_step(state, table, i + 3),
        gate_step(state, table, i + 4),
        gate_step(state, table, i + 5),
        gate_step(state, table, i + 6),
        gate_step(state, table, i + 7),
    )
    at = G + 8 * (i - i % WIDTH) + i % WIDTH
    c_na = load8(state, at) * na
    c_ca = fma(load8(state, at + WIDTH), cat, load8(state, at + 2 * WIDTH) * cas)
    c_k = fma(load8(state, at + 3 * WIDTH), a, load8(state, at + 4 * WIDTH) * kca)
    c_k = fma(load8(state, at + 5 * WIDTH), kd, c_k)
    c_h = load8(state, at + 6 * WIDTH) * hyp
    leak = load8(state, at + 7 * WIDTH)
    store(state, C_CA + i, c_ca)
    store(state, TOTAL + i, ((c_na + c_k) + (c_h + leak)) + c_ca)
    store(state, DRIVEN + i, fma(c_na, E_NA, fma(c_k, E_K, fma(c_h, E_H, leak * E_LEAK))))
    store(state, S + i, s)
    if energetic:
        rest = fma(c_h, F(E_H * E_H), leak * F(E_LEAK * E_LEAK))
        square = fma(c_na, F(E_NA * E_NA), fma(c_k, F(E_K * E_K), rest))
        store(state, SQUARED + i, square)


@inline
def add_synapse(state, i, glut, chol, energetic):
    """Add a neuron's synaptic conductances (mS) to its sums."""
    store(state, TOTAL + i, load_wide(state, TOTAL + i) + (glut + chol))
    driven = fma(glut, E_GLUT, fma(chol, E_CHOL, load_wide(state, DRIVEN + i)))
    store(state, DRIVEN + i, driven)
    if energetic:
        square = fma(chol, F(E_CHOL * E_CHOL), load_wide(state, SQUARED + i))
        store(state, SQUARED + i, fma(glut, F(E_GLUT * E_GLUT), square))


@inline
def synapse_step(state, constants, energetic):
    """Add the synaptic conductances of all simulations, and move the cholinergic one on."""
    s0, s1 = load_wide(state, S), load_wide(state, S + WIDTH)
    s2, chol = load_wide(state, S + 2 * WIDTH), load_wide(state, CHOL)
    u = fast_exp((load_wide(state, VOLTAGE) - F(eq.V_THRESHOLD)) * F(1 / eq.DELTA))
    g = G_SYNAPSE
    none = load_wide(state, CHOL) * F(0.0)
    add_synapse(state, 0, load_wide(state, g + 4 * WIDTH) * s1, none, energetic)
    glut = fma(load_wide(state, g), s0, load_wide(state, g + 6 * WIDTH) * s2)
    add_synapse(state, WIDTH, glut, load_wide(state, g + WIDTH) * chol, energetic)
    glut = fma(load_wide(state, g + 2 * WIDTH), s0, load_wide(state, g + 5 * WIDTH) * s1)
    add_synapse(state, 2 * WIDTH, glut, load_wide(state, g + 3 * WIDTH) * chol, energetic)
    once = u + F(1.0)
    k = minimum(once * constants.k_chol, F(1.0))
    store(state, CHOL, fma(u / once - chol, k, chol))


@inline
def calcium_step(state, constants, i, energetic):
    """Add the calcium current of all simulations, and move their calcium on."""
    V, Ca = load_wide(state, VOLTAGE + i), load_wide(state, CALCIUM + i)
    c_ca = load_wide(state, C_CA + i)
    e_ca = calcium_reversal(Ca, constants.nernst, fast_log)
    change = fma(
        calcium_target(c_ca * (V - e_ca)) - Ca, constants.k_ca, load_wide(state, CA_REST + i)
    )
    Ca, rest = add(Ca, change)
    store(state, CA_REST + i, rest)
    store(state, DRIVEN + i, fma(c_ca, e_ca, load_wide(state, DRIVEN + i)))
    if energetic:
        store(state, SQUARED + i, fma(c_ca * e_ca, e_ca, load_wide(state, SQUARED + i)))
    store(state, CALCIUM + i, Ca)
    store(state, GATE + i, calcium_gate(Ca))


@inline
def voltage_step(state, constants, i, noise):
    """Move the voltages of all simulations on, and find their rows of the table."""
    V, total = load_wide(state, VOLTAGE + i), load_wide(state, TOTAL + i)
    driven = load_wide(state, DRIVEN + i) + noise
    rate = total * constants.dt_per_c
    # (1 - e^-r) / r, whose quotient loses its digits where r is small
    series = fma(fma(fma(rate, F(-0.25), F(1.0)) * rate, F(1 / 3), F(-1.0)) * rate, F(0.5), F(1.0))
    share = where_less(rate, F(0.05), series, (F(1.0) - fast_exp(rate * F(-1.0))) / rate)
    change = fma((driven - total * V) * constants.dt_per_c, share, load_wide(state, V_REST + i))
    V, rest = add(V, change)
    store(state, V_REST + i, rest)
    position = (V - F(V_MIN)) * F(ROWS_PER_MV)
    row, x = truncate(minimum(maximum(position, F(0.0)), ROW_MAX))
    store(state, VOLTAGE + i, V)
    store(state, ROW_START + i, times(row, ROW))
    store(state, X + i, x)


@inline
def energy_step(state, i):
    """Add the power of all currents, sum c (V - E)^2 (nW), to the energy of the chunk."""
    V = load_wide(state, VOLTAGE + i)
    driven, total = load_wide(state, DRIVEN + i), load_wide(state, TOTAL + i)
    power = fma(fma(total, V, driven * F(-2.0)), V, load_wide(state, SQUARED + i))
    store(state, ENERGY + i, load_wide(state, ENERGY + i) + power)


@inline
def step(block, table, constants, t, cells, energetic):
    """One time step; each loop is over work that is independent, which the processor overlaps."""
    state = block.state
    before = (HISTORY + t) * 3 * WIDTH
    for i in range(0, cells, LANES):
        conductances(state, table, i, energetic)
    synapse_step(state, constants, energetic)
    for i in range(0, cells, WIDTH):
        calcium_step(state, constants, i, energetic)
    for i in range(0, cells, WIDTH):
        store(block.trace, before + i, load_wide(state, VOLTAGE + i))
        if energetic:
            energy_step(state, i)
        voltage_step(state, constants, i, load_wide(block.noise, t * 3 * WIDTH + i))


@njit(**EXACT)
def draw_noise(block, constants, clock):
    """Fill the noise (uA) of a chunk; simulation's number 3 t + j is that of neuron j at step t."""
    for p in range(3 * STEPS // 2):
        for lane in range(0, WIDTH, LANES):
            key0, key1 = load8(block.key0, lane), load8(block.key1, lane)
            z0, z1 = normal_pair(wrapping_add(load8(clock, lane), np.uint32(p)), key0, key1)
            store(block.noise, 2 * p * WIDTH + lane, z0 * constants.noise)
            store(block.noise, (2 * p + 1) * WIDTH + lane, z1 * constants.noise)


@njit(**EXACT)
def advance(block, table, constants):
    """One chunk of time steps; the trace holds the voltage before each."""
    cells = len(block.noise) // STEPS
    for t in range(STEPS):
        step(block, table, constants, t, cells, False)


@njit(**EXACT)
def advance_with_energy(block, table, constants):
    """One chunk of time steps, with the sum over its steps of each neuron's power (nW)."""
    cells = len(block.noise) // STEPS
    for i in range(cells):
        block.state[ENERGY + i] = 0
    for t in range(STEPS):
        step(block, table, constants, t, cells, True)
