"""Statistics of a pyloric rhythm, from the bursts and plateaus of its three neurons.

    T        cycle period (ms): mean interval between starts of AB/PD bursts
    d        burst duration (ms): mean over bursts of last minus first spike;  duty cycle d / T
    period   from one start of an AB/PD burst to the next; triphasic if LP and PY start one each
    ss, es   start-to-start and end-to-start delays (ms): means over triphasic periods
    phase    ss(AB/PD, X) / T;  phase gap es / T
    plateau  (ms): mean over bursts of the longest run of smoothed V above -30 mV between the
             burst's start and the next one's (the last one: the end of the trace)

Unless 90 % of the periods are triphasic, delays, gaps and phases are NaN; period, durations and
plateaus may still be finite. A simulation is valid if no statistic is NaN. Plateaus are measured on
every tenth sample, and counted from the sample before to the sample after; where fewer than 200
samples (5 ms) come out, the code that made the published data sets 2.5 ms (the paper says 5 ms).

References: Gonçalves et al., eLife 9, e56261 (2020), Methods "Summary statistics"; Prinz, Bucher &
Marder (2004); as the published code computes them.
"""

import numpy as np
from numba import njit

from lanternfish.models.kernels import EXACT

NAMES = (
    "cycle_period",
    "duration_AB",
    "duration_LP",
    "duration_PY",
    "duty_cycle_AB",
    "duty_cycle_LP",
    "duty_cycle_PY",
    "phase_LP",
    "phase_PY",
    "start_AB_to_start_LP",
    "start_LP_to_start_PY",
    "start_AB_to_start_PY",
    "end_AB_to_start_LP",
    "end_LP_to_start_PY",
    "phase_gap_AB_LP",
    "phase_gap_LP_PY",
    "plateau_AB",
    "plateau_LP",
    "plateau_PY",
)
COUNTS = ("bursts_AB", "bursts_LP", "bursts_PY", "spikes_AB", "spikes_LP", "spikes_PY")
SIZE = len(NAMES) + len(COUNTS)

TRIPHASIC = 0.9  # of the periods
STRIDE = 10  # samples
PLATEAU_MIN = 200  # samples
PLATEAU_DEFAULT = 100  # samples


@njit(**EXACT)
def only_start(starts, lane, j, n, begin, end):
    """The index of neuron j's one burst that starts in [begin, end), or -1: none, or another."""
    found = -1
    for k in range(n):
        if begin <= starts[lane, j, k] < end:
            if found >= 0:
                return -1
            found = k
    return found


@njit(**EXACT)
def plateau(events, lane, j, begin, end):
    """Neuron j's longest run in [begin, end), in samples, as published."""
    longest = 0
    for k in range(events.n_runs[lane, j]):
        first = max(events.runs[lane, j, k, 0], begin)
        last = min(events.runs[lane, j, k, 1], end)
        if first < last:
            count = (last - 1 - begin) // STRIDE - (first - 1 - begin) // STRIDE
            longest = max(longest, (count + 1) * STRIDE)
    return longest if longest >= PLATEAU_MIN else PLATEAU_DEFAULT


@njit(**EXACT)
def neuron(events, lane, j, end, dt, x):
    """Duration, plateau and counts of one neuron."""
    n = events.n_bursts[lane, j]
    duration, above = 0, 0
    for k in range(n):
        start = events.starts[lane, j, k]
        until = events.starts[lane, j, k + 1] if k + 1 < n else end
        duration += events.ends[lane, j, k] - start
        above += plateau(events, lane, j, start, until)
    x[1 + j] = duration / n * dt  # 0 / 0 is NaN
    x[16 + j] = above / n * dt
    x[19 + j] = n
    x[22 + j] = events.spikes[lane, j]


@njit(**EXACT)
def delays(events, lane, dt, x):
    """The delays between neurons, means over the triphasic periods, or NaN."""
    starts, ends, n = events.starts, events.ends, events.n_bursts
    periods = n[lane, 0] - 1
    triphasic, ss_lp, ss_py, es_lp, es_py = 0, 0, 0, 0, 0
    for k in range(periods):
        begin, end = starts[lane, 0, k], starts[lane, 0, k + 1]
        i = only_start(starts, lane, 1, n[lane, 1], begin, end)
        j = only_start(starts, lane, 2, n[lane, 2], begin, end)
        if i >= 0 and j >= 0:
            triphasic += 1
            ss_lp += starts[lane, 1, i] - begin
            ss_py += starts[lane, 2, j] - begin
            es_lp += starts[lane, 1, i] - ends[lane, 0, k]
            es_py += starts[lane, 2, j] - ends[lane, 1, i]
    scale = dt / triphasic
    if periods < 1 or triphasic < TRIPHASIC * periods:
        scale = np.nan
    x[9] = ss_lp * scale
    x[10] = (ss_py - ss_lp) * scale
    x[11] = ss_py * scale
    x[12] = es_lp * scale
    x[13] = es_py * scale


@njit(**EXACT)
def statistics(events, lane, end, dt, x):
    """Write the statistics ``NAMES`` and ``COUNTS`` of one simulation to x, of shape (25,)."""
    for j in range(3):
        neuron(events, lane, j, end, dt, x)
    n = events.n_bursts[lane, 0]
    between = events.starts[lane, 0, n - 1] - events.starts[lane, 0, 0] if n > 1 else 0
    x[0] = between / (n - 1) * dt if n > 1 else np.nan
    delays(events, lane, dt, x)
    for j in range(3):
        x[4 + j] = x[1 + j] / x[0]
    x[7] = x[9] / x[0]
    x[8] = x[11] / x[0]
    x[14] = x[12] / x[0]
    x[15] = x[13] / x[0]
