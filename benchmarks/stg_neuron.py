"""Single STG neurons a second on one core, and how long the whole grid of 2003 takes.

    python benchmarks/stg_neuron.py

CPU time of the best of a few repeats, compilation left out. ``--neurons`` sets how many rows of the
grid each repeat runs, spread evenly over it; ``--integrator jax`` measures the program for a GPU,
by wall-clock time.
"""

import argparse
import os
import time

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

import lanternfish as lf
from lanternfish.models.stg_neuron import BURN_IN, DT, DURATION, simulate, stg_neuron_levels
from lanternfish.models.stg_neuron.firing import FIRING


def best(function, repeats: int, clock) -> float:
    """Least seconds of a few calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", type=int, default=960)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--integrator", choices=("compiled", "jax"), default="compiled")
    given = parser.parse_args()
    clock = time.process_time if given.integrator == "compiled" else time.perf_counter
    for sweep in ("prinz2003", "goldman2001"):
        prior = lf.models.stg_neuron(sweep).prior
        grid = lf.Sweep(levels=stg_neuron_levels(sweep)).points(prior)
        rows = np.linspace(0, len(grid) - 1, given.neurons).astype(int)
        theta = np.concatenate([grid.rows(i, i + 1) for i in rows])

        def run(theta=theta, sweep=sweep):
            return simulate(theta, None, sweep=sweep, integrator=given.integrator)

        rate = given.neurons / best(run, given.repeats, clock)
        classes = np.bincount(run()[:, 0].astype(int), minlength=4) / given.neurons
        told = ", ".join(f"{n} {100 * c:.0f} %" for n, c in zip(FIRING, classes, strict=True))
        print(
            f"{sweep}: {rate:.0f} neurons a second ({BURN_IN + DURATION:.0f} ms at {DT} ms); "
            f"all {len(grid):,} take {len(grid) / rate / 60:.0f} minutes; {told}",
            flush=True,
        )


if __name__ == "__main__":
    main()
