"""Spikes, bursts and plateaus, found in the voltage traces while they are computed.

    smoothed V   Savitzky-Golay of order 3 over 21 samples: sum_k w_k V(i + k), with
                 w_k = (329 - 5 k^2) / 3059
    spike        a local maximum of the smoothed V above -10 mV
    burst        spikes less than 150 ms apart; kept if its first and last lie more than the
                 threshold apart
    plateau      an unbroken run of smoothed V above -30 mV; shorter runs than 5 ms play no role,
                 and so only those of at least ``RUN`` samples are kept

Only the events of a simulation are stored, never its trace. A neuron's smoothed V is computed where
its trace comes near -30 mV in the chunk or shortly before. The first and last 11 samples (0.3 ms)
of the trace, where the window of the filter is not full, are not searched.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from lanternfish.models.kernels import EXACT
from lanternfish.models.simd import fma, load8, maximum, store
from lanternfish.models.stg.kernel import HISTORY, LANES, STEPS, WIDTH, inline
from lanternfish.models.stg.table import aligned

F = np.float32
HALF = 10  # samples on either side of the smoothed one
EDGE = HALF + 1  # samples at either end of the trace that are not searched
NEAR = F(-36.0)  # mV; smoothing lifts no run of note above -30 mV from below this
SPIKE = F(-10.0)  # mV
PLATEAU = F(-30.0)  # mV
GAP = 150.0  # ms between two bursts
RUN = 180  # samples
NONE = -1

# Per (lane, neuron). first, last: samples of the burst under way. run: where a run began, or NONE.
Events = namedtuple(
    "Events", "spikes first last run n_bursts starts ends n_runs runs smoothed near"
)


def events(samples, dt):
    """Room for the events of ``WIDTH`` simulations of so many samples after the burn-in."""
    bursts = int(samples * dt / GAP) + 2
    return Events(
        *(np.zeros((WIDTH, 3), np.int64) for _ in range(5)),
        starts=np.zeros((WIDTH, 3, bursts), np.int64),
        ends=np.zeros((WIDTH, 3, bursts), np.int64),
        n_runs=np.zeros((WIDTH, 3), np.int64),
        runs=np.zeros((WIDTH, 3, samples // RUN + 2, 2), np.int64),
        smoothed=aligned((STEPS + 2) * LANES),
        near=aligned(3 * WIDTH),
    )


@njit(**EXACT)
def clear(events, lane):
    """Forget the events of a lane."""
    for j in range(3):
        events.spikes[lane, j] = 0
        events.n_bursts[lane, j] = 0
        events.n_runs[lane, j] = 0
        events.first[lane, j] = NONE
        events.last[lane, j] = NONE
        events.run[lane, j] = NONE


@inline
def weight(k):
    """Weight k of the Savitzky-Golay filter (Savitzky & Golay 1964)."""
    return F((329 - 5 * k * k) / 3059)


@njit(**EXACT)
def smooth(trace, i, smoothed):
    """Smooth row HISTORY - 12 and the STEPS + 1 after it, of the eight simulations at column i."""
    for n in range(STEPS + 2):
        row = HISTORY - 12 + n
        total = load8(trace, row * 3 * WIDTH + i) * weight(0)
        for k in range(1, HALF + 1):
            pair = load8(trace, (row - k) * 3 * WIDTH + i) + load8(trace, (row + k) * 3 * WIDTH + i)
            total = fma(pair, weight(k), total)
        store(smoothed, n * LANES, total)


@njit(**EXACT)
def highest(trace, near):
    """The highest voltage of every neuron in a chunk and its history."""
    for i in range(0, 3 * WIDTH, LANES):
        top = load8(trace, i)
        for row in range(1, HISTORY + STEPS):
            top = maximum(load8(trace, row * 3 * WIDTH + i), top)
        store(near, i, top)


@njit(**EXACT)
def end_burst(events, lane, j, threshold):
    """Keep the burst under way if it is long enough (samples)."""
    first, last = events.first[lane, j], events.last[lane, j]
    if first != NONE and last - first > threshold:
        n = events.n_bursts[lane, j]
        events.starts[lane, j, n] = first
        events.ends[lane, j, n] = last
        events.n_bursts[lane, j] = n + 1
    events.first[lane, j] = NONE


@njit(**EXACT)
def end_run(events, lane, j, sample):
    """Keep the run above -30 mV under way if it is long enough."""
    start = events.run[lane, j]
    if start != NONE and sample - start >= RUN:
        n = events.n_runs[lane, j]
        events.runs[lane, j, n, 0] = start
        events.runs[lane, j, n, 1] = sample
        events.n_runs[lane, j] = n + 1
    events.run[lane, j] = NONE


@njit(**EXACT)
def scan(events, lane, j, sample, plan):
    """Find the events of one neuron of one simulation; ``sample`` is that of smoothed row 0."""
    column = lane % LANES
    begin, end = plan.begin + EDGE - sample, plan.end - EDGE - sample
    for n in range(max(1, begin), min(STEPS + 1, end)):
        V = events.smoothed[n * LANES + column]
        if V > PLATEAU:
            if events.run[lane, j] == NONE:
                events.run[lane, j] = sample + n
            if (
                V > SPIKE
                and events.smoothed[(n - 1) * LANES + column] <= V
                and events.smoothed[(n + 1) * LANES + column] <= V
            ):
                spike = sample + n - 1  # as published: one sample towards the past
                if events.first[lane, j] == NONE or spike - events.last[lane, j] >= plan.gap:
                    end_burst(events, lane, j, plan.threshold)
                    events.first[lane, j] = spike
                events.last[lane, j] = spike
                events.spikes[lane, j] += 1
        elif events.run[lane, j] != NONE:
            end_run(events, lane, j, sample + n)


@njit(**EXACT)
def detect(events, trace, clock, plan):
    """Find the events of a chunk whose first sample is ``clock[lane]``."""
    highest(trace, events.near)
    for i in range(0, 3 * WIDTH, LANES):
        j, first = i // WIDTH, i % WIDTH
        smoothed = False
        for lane in range(first, first + LANES):
            if events.near[j * WIDTH + lane] > NEAR and clock[lane] + STEPS > plan.begin:
                if not smoothed:
                    smooth(trace, i, events.smoothed)
                    smoothed = True
                scan(events, lane, j, clock[lane] - 12, plan)


@njit(**EXACT)
def finish(events, lane, end, threshold):
    """End what is under way at the end of the trace."""
    for j in range(3):
        end_burst(events, lane, j, threshold)
        end_run(events, lane, j, end - EDGE)
