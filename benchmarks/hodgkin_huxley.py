"""CPU time of one Hodgkin-Huxley simulation, Numba beside JAX.

120 ms at dt 0.01 ms (12,001 samples), prior draws, one thread; process CPU time per simulation,
the least and the median of several runs. References on other machines: the published Cython code
11.4 ms and 1.5 ms for its statistics; jaxley 0.252 ms at a batch of 512, without statistics.

    python benchmarks/hodgkin_huxley.py [--batch 512] [--repeats 7] [--recording FILE.nwb]
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
import numpy as np

from lanternfish.models import hodgkin_huxley_jax
from lanternfish.models.hodgkin_huxley import (
    STEP,
    prior,
    simulate,
    simulate_jax,
    standard_normals,
    voltage,
)
from lanternfish.models.recordings import read_nwb


def processor() -> str:
    """Name of the processor and what matters of its instruction sets."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = dict(line.split(":", 1) for line in file.read().splitlines() if ":" in line)
    except OSError:
        return "unknown processor"
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    wide = [flag for flag in ("avx2", "fma", "avx512f") if flag in fields.get("flags", "").split()]
    numbers = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
    return f"{fields.get('model name', 'unknown')}, {numbers}, {' '.join(wide)}"


def measure(run, batch: int, repeats: int) -> tuple[float, float, float]:
    """CPU seconds of the first call; least and median ms of one simulation in later ones."""
    start = time.process_time()
    run()
    first = time.process_time() - start
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append((time.process_time() - start) / batch * 1e3)
    return first, min(times), float(np.median(times))


def cases(batch: int):
    """Name and function of each line of the table."""
    theta = np.random.default_rng(0).uniform(prior.low, prior.high, (batch, 8))
    seeds = np.arange(batch, dtype=np.uint64)
    normals = jnp.asarray(standard_normals(seeds, len(STEP.current)))
    theta_32 = jnp.asarray(theta, jnp.float32)
    quiet, noisy = STEP.protocol(noise=False), STEP.protocol()

    def jitted(function):
        compiled = jax.jit(jax.vmap(function))
        return lambda *given: compiled(*given).block_until_ready()

    bare = jitted(lambda t: hodgkin_huxley_jax.voltage(t, quiet))
    bare_noise = jitted(lambda t, z: hodgkin_huxley_jax.voltage(t, noisy, z))
    whole = jitted(lambda t: simulate_jax(t))
    whole_noise = jitted(lambda t, z: simulate_jax(t, z))
    yield "Numba, statistics and noise", lambda: simulate(theta, seeds)
    yield "Numba, statistics", lambda: simulate(theta, seeds, noise=False)
    yield "Numba, statistics, noise and traces", lambda: voltage(theta, seeds)
    yield "JAX, statistics and given noise", lambda: whole_noise(theta_32, normals)
    yield "JAX, statistics", lambda: whole(theta_32)
    yield "JAX, traces and given noise", lambda: bare_noise(theta_32, normals)
    yield "JAX, traces", lambda: bare(theta_32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--recording", help="NWB file: time simulations of its current, too")
    options = parser.parse_args()
    print(f"{processor()}\nbatch of {options.batch}, {options.repeats} runs, one thread\n")
    print(f"{'':38}{'first call':>12}{'least':>10}{'median':>10}")
    rows = list(cases(options.batch))
    if options.recording:
        stimulus = read_nwb(options.recording).stimulus()
        theta = prior.sample(options.batch, seed=0).array
        seeds = np.arange(options.batch, dtype=np.uint64)
        label = f"Numba, {len(stimulus.current):,} samples of a cell"
        rows.append((label, lambda: simulate(theta, seeds, stimulus=stimulus)))
    for name, run in rows:
        first, least, median = measure(run, options.batch, options.repeats)
        print(f"{name:38}{first:10.2f} s{least:7.3f} ms{median:7.3f} ms", flush=True)
    print("\nThe first call compiles, or loads what an earlier process has compiled (Numba).")


if __name__ == "__main__":
    main()
