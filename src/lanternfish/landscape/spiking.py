"""How a neuron fires: silent, tonic, bursting or irregular, from the times of its spikes.

With intervals I between spikes, and CV = standard deviation over mean,

    silent      at most one spike
    tonic       CV(I) <= 0.3
    bursting    sorted intervals have a gap of a factor of 2 or more, and the largest one splits
                them into those within bursts and those between; at least two between, at least
                half as many within; from burst start to burst start CV <= 0.3
    irregular   all else

The classes are those of Goldman, Golowasch, Marder & Abbott (2001), J. Neurosci. 21:5229, and of
Prinz, Billimoria & Marder (2003), J. Neurophysiol. 90:3998; the rules that tell them apart are this
module's, and bear the noise that those papers' deterministic neurons do not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lanternfish.core import Traces

FIRING = ("silent", "tonic", "bursting", "irregular")
REGULAR = 0.3  # coefficient of variation up to which intervals count as equal
APART = 2.0  # factor between intervals within and between bursts


def firing(times) -> str:
    """The class of one neuron, out of ``FIRING``.

    >>> firing([0, 10, 20, 100, 110, 120, 200, 210, 220])
    'bursting'

    Args:
        times: of its spikes, rising, in any unit.

    Raises:
        ValueError: if the times do not rise.
    """
    spikes = np.asarray(times, np.float64)
    if spikes.ndim != 1 or not np.all(np.diff(spikes) > 0):
        raise ValueError("Expected rising times of spikes, a list of numbers; got others.")
    if len(spikes) < 2:
        return "silent"
    intervals = np.diff(spikes)
    if len(intervals) < 2:
        return "irregular"
    if _variation(intervals) <= REGULAR:
        return "tonic"
    ordered = np.sort(intervals)
    factors = ordered[1:] / ordered[:-1]
    widest = int(np.argmax(factors))
    if factors[widest] < APART:
        return "irregular"
    between = intervals > ordered[widest]
    starts = spikes[1:][between]
    enough = 2 <= between.sum() <= 2 * (~between).sum()
    return "bursting" if enough and _variation(np.diff(starts)) <= REGULAR else "irregular"


def _variation(intervals: np.ndarray) -> float:
    return float(np.std(intervals) / np.mean(intervals))


def spikes(time, voltage, threshold: float = -10.0) -> np.ndarray:
    """Times at which a voltage (t,) rises through a threshold, between samples, (number,)."""
    time, voltage = np.asarray(time, np.float64), np.asarray(voltage, np.float64)
    if voltage.shape != time.shape or time.ndim != 1:
        raise ValueError(
            f"Expected a voltage of the times' shape, {time.shape}; got {voltage.shape}."
        )
    above = voltage >= threshold
    rows = np.flatnonzero(~above[:-1] & above[1:] & np.isfinite(voltage[:-1]))
    share = (threshold - voltage[rows]) / (voltage[rows + 1] - voltage[rows])
    return time[rows] + share * (time[rows + 1] - time[rows])


def firing_of(traces: Traces, threshold: float = -10.0) -> np.ndarray:
    """Class of every channel of every trace, (n, channels) of text.

    Args:
        traces: voltages, longer than the rhythms that are looked for.
        threshold: of a spike, in the traces' unit.
    """
    values = np.asarray(traces.values)
    found = [[firing(spikes(traces.time, v, threshold)) for v in circuit] for circuit in values]
    return np.array(found, dtype=object).reshape(len(values), len(traces.channels)).astype(str)


def known_firing(labels: Sequence[str]) -> bool:
    """Whether all labels are classes of firing."""
    return set(labels) <= set(FIRING)
