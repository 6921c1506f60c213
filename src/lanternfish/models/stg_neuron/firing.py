"""Statistics of one neuron from the times of its spikes.

    silent 0      at most one spike
    tonic 1       intervals of coefficient of variation (CV) of at most 0.3
    bursting 2    sorted intervals have a gap of a factor of 2 or more that splits them into those
                  within bursts and those between; at least two between, at least half as many
                  within; from burst start to burst start CV <= 0.3
    irregular 3   all else

A spike is a rise of V through -10 mV. Period, duration and spikes of bursts are means over whole
bursts, those with an interval between bursts on either side; NaN where a neuron does not burst.
"""

import numpy as np
from numba import njit

from lanternfish.models.kernels import EXACT

NAMES = ("firing", "rate", "interval_cv", "period", "burst_duration", "duty_cycle", "burst_spikes")
FIRING = ("silent", "tonic", "bursting", "irregular")
SILENT, TONIC, BURSTING, IRREGULAR = range(4)
REGULAR = 0.3
APART = 2.0
SPIKE = -10.0  # mV


@njit(**EXACT)
def variation(values):
    """Standard deviation over mean."""
    mean = np.mean(values)
    return np.sqrt(np.mean((values - mean) ** 2)) / mean


@njit(**EXACT)
def limit(intervals):
    """The longest interval within bursts, or -1 where sorted intervals have no gap."""
    ordered = np.sort(intervals)
    widest, best = -1, 0.0
    for k in range(len(ordered) - 1):
        factor = ordered[k + 1] / ordered[k]
        if factor > best:
            best, widest = factor, k
    return ordered[widest] if best >= APART else -1.0


@njit(**EXACT)
def statistics(times, duration, x):
    """Write ``NAMES`` of spikes at rising times (ms), seen for ``duration`` ms, to x (7,)."""
    n = len(times)
    x[:] = np.nan
    x[0], x[1], x[2] = SILENT, n / duration * 1e3, 0.0
    if n < 2:
        return
    intervals = np.diff(times)
    x[0], x[2] = IRREGULAR, variation(intervals)
    if len(intervals) < 2:
        return
    if x[2] <= REGULAR:
        x[0] = TONIC
        return
    within = limit(intervals)
    if within < 0:
        return
    between = np.flatnonzero(intervals > within)
    starts = times[between + 1]
    few = len(between) < 2 or len(between) > 2 * (len(intervals) - len(between))
    if few or variation(np.diff(starts)) > REGULAR:
        return
    x[0] = BURSTING
    bursts = len(between) - 1
    x[3] = (starts[-1] - starts[0]) / bursts
    total, spikes = 0.0, 0
    for k in range(bursts):
        total += times[between[k + 1]] - starts[k]
        spikes += between[k + 1] - between[k]
    x[4] = total / bursts
    x[5] = x[4] / x[3]
    x[6] = spikes / bursts
