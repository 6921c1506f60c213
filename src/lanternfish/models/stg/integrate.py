"""Run a queue of simulations through the lanes of a block, refilling each lane as it comes free.

A lane has its own clock, so a simulation neither waits for its neighbours nor feels them. Between
two chunks of steps its events are looked at, and it may be given up:

- *by proof*, when so many cycle periods have failed that it can no longer become valid: its row is
  invalid either way, and nothing else changes;
- *by roulette* (Kahn & Harris 1951), when it merely looks hopeless: it goes on with probability p,
  by a number of its own noise stream, and then weighs 1 / p. Its expected weight is 1 whatever the
  rule, so any weighted average over simulations keeps its expectation.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from lanternfish.models.kernels import EXACT, seed_key, uniform
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg.events import EDGE, NONE, clear, detect, end_burst, finish
from lanternfish.models.stg.kernel import (
    CA_REST,
    CALCIUM,
    CHOL,
    ENERGY,
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
    advance_with_energy,
    draw_noise,
)
from lanternfish.models.stg.statistics import TRIPHASIC, only_start, statistics
from lanternfish.models.stg.table import ROW, ROWS_PER_MV, V_MIN

START = (eq.V_START - V_MIN) * ROWS_PER_MV
START_ROW = int(START) * ROW
START_X = START - int(START)
START_GATE = eq.calcium_gate(eq.CA_START)
IDLE = -1
LAG = EDGE + 1  # samples at the end of a chunk in which a spike may yet be found
ROULETTE = np.uint32(0xFFFF0000)  # the numbers of the noise stream from here on decide

# In samples: begin and end of the analysed trace, the gap between bursts, their shortest length.
# dt in ms. checks: times of the roulette; survival: its p. energetic: whether energy is counted.
Plan = namedtuple("Plan", "begin end gap threshold dt noisy proof checks survival energetic")
# What a run works on; rows is the block's state read as int32.
Machine = namedtuple("Machine", "block rows events table constants")
# Filled by a run: statistics (n, 25), importance weights (n,), steps done (n,), and energy (n, 3),
# the sum over all steps after the burn-in of each neuron's power (nW), in whole chunks.
Results = namedtuple("Results", "x weights steps energy")


@njit(**EXACT)
def load(block, rows, lane, conductances, seed):
    """Put one simulation into a lane: its conductances (mS), its noise key, the initial state."""
    state = block.state
    for k in range(31):
        state[G + k * WIDTH + lane] = conductances[k]
    for j in range(3):
        i = j * WIDTH + lane
        for k in range(8):
            state[M + 8 * i + k] = 0
            state[M_REST + 8 * i + k] = 0
        for k in range(4):
            state[H + 4 * i + k] = 0
            state[H_REST + 4 * i + k] = 0
        state[VOLTAGE + i] = eq.V_START
        state[CALCIUM + i] = eq.CA_START
        state[V_REST + i] = 0
        state[CA_REST + i] = 0
        state[GATE + i] = START_GATE
        rows[ROW_START + i] = START_ROW
        state[X + i] = START_X
    state[CHOL + lane] = 0
    block.key0[lane], block.key1[lane] = seed_key(seed)


@njit(**EXACT)
def keep_history(trace):
    """Move the last samples of a chunk to where the next expects them."""
    last = STEPS * 3 * WIDTH
    for i in range(HISTORY * 3 * WIDTH):
        trace[i] = trace[last + i]


@njit(**EXACT)
def end_old_bursts(events, lane, now, plan):
    """End the bursts whose last spike lies a gap back: no later spike can belong to them."""
    for j in range(3):
        if events.first[lane, j] != NONE and now - LAG - events.last[lane, j] >= plan.gap:
            end_burst(events, lane, j, plan.threshold)


@njit(**EXACT)
def failed_periods(events, lane):
    """How many cycle periods are over and not triphasic, whatever comes.

    A period is judged when no burst that is under way began before its end, for then the bursts in
    it are final.
    """
    n = events.n_bursts[lane, 0]
    failed = 0
    for k in range(n - 1):
        begin, end = events.starts[lane, 0, k], events.starts[lane, 0, k + 1]
        good = True
        for j in range(1, 3):
            first = events.first[lane, j]
            if first != NONE and first < end:
                return failed
            count = events.n_bursts[lane, j]
            good = good and only_start(events.starts, lane, j, count, begin, end) >= 0
        failed += not good
    return failed


@njit(**EXACT)
def is_lost(events, lane, now, plan):
    """Whether a simulation is invalid for certain: more periods failed than 10 % of all can be.

    A further burst takes more than the threshold and a gap. Of the two bursts more than there is
    room for, one is under way, and one rounds up.
    """
    failed = failed_periods(events, lane)
    most = events.n_bursts[lane, 0] + (plan.end - now) // (plan.gap + plan.threshold) + 2
    return most - failed < TRIPHASIC * most


@njit(**EXACT)
def looks_hopeless(events, lane, plan):
    """Whether some neuron has begun no burst since the burn-in."""
    for j in range(3):
        first, last = events.first[lane, j], events.last[lane, j]
        under_way = first != NONE and last - first > plan.threshold
        if events.n_bursts[lane, j] == 0 and not under_way:
            return True
    return False


@njit(**EXACT)
def gives_up(events, block, lane, now, plan, weight):
    """Whether to give a simulation up after the chunk that ends at sample ``now``; its weight."""
    if plan.proof and now > plan.begin:
        end_old_bursts(events, lane, now, plan)
        if is_lost(events, lane, now, plan):
            return True, weight
    for k in range(len(plan.checks)):
        if now - STEPS < plan.checks[k] <= now and looks_hopeless(events, lane, plan):
            number = ROULETTE + np.uint32(k)
            if uniform(number, block.key0[lane], block.key1[lane]) > plan.survival[k]:
                return True, 0.0
            weight /= plan.survival[k]
    return False, weight


@njit(**EXACT)
def run(conductances, seeds, machine, plan, results):
    """Simulate every row of conductances (n, 31), and fill the results.

    x comes filled with NaN; the row of a simulation that is given up stays so.
    """
    n = len(conductances)
    block, events = machine.block, machine.events
    x, weights, steps, energy = results
    resident = np.full(WIDTH, IDLE)
    clock = np.zeros(WIDTH, np.int64)
    pairs = np.zeros(WIDTH, np.uint32)
    queued, busy = 0, 0
    while queued < n or busy > 0:
        for lane in range(WIDTH):
            if resident[lane] == IDLE and queued < n:
                load(block, machine.rows, lane, conductances[queued], seeds[queued])
                clear(events, lane)
                resident[lane], clock[lane] = queued, 0
                queued += 1
                busy += 1
            pairs[lane] = clock[lane] * 3 // 2
        if plan.noisy:
            draw_noise(block, machine.constants, pairs)
        if plan.energetic:
            advance_with_energy(block, machine.table, machine.constants)
        else:
            advance(block, machine.table, machine.constants)
        detect(events, block.trace, clock, plan)
        keep_history(block.trace)
        for lane in range(WIDTH):
            clock[lane] += STEPS
            i = resident[lane]
            if i == IDLE:
                continue
            if plan.energetic and plan.begin < clock[lane] <= plan.end:
                for j in range(3):
                    energy[i, j] += block.state[ENERGY + j * WIDTH + lane]
            over, weights[i] = gives_up(events, block, lane, clock[lane], plan, weights[i])
            if not over and clock[lane] >= plan.end:
                finish(events, lane, plan.end, plan.threshold)
                statistics(events, lane, plan.end, plan.dt, x[i])
                over = True
            if over:
                steps[i] = min(clock[lane], plan.end)
                resident[lane] = IDLE
                busy -= 1


@njit(**EXACT)
def only_steps(block, table, constants, chunks, noisy):
    """Run chunks of steps without looking at the traces, to measure what they cost."""
    pairs = np.zeros(WIDTH, np.uint32)
    for chunk in range(chunks):
        if noisy:
            pairs[:] = chunk * STEPS * 3 // 2
            draw_noise(block, constants, pairs)
        advance(block, table, constants)
