"""Events and statistics of ``events`` and ``statistics`` once more, in JAX, for a batch.

A chunk of the trace is much shorter than the gap between two bursts and than a long plateau, so at
most one burst and one long plateau of a neuron end in it: each is found by a minimum or a maximum
over the chunk, without a loop over its samples.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lanternfish.models.stg.events import EDGE, HALF, NONE, PLATEAU, RUN, SPIKE
from lanternfish.models.stg.kernel import HISTORY
from lanternfish.models.stg.statistics import (
    COUNTS,
    NAMES,
    PLATEAU_DEFAULT,
    PLATEAU_MIN,
    STRIDE,
    TRIPHASIC,
)

__all__ = ["COUNTS", "HISTORY", "NAMES", "Plan", "detect", "finish", "start", "statistics"]

WEIGHTS = [(329 - 5 * k * k) / 3059 for k in range(HALF + 1)]  # Savitzky & Golay (1964)
NEVER = 2**30


class Plan(NamedTuple):
    """Begin and end of the analysed trace, gap and threshold of bursts, in samples; dt in ms."""

    begin: int
    end: int
    gap: int
    threshold: int
    dt: float


class Events(NamedTuple):
    """Of each neuron: shape (3, n), and lists of shape (capacity, 3, n)."""

    spikes: jax.Array
    first: jax.Array
    last: jax.Array
    run: jax.Array
    n_bursts: jax.Array
    starts: jax.Array
    ends: jax.Array
    n_runs: jax.Array
    run_starts: jax.Array
    run_ends: jax.Array


def start(n: int, plan: Plan) -> Events:
    """No events."""
    samples = plan.end - plan.begin
    none = jnp.full((3, n), NONE, jnp.int32)
    zero = jnp.zeros((3, n), jnp.int32)
    bursts = jnp.zeros((samples // plan.gap + 2, 3, n), jnp.int32)
    runs = jnp.zeros((samples // RUN + 2, 3, n), jnp.int32)
    return Events(zero, none, none, none, zero, bursts, bursts, zero, runs, runs)


def append(values, count, where, value):
    """The lists with a value added at ``count`` where ``where``."""
    _, neurons, n = values.shape
    place = jnp.where(where, count, len(values))
    return values.at[place, jnp.arange(neurons)[:, None], jnp.arange(n)].set(value, mode="drop")


def end_bursts(events: Events, where, plan: Plan) -> Events:
    """Keep the bursts under way where they end, if they are long enough."""
    keep = where & (events.first != NONE) & (events.last - events.first > plan.threshold)
    return events._replace(
        starts=append(events.starts, events.n_bursts, keep, events.first),
        ends=append(events.ends, events.n_bursts, keep, events.last),
        n_bursts=events.n_bursts + keep,
        first=jnp.where(where, NONE, events.first),
    )


def end_runs(events: Events, where, sample) -> Events:
    """Keep the runs above -30 mV where they end, if they are long enough."""
    keep = where & (events.run != NONE) & (sample - events.run >= RUN)
    return events._replace(
        run_starts=append(events.run_starts, events.n_runs, keep, events.run),
        run_ends=append(events.run_ends, events.n_runs, keep, sample),
        n_runs=events.n_runs + keep,
        run=jnp.where(where, NONE, events.run),
    )


def smooth(trace, rows: int, first: int):
    """``rows`` smoothed rows of a trace, from row ``first`` on."""

    def shifted(k):
        return trace[first + k : first + k + rows]

    total = WEIGHTS[0] * shifted(0)
    for k in range(1, HALF + 1):
        total = total + WEIGHTS[k] * (shifted(k) + shifted(-k))
    return total


def detect(events: Events, trace, clock, plan: Plan) -> Events:
    """Find the events of a chunk; trace holds HISTORY samples before ``clock``, and the chunk."""
    steps = len(trace) - HISTORY
    V = smooth(trace, steps + 2, HISTORY - EDGE - 1)
    before, here, after = V[:-2], V[1:-1], V[2:]
    samples = (clock - EDGE + jnp.arange(steps, dtype=jnp.int32))[:, None, None]
    inside = (samples >= plan.begin + EDGE) & (samples < plan.end - EDGE)
    above = inside & (here > float(PLATEAU))
    spike = inside & (here > float(SPIKE)) & (here >= before) & (here >= after)
    events = add_spikes(events, spike, samples - 1, plan)
    return add_runs(events, above, samples)


def add_spikes(events: Events, spike, samples, plan: Plan) -> Events:
    earliest = jnp.min(jnp.where(spike, samples, NEVER), axis=0)
    latest = jnp.max(jnp.where(spike, samples, NONE), axis=0)
    some = latest != NONE
    new = some & ((events.first == NONE) | (earliest - events.last >= plan.gap))
    events = end_bursts(events, new, plan)
    return events._replace(
        spikes=events.spikes + jnp.sum(spike, axis=0, dtype=jnp.int32),
        first=jnp.where(new, earliest, events.first),
        last=jnp.where(some, latest, events.last),
    )


def add_runs(events: Events, above, samples) -> Events:
    below_first = jnp.min(jnp.where(above, NEVER, samples), axis=0)
    below_last = jnp.max(jnp.where(above, NONE, samples), axis=0)
    continuing = events.run
    events = end_runs(events, below_first < NEVER, below_first)
    since = jnp.where(below_last == NONE, samples[0], below_last + 1)
    still = (below_last == NONE) & (continuing != NONE)
    run = jnp.where(above[-1], jnp.where(still, continuing, since), NONE)
    return events._replace(run=run)


def finish(events: Events, plan: Plan) -> Events:
    """End what is under way at the end of the trace."""
    everywhere = jnp.ones_like(events.spikes, dtype=bool)
    events = end_bursts(events, everywhere, plan)
    return end_runs(events, everywhere, jnp.full_like(events.run, plan.end - EDGE))


def plateaus(events: Events, begin, end):
    """Each neuron's longest run in [begin, end), both (3, n), in samples, as published."""
    listed = jnp.arange(len(events.run_starts))[:, None, None] < events.n_runs
    first = jnp.maximum(events.run_starts, begin)
    last = jnp.minimum(events.run_ends, end)
    count = (last - 1 - begin) // STRIDE - (first - 1 - begin) // STRIDE
    length = jnp.where(listed & (first < last), (count + 1) * STRIDE, 0)
    longest = jnp.max(length, axis=0)
    return jnp.where(longest >= PLATEAU_MIN, longest, PLATEAU_DEFAULT)


