"""CPU time of the models for emergent properties: one simulation, and one with its gradient.

Prior draws in one compiled batch, one thread; process CPU time, the least of several runs. For
comparison, measured elsewhere: the five-neuron circuit as a NumPy Euler map of 25 ms takes 0.35 ms
per simulation without gradient, the superior colliculus in NumPy 2.3 ms per 200 trials of both
tasks. The original EPI's steps of 200 simulations and gradients of the amplifying network, flow
included, took 8 ms at n = 2 and 20 s at n = 250, wall time on 32 cores.

    python benchmarks/epi_models.py [--repeats 5] [--only v1]
"""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import argparse
import time

import jax
import jax.numpy as jnp

from lanternfish import models
from lanternfish.core import Model, Named
from lanternfish.models.counter_noise import normals, words

CASES = {
    "stg_subcircuit": (models.stg_subcircuit, {}, 400),
    "stg_subcircuit, network": (models.stg_subcircuit, {"statistics": "network"}, 300),
    "stg_subcircuit, published": (models.stg_subcircuit, {"integrator": "published"}, 400),
    "v1, 100 trials": (models.v1, {}, 100),
    "superior_colliculus, 200 trials": (models.superior_colliculus, {}, 100),
    "gaussian_rnn": (models.gaussian_rnn, {}, 300),
    **{
        f"amplifying_rnn, n = {n}": (models.amplifying_rnn, {"n": n}, 200)
        for n in (2, 10, 50, 100, 250)
    },
}


def programs(model: Model):
    """Statistics of a batch, and statistics with the gradient of their sum."""
    names, function = model.prior.names, model.simulator.function

    def one(vector, key):
        return function(Named(vector, names), key)

    def with_gradient(vector, key):
        value, back = jax.vjp(lambda v: one(v, key), vector)
        return value, back(jnp.ones_like(value))[0]

    return jax.jit(jax.vmap(one)), jax.jit(jax.vmap(with_gradient))


def measure(program, arguments, repeats: int) -> tuple[float, float]:
    """CPU seconds of the first call, and the least of later ones."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        jax.block_until_ready(program(*arguments))
        times.append(time.process_time() - start)
    return times[0], min(times[1:])


def noise(repeats: int) -> tuple[float, float]:
    """ns of one standard normal drawn inside of a scan: from a counter, by JAX's generator."""

    def ours(key):
        stream = words(key)
        return jax.lax.scan(
            lambda c, i: (c + normals(stream, i, (400,)).sum(), None), 0.0, jnp.arange(200)
        )[0]

    def theirs(key):
        return jax.lax.scan(
            lambda c, k: (c + jax.random.normal(k, (400,)).sum(), None),
            0.0,
            jax.random.split(key, 200),
        )[0]

    keys = jax.random.split(jax.random.key(0), 100)
    found = [measure(jax.jit(jax.vmap(f)), (keys,), repeats)[1] for f in (ours, theirs)]
    return found[0] / 8e6 * 1e9, found[1] / 8e6 * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="models whose line begins so")
    options = parser.parse_args()
    print(f"{'':34}{'batch':>6}{'simulation':>14}{'with gradient':>16}{'first call':>13}")
    for name, (factory, arguments, batch) in CASES.items():
        if not name.startswith(options.only):
            continue
        model = factory(**arguments)
        theta = jnp.asarray(model.prior.sample(batch, seed=0).array, jnp.float32)
        given = theta, jax.random.split(jax.random.key(0), batch)
        plain, gradient = (measure(p, given, options.repeats) for p in programs(model))
        ms = [1e3 * least / batch for _, least in (plain, gradient)]
        first = plain[0] + gradient[0]
        print(f"{name:34}{batch:6}{ms[0]:11.3f} ms{ms[1]:13.3f} ms{first:11.1f} s", flush=True)
    if not options.only:
        ours, theirs = noise(options.repeats)
        print(f"\none standard normal: {ours:.1f} ns from a counter, {theirs:.1f} ns by threefry")


if __name__ == "__main__":
    main()
