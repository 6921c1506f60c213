"""The Hodgkin-Huxley neuron compiled for a CPU (Numba), its statistics gathered on the way.

``LANES`` simulations advance together, in vectors of ``WIDTH``. Time goes in blocks of ``BLOCK``
samples: the block's noise is drawn, its voltages are computed into a buffer that stays in the
first-level cache, and its power sums are added to float64 totals. Within a block the powers are
taken about its first voltage, where float32 is enough; no trace is kept unless asked for.

A lane draws its noise from its own seed and never looks at its neighbours; a group that is not full
is filled up with copies. Nothing is compiled with fast-math. The result is therefore a function of
theta and seed alone, bit for bit, whatever the batch, the lane, the thread or the machine.
"""

# pyright: reportCallIssue=false
# Numba supplies the first argument of an intrinsic.

from collections import namedtuple

import numpy as np
from numba import njit

from lanternfish.models.hodgkin_huxley_equations import rest, step
from lanternfish.models.kernels import EXACT, fast_exp, normal_pair, seed_key
from lanternfish.models.simd import exclusive_or, load8, store, where_less, wrapping_add

F = np.float32
U = np.uint32

WIDTH = 8  # lanes of a vector
LANES = 16
BLOCK = 64  # samples; even, since noise comes in pairs
HISTORY = 2  # samples before a block that the search for maxima needs
PIVOT = -60.0  # mV; powers of V are summed about it
SPIKE_THRESHOLD = F(-10.0)  # mV

inline = njit(**EXACT, forceinline=True)

Protocol = namedtuple("Protocol", "current dt v_0 on late first last gap noisy")
Protocol.__doc__ = """What all simulations of a call share; times are sample numbers.

current: shape (samples,), float32, uA/cm2; entry i drives V from sample i to i + 1.
dt, v_0: float32, ms and mV.
on: the samples before it are rest; of those, the ones from ``late`` on are its last tenth.
first, last: the stimulus, from ``first`` up to and without ``last``.
gap: least distance of spikes.
noisy: whether sigma has any effect.
"""

Block = namedtuple("Block", "theta key0 key1 state noise trace early late stimulus spikes")


