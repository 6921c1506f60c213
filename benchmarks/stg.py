"""CPU time of one pyloric simulation (11 s at dt 0.025 ms) on one core.

    python benchmarks/stg.py

Each line is the best of a few repeats; compilation is left out, and stands in a line of its own.
``--simulations`` sets how many prior draws each repeat runs.
"""

import argparse
import os
import platform
import subprocess
import sys
import time

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np

from lanternfish.models.stg import compiled, kernel, prior
from lanternfish.models.stg.statistics import NAMES

COLD = """
import time
import numpy as np
from lanternfish.models.stg import simulate
start = time.process_time()
simulate(np.zeros((1, 31)), [0], t_max=1010)
print(time.process_time() - start)
"""


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor()
    flags = next(v for k, v in lines.items() if k.strip() == "flags")
    widest = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "SSE"
    name = next(v for k, v in lines.items() if k.strip() == "model name").strip()
    return f"{name} ({widest})"


def best(function, repeats: int) -> float:
    """Least CPU seconds of a few calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def line(what: str, seconds: float, n: int) -> None:
    print(f"{what:<58} {seconds / n * 1e3:8.2f} ms {n / seconds:9.1f} /s", flush=True)


def integration(theta, seeds, noise: bool):
    """Steps and nothing else: the chunks of the trace are overwritten unseen."""
    block = kernel.block()
    ints = block.state.view(np.int32)
    conductances = compiled.conductances(theta, 283.0)
    table = compiled.table(compiled.DT, 283.0)
    constants = kernel.constants(compiled.DT, 283.0, noise)
    chunks = round(compiled.T_MAX / compiled.DT) // kernel.STEPS

    def run():
        for start in range(0, len(theta), kernel.WIDTH):
            for lane in range(kernel.WIDTH):
                i = start + lane
                compiled.integrate.load(block, ints, lane, conductances[i], seeds[i])
            compiled.integrate.only_steps(block, table, constants, chunks, noise)

    return run


def baseline(theta, seeds, steps: int):
    """The step written as JAX's lax.scan, exponentials evaluated in place, no statistics."""
    from lanternfish.models.stg import jax_scan

    def run():
        np.asarray(jax_scan.voltage(theta, seeds, steps))

    return run


def compile_seconds() -> float:
    """CPU seconds of a first call in a fresh process with an empty cache."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", COLD]
        done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    n, repeats = options.simulations // kernel.WIDTH * kernel.WIDTH, options.repeats
    theta, seeds = prior.sample(n, seed=1).array, np.arange(n, dtype=np.uint64)
    print(processor())
    for noise in (False, True):
        seconds = best(integration(theta, seeds, noise), repeats)
        line(f"integration{', noise' if noise else ''}", seconds, n)
    full = compiled.plan_of(compiled.T_MAX, 40.0, True, False)
    seconds = best(lambda: compiled.run(theta, seeds, full, 283.0), repeats)
    line("integration, noise and statistics", seconds, n)
    for what, plan in (
        ("the same, given up by proof", full._replace(proof=True)),
        (
            "the same, given up by proof and roulette",
            compiled.plan_of(compiled.T_MAX, 40, True, True),
        ),
    ):
        x, weights, steps, _ = compiled.run(theta, seeds, plan, 283.0)
        seconds = best(lambda plan=plan: compiled.run(theta, seeds, plan, 283.0), repeats)
        line(what, seconds, n)
        valid = ~np.isnan(x[:, : len(NAMES)]).any(axis=1)
        print(
            f"    steps done {steps.mean() / 440_000:.1%}, valid {valid.sum()}, "
            f"weighted valid {weights[valid].sum() / n:.2%}, mean weight {weights.mean():.2f}"
        )
    few, steps = 256, 4_000
    seconds = best(baseline(theta[:few], seeds[:few], steps), repeats) * (440_000 / steps)
    line(f"JAX lax.scan, {few} at once, noise, no statistics", seconds, min(few, n))
    print(f"{'compilation, empty cache':<58} {compile_seconds():8.1f} s")


if __name__ == "__main__":
    main()