def delays(events: Events):
    """Sums (4, n) over triphasic periods of ss, es to LP and to PY; how many; of how many."""
    starts, ends = events.starts, events.ends
    order = jnp.arange(len(starts))
    listed = order[:, None, None] < events.n_bursts
    begin, end = starts[:-1, 0], starts[1:, 0]
    period = order[1:, None] < events.n_bursts[0]
    found = []
    for j in (1, 2):
        within = (starts[None, :, j] >= begin[:, None]) & (starts[None, :, j] < end[:, None])
        within = within & listed[None, :, j]
        only = jnp.sum(within, axis=1) == 1
        begun = jnp.sum(jnp.where(within, starts[None, :, j], 0), axis=1)
        ended = jnp.sum(jnp.where(within, ends[None, :, j], 0), axis=1)
        found.append((only, begun, ended))
    (one_lp, lp, lp_end), (one_py, py, _) = found
    triphasic = period & one_lp & one_py
    each = jnp.stack([lp - begin, py - begin, lp - ends[:-1, 0], py - lp_end])
    return (
        jnp.sum(jnp.where(triphasic, each, 0), axis=1),
        jnp.sum(triphasic, axis=0),
        jnp.sum(period, axis=0),
    )


def statistics(events: Events, plan: Plan):
    """``NAMES`` and ``COUNTS`` of each simulation, shape (n, 25)."""
    capacity = len(events.starts)
    n = events.n_bursts
    order = jnp.arange(capacity)[:, None, None]
    listed = order < n
    following = jnp.roll(events.starts, -1, axis=0)
    until = jnp.where(order + 1 < n, following, plan.end)
    longest = lax.map(lambda block: plateaus(events, *block), (events.starts, until))
    above = jnp.sum(jnp.where(listed, longest, 0), axis=0)
    duration = jnp.sum(jnp.where(listed, events.ends - events.starts, 0), axis=0)
    d, plateau = duration / n * plan.dt, above / n * plan.dt  # 0 / 0 is NaN
    last = jnp.take_along_axis(events.starts[:, 0], jnp.maximum(n[:1] - 1, 0), axis=0)[0]
    T = jnp.where(n[0] > 1, (last - events.starts[0, 0]) / (n[0] - 1) * plan.dt, np.nan)
    total, triphasic, periods = delays(events)
    good = (periods > 0) & (triphasic >= TRIPHASIC * periods)
    ss_lp, ss_py, es_lp, es_py = jnp.where(good, total / triphasic * plan.dt, np.nan)
    delay = jnp.stack([ss_lp, ss_py - ss_lp, ss_py, es_lp, es_py])
    phases = jnp.stack([ss_lp, ss_py]) / T
    gaps = jnp.stack([es_lp, es_py]) / T
    rows = [T[None], d, d / T, phases, delay, gaps, plateau, n, events.spikes]
    return jnp.concatenate(rows).T