@njit(**EXACT)
def _allocate():
    """Memory of a group; index (quantity or sample, lane), the lane running fastest."""
    return Block(
        np.empty(8 * LANES, np.float32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(7 * LANES, np.float32),
        np.zeros(BLOCK * LANES, np.float32),
        np.zeros((HISTORY + BLOCK) * LANES, np.float32),
        np.empty(4 * LANES, np.float64),
        np.empty(4 * LANES, np.float64),
        np.empty(4 * LANES, np.float64),
        np.empty(2 * LANES, np.float32),
    )


@njit(**EXACT)
def _load(block, theta, seeds, start, protocol):
    """Parameters and keys of the group from row ``start`` on; all lanes at v_0, gates at rest."""
    noise_scale = (1.0 if protocol.noisy else 0.0) / np.sqrt(np.float64(protocol.dt))
    for k in range(LANES):
        row = min(start + k, len(theta) - 1)
        for j in range(5):
            block.theta[j * LANES + k] = theta[row, j]
        block.theta[5 * LANES + k] = -theta[row, 5]
        block.theta[6 * LANES + k] = theta[row, 6] * noise_scale
        block.theta[7 * LANES + k] = -theta[row, 7]
        block.key0[k], block.key1[k] = seed_key(seeds[row])
        block.state[k] = protocol.v_0
    for k in range(0, LANES, WIDTH):
        kinetics = load8(block.theta, 5 * LANES + k), load8(block.theta, 4 * LANES + k)
        _store_state(block.state, k, rest(load8(block.state, k), kinetics, fast_exp, where_less))


@inline
def _store_state(state, k, values):
    store(state, k, values[0])
    store(state, LANES + k, values[1])
    store(state, 2 * LANES + k, values[2])
    store(state, 3 * LANES + k, values[3])
    store(state, 4 * LANES + k, values[4])
    store(state, 5 * LANES + k, values[5])
    store(state, 6 * LANES + k, values[6])


@njit(**EXACT)
def _draw(block, sample):
    """Standard normals of BLOCK samples from ``sample`` on, of every lane."""
    for k in range(0, LANES, WIDTH):
        key0, key1 = load8(block.key0, k), load8(block.key1, k)
        counter = exclusive_or(key0, key0)  # zeros
        for pair in range(BLOCK // 2):
            one, two = normal_pair(wrapping_add(counter, U(sample // 2 + pair)), key0, key1)
            store(block.noise, 2 * pair * LANES + k, one)
            store(block.noise, (2 * pair + 1) * LANES + k, two)


@njit(**EXACT)
def _advance(block, current, dt):
    """Voltages of len(current) samples into the buffer; the state moves on by as many steps."""
    state, theta = block.state, block.theta
    for i in range(len(current)):
        for k in range(0, LANES, WIDTH):
            v = load8(state, k)
            store(block.trace, (HISTORY + i) * LANES + k, v)
            now = (
                v,
                load8(state, LANES + k),
                load8(state, 2 * LANES + k),
                load8(state, 3 * LANES + k),
                load8(state, 4 * LANES + k),
                load8(state, 5 * LANES + k),
                load8(state, 6 * LANES + k),
            )
            conductances = (
                load8(theta, k),
                load8(theta, LANES + k),
                load8(theta, 2 * LANES + k),
                load8(theta, 3 * LANES + k),
                load8(theta, 7 * LANES + k),
            )
            kinetics = load8(theta, 5 * LANES + k), load8(theta, 4 * LANES + k)
            drive = load8(theta, 6 * LANES + k) * load8(block.noise, i * LANES + k) + current[i]
            after = step(now, conductances, kinetics, drive, dt, fast_exp, where_less)
            _store_state(state, k, after)


@njit(**EXACT)
def _clear(block):
    block.early[:] = 0.0
    block.late[:] = 0.0
    block.stimulus[:] = 0.0
    block.spikes[:LANES] = F(0.0)
    block.spikes[LANES:] = F(1e9)  # samples since the last maximum: none yet


@njit(**EXACT)
def _sum_powers(sums, trace, start, stop):
    """Add the powers 1 to 4 of V - PIVOT over samples of the buffer to the sums.

    Within the block they are taken about its first voltage, in float32, where they lose nothing.
    """
    n = stop - start
    if n <= 0:
        return
    local = np.empty(4 * WIDTH, np.float32)
    for k in range(0, LANES, WIDTH):
        reference = load8(trace, (HISTORY + start) * LANES + k)
        one = two = three = four = reference - reference
        for i in range(start, stop):
            d = load8(trace, (HISTORY + i) * LANES + k) - reference
            square = d * d
            one = one + d
            two = two + square
            three = three + square * d
            four = four + square * square
        store(local, 0, one)
        store(local, WIDTH, two)
        store(local, 2 * WIDTH, three)
        store(local, 3 * WIDTH, four)
        for j in range(WIDTH):
            e = np.float64(trace[(HISTORY + start) * LANES + k + j]) - PIVOT
            a, b = np.float64(local[j]), np.float64(local[WIDTH + j])
            c, d4 = np.float64(local[2 * WIDTH + j]), np.float64(local[3 * WIDTH + j])
            sums[k + j] += a + n * e
            sums[LANES + k + j] += b + e * (2.0 * a + n * e)
            sums[2 * LANES + k + j] += c + e * (3.0 * b + e * (3.0 * a + n * e))
            sums[3 * LANES + k + j] += d4 + e * (4.0 * c + e * (6.0 * b + e * (4.0 * a + n * e)))


@njit(**EXACT)
def _count_spikes(spikes, trace, start, stop, gap):
    """Count local maxima above threshold at least ``gap`` samples after the one before."""
    for k in range(0, LANES, WIDTH):
        count, since = load8(spikes, k), load8(spikes, LANES + k)
        zero = count - count
        for i in range(start, stop):
            at = (HISTORY + i) * LANES + k
            before, v = load8(trace, at - LANES), load8(trace, at)
            maximum = where_less(v, before, 0.0, where_less(SPIKE_THRESHOLD, v, zero + 1.0, zero))
            maximum = where_less(load8(trace, at + LANES), v, maximum, zero)
            since = since + 1.0
            count = count + where_less(since, gap, zero, maximum)
            since = where_less(maximum, 0.5, since, zero)
        store(spikes, k, count)
        store(spikes, LANES + k, since)


@njit(**EXACT)
def _gather(block, protocol, sample, count):
    """Take ``count`` samples of the buffer, from number ``sample`` on, into sums and spikes."""
    on, first, last = protocol.on - sample, protocol.first - sample, protocol.last - sample
    late = protocol.late - sample
    _sum_powers(block.early, block.trace, 0, min(late, count))
    _sum_powers(block.late, block.trace, max(late, 0), min(on, count))
    _sum_powers(block.stimulus, block.trace, max(first, 0), min(last, count))
    # a maximum is known one sample later
    _count_spikes(block.spikes, block.trace, max(first, -1), min(last, count - 1), F(protocol.gap))
    for k in range(HISTORY * LANES):
        block.trace[k] = block.trace[count * LANES + k]


@njit(**EXACT)
def _finish(block, protocol, k, x):
    """The seven statistics of lane k."""
    n = protocol.last - protocol.first
    n_late = protocol.on - protocol.late
    late = block.late[k] / n_late
    late_square = block.late[LANES + k] / n_late
    mean = block.stimulus[k] / n
    two = block.stimulus[LANES + k] / n
    three = block.stimulus[2 * LANES + k] / n
    four = block.stimulus[3 * LANES + k] / n
    variance = two - mean * mean
    third = three - mean * (3.0 * two - 2.0 * mean * mean)
    fourth = four - mean * (4.0 * three - mean * (6.0 * two - 3.0 * mean * mean))
    x[0] = block.spikes[k] if np.isfinite(mean) else np.nan
    x[1] = PIVOT + (block.early[k] + block.late[k]) / protocol.on
    x[2] = np.sqrt(max(late_square - late * late, 0.0)) if np.isfinite(late) else np.nan
    x[3] = PIVOT + mean
    x[4] = variance
    x[5] = third / variance**1.5 if variance > 0 else np.nan
    x[6] = fourth / variance**2 if variance > 0 else np.nan


@njit(**EXACT)
def integrate(theta, seeds, protocol, x, voltages):
    """Simulate n parameter sets; their statistics and, where ``voltages`` has rows, their traces.

    Args:
        theta: (n, 8) float64.
        seeds: (n,) uint64.
        protocol: see ``Protocol``.
        x: (n, 7) float64, written.
        voltages: (n, samples) or (0, samples) float32, written.
    """
    block = _allocate()
    samples = len(protocol.current)
    for start in range(0, len(theta), LANES):
        lanes = min(LANES, len(theta) - start)
        _load(block, theta, seeds, start, protocol)
        _clear(block)
        for sample in range(0, samples, BLOCK):
            current = protocol.current[sample : sample + BLOCK]
            if protocol.noisy:
                _draw(block, sample)
            _advance(block, current, protocol.dt)
            for k in range(lanes if len(voltages) else 0):
                for i in range(len(current)):
                    voltages[start + k, sample + i] = block.trace[(HISTORY + i) * LANES + k]
            _gather(block, protocol, sample, len(current))
        for k in range(lanes):
            _finish(block, protocol, k, x[start + k])


@njit(**EXACT)
def measure(voltages, protocol, x):
    """The same statistics of traces from elsewhere: (n, samples) float32 to x (n, 7) float64."""
    block = _allocate()
    n, samples = voltages.shape
    for start in range(0, n, LANES):
        lanes = min(LANES, n - start)
        _clear(block)
        for sample in range(0, samples, BLOCK):
            count = min(BLOCK, samples - sample)
            for k in range(lanes):
                for i in range(count):
                    block.trace[(HISTORY + i) * LANES + k] = voltages[start + k, sample + i]
            _gather(block, protocol, sample, count)
        for k in range(lanes):
            _finish(block, protocol, k, x[start + k])


@njit(**EXACT)
def draw_noise(seeds, noise):
    """The standard normals of these seeds' simulations, (n,) uint64, into (n, samples) float32."""
    for row in range(len(seeds)):
        key0, key1 = seed_key(seeds[row])
        for i in range(noise.shape[1]):
            pair = normal_pair(U(i // 2), key0, key1)
            noise[row, i] = pair[i % 2]
