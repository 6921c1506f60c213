"""Single neurons on the CPU: 48 side by side, in the kernel of the network with its synapses cut.

The block of ``stg.kernel`` holds sixteen networks of three neurons each. With synaptic conductances
of zero the three are three cells of their own, so that a vector instruction works on as many
independent neurons as it has lanes. Each cell has its own clock and is refilled when it is done.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np
from numba import njit

from lanternfish.models.kernels import EXACT
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg import kernel
from lanternfish.models.stg.events import highest
from lanternfish.models.stg.integrate import IDLE, START_GATE, START_ROW, START_X, keep_history
from lanternfish.models.stg.kernel import (
    CA_REST,
    CALCIUM,
    CHOL,
    GATE,
    H_REST,
    HISTORY,
    M_REST,
    ROW_START,
    STEPS,
    V_REST,
    VOLTAGE,
    WIDTH,
    G,
    H,
    M,
    X,
    advance,
)
from lanternfish.models.stg.table import aligned, table
from lanternfish.models.stg_neuron.firing import NAMES, SPIKE, statistics

CELLS = 3 * WIDTH
MOST = 8_192  # spikes of one neuron that are kept; the first ones where there are more

# begin, end: of the analysed trace, in samples; dt in ms.
Plan = namedtuple("Plan", "begin end dt")


@njit(**EXACT)
def load(block, rows, cell, conductances):
    """Put one neuron into a cell: its conductances (mS) and the initial state."""
    state = block.state
    neuron, lane = cell // WIDTH, cell % WIDTH
    for k in range(8):
        state[G + (8 * neuron + k) * WIDTH + lane] = conductances[k]
        state[M + 8 * cell + k] = 0
        state[M_REST + 8 * cell + k] = 0
    for k in range(4):
        state[H + 4 * cell + k] = 0
        state[H_REST + 4 * cell + k] = 0
    state[VOLTAGE + cell] = eq.V_START
    state[CALCIUM + cell] = eq.CA_START
    state[V_REST + cell] = 0
    state[CA_REST + cell] = 0
    state[GATE + cell] = START_GATE
    rows[ROW_START + cell] = START_ROW
    state[X + cell] = START_X
    state[CHOL + lane] = 0


@njit(**EXACT)
def find_spikes(trace, cell, clock, plan, times, count):
    """Note the rises of a chunk through ``SPIKE``, in samples since the burn-in; their count."""
    first = max(0, plan.begin - clock)
    last = min(STEPS, plan.end - clock)
    for t in range(first, last):
        before = trace[(HISTORY + t - 1) * 3 * WIDTH + cell]
        after = trace[(HISTORY + t) * 3 * WIDTH + cell]
        if before < SPIKE <= after and clock + t > plan.begin and count < MOST:
            share = (SPIKE - before) / (after - before)
            times[count] = (clock + t - 1 - plan.begin + share) * plan.dt
            count += 1
    return count


@njit(**EXACT)
def run(conductances, block, rows, table, constants, plan, near, times, x):
    """Simulate every row of conductances (n, 8) and fill the statistics x (n, 7)."""
    n = len(conductances)
    resident = np.full(CELLS, IDLE)
    clock = np.zeros(CELLS, np.int64)
    count = np.zeros(CELLS, np.int64)
    queued, busy = 0, 0
    while queued < n or busy > 0:
        for cell in range(CELLS):
            if resident[cell] == IDLE and queued < n:
                load(block, rows, cell, conductances[queued])
                resident[cell], clock[cell], count[cell] = queued, 0, 0
                queued += 1
                busy += 1
        advance(block, table, constants)
        highest(block.trace, near)
        for cell in range(CELLS):
            i = resident[cell]
            if i != IDLE:
                if near[cell] > SPIKE and clock[cell] + STEPS > plan.begin:
                    count[cell] = find_spikes(
                        block.trace, cell, clock[cell], plan, times[cell], count[cell]
                    )
                clock[cell] += STEPS
                if clock[cell] >= plan.end:
                    duration = (plan.end - plan.begin) * plan.dt
                    statistics(times[cell, : count[cell]], duration, x[i])
                    resident[cell] = IDLE
                    busy -= 1
        keep_history(block.trace)


def simulate(g: np.ndarray, plan: Plan, temperature: float, kinetics) -> np.ndarray:
    """Statistics ``NAMES`` of n neurons with conductances g (n, 8) in mS/cm2, shape (n, 7)."""
    x = np.full((len(g), len(NAMES)), np.nan)
    block = kernel.block()
    run(
        conductances(g, temperature),
        block,
        block.state.view(np.int32),
        table(plan.dt, temperature, kinetics),
        kernel.constants(plan.dt, temperature, False),
        plan,
        aligned(CELLS),
        np.empty((CELLS, MOST)),
        x,
    )
    return x


def conductances(g: np.ndarray, temperature: float) -> np.ndarray:
    """Maximal conductances (mS) of the whole cell, (n, 8) float32."""
    scale = eq.AREA * eq.q10(eq.Q10_MEMBRANE, temperature)
    return np.ascontiguousarray(g * scale, np.float32)


def voltage(
    g: np.ndarray, first: int, last: int, stride: int, dt: float, temperature: float, kinetics
) -> tuple[np.ndarray, np.ndarray]:
    """Time (ms), (t,), and voltages (mV), (n, t) float32, of samples first, first + stride, ..."""
    wanted = np.arange(first, last + 1, stride)
    out = np.empty((len(g), len(wanted)), np.float32)
    scaled = conductances(g, temperature)
    tabled, constants = table(dt, temperature, kinetics), kernel.constants(dt, temperature, False)
    for at in range(0, len(g), CELLS):
        part = out[at : at + CELLS]
        block = kernel.block()
        rows = block.state.view(np.int32)
        for cell in range(len(part)):
            load(block, rows, cell, scaled[at + cell])
        trace = block.trace.reshape(HISTORY + STEPS, CELLS)[HISTORY:, : len(part)]
        for clock in range(0, int(wanted[-1]) + 1, STEPS):
            advance(block, tabled, constants)
            here = (wanted >= clock) & (wanted < clock + STEPS)
            if here.any():
                part[:, here] = trace[wanted[here] - clock].T
    return wanted * dt, out
