"""The Hodgkin-Huxley neuron in JAX: differentiable in theta, on a GPU as on a CPU.

The steps are those of `hodgkin_huxley_equations`, in a scan of blocks of ``BLOCK`` samples. A
gradient stores one state of each and integrates the rest again.

The functions act on one parameter set; batch them with ``jax.vmap``. The spike count is piecewise
constant, so its gradient is 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.models.hodgkin_huxley_equations import rest, step

BLOCK = 128  # samples
SPIKE_THRESHOLD = -10.0  # mV


def statistics(theta: Array, protocol, noise: Array | None = None) -> Array:
    """The seven statistics of one parameter set, shape (7,); arguments as for ``voltage``."""
    return measure(voltage(theta, protocol, noise), protocol)


def voltage(theta: Array, protocol, noise: Array | None = None) -> Array:
    """Membrane potential (mV) at every sample, shape (samples,), of one parameter set (8,).

    Args:
        theta: in the order of ``hodgkin_huxley.PARAMETERS``.
        protocol: see `hodgkin_huxley_kernel.Protocol`.
        noise: standard normals, one for every sample, shape (samples,); none where left out.
    """
    conductances = theta[0], theta[1], theta[2], theta[3], -theta[7]
    kinetics = -theta[5], theta[4]
    dt = float(protocol.dt)
    drive = jnp.asarray(protocol.current, theta.dtype)
    if noise is not None and protocol.noisy:
        drive = drive + theta[6] / np.sqrt(dt) * noise
    samples = len(protocol.current)
    blocks = -(-samples // BLOCK)
    drive = jnp.pad(drive, (0, blocks * BLOCK - samples)).reshape(blocks, BLOCK)

    def one(state, drive):
        after = step(state, conductances, kinetics, drive, dt, jnp.exp, _where_less)
        return after, state[0]

    @jax.checkpoint
    def block(state, drive):
        return jax.lax.scan(one, state, drive)

    v_0 = float(protocol.v_0) + 0.0 * theta[0]
    start = rest(v_0, kinetics, jnp.exp, _where_less)
    return jax.lax.scan(block, start, drive)[1].reshape(-1)[:samples]


def _where_less(a, b, yes, no):
    return jnp.where(a < b, yes, no)


def measure(v: Array, protocol) -> Array:
    """The seven statistics of one trace (samples,), in the same definitions as the kernel's."""
    stimulus = v[protocol.first : protocol.last]
    mean = _mean(stimulus)
    d = stimulus - mean
    variance, third, fourth = _mean(d**2), _mean(d**3), _mean(d**4)
    late = v[protocol.late : protocol.on]
    return jnp.stack(
        [
            _spikes(v, protocol),
            _mean(v[: protocol.on]),
            jnp.sqrt(_mean((late - _mean(late)) ** 2)),
            mean,
            variance,
            third / variance**1.5,
            fourth / variance**2,
        ]
    )


def _mean(values: Array) -> Array:
    """Mean by sums of short rows, which keep float32's digits, about the first value."""
    rows = -(-len(values) // BLOCK)
    d = jnp.pad(values - values[0], (0, rows * BLOCK - len(values))).reshape(rows, BLOCK)
    return values[0] + jnp.sum(jnp.sum(d, axis=1)) / len(values)


def _spikes(v: Array, protocol) -> Array:
    """Local maxima above threshold in the stimulus, ``gap`` or more samples after the last."""
    v = jax.lax.stop_gradient(v)
    before, at, after = (v[protocol.first + k : protocol.last + k] for k in (-1, 0, 1))
    maximum = (at > SPIKE_THRESHOLD) & (at >= before) & (after < at)
    recent, reach = _later(maximum, 1), 1  # a maximum among the last ``reach`` samples
    while reach < protocol.gap - 1:
        more = min(reach, protocol.gap - 1 - reach)
        recent, reach = recent | _later(recent, more), reach + more
    return jnp.sum(maximum & ~recent).astype(v.dtype)


def _later(marks: Array, samples: int) -> Array:
    return jnp.pad(marks, (samples, 0))[: len(marks)]
