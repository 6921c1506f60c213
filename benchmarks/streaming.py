"""Learning from more simulations than fit into memory.

    python benchmarks/streaming.py                          # both tables, some 25 minutes
    python benchmarks/streaming.py --campaign 100000 --pairs 1000000

First table: ``infer`` over a campaign of simulations of 100 statistics that are kept in a store,
each in a process of its own: peak memory, and what it is made of. Second table: training on pairs
in memory and on the same pairs mapped from a file, minibatches a second in the same process, in
turns; with ``--cold`` the file's pages are dropped from memory before each turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PARAMETERS, STATISTICS = 5, 100
_TURNS, _MINIBATCHES = 3, 500


def peak_megabytes() -> float:
    """Peak resident memory of this process (Linux: kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def model():
    import lanternfish as lf

    weights = np.random.default_rng(0).normal(size=(PARAMETERS, STATISTICS))

    def simulate(theta: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(int(seeds[0])).normal(size=(len(theta), STATISTICS))
        return np.tanh(theta @ weights) + 0.1 * noise

    prior = lf.Prior(**{f"p{i}": lf.Uniform(-1, 1) for i in range(PARAMETERS)})
    return lf.Model(prior, lf.BatchSimulator(simulate, [f"s{i}" for i in range(STATISTICS)]))


def campaign(n: int) -> None:
    """One line of JSON: what ``infer`` over n simulations took."""
    import lanternfish as lf

    start = peak_megabytes()
    held = model()
    target = lf.Observation(**{f"s{i}": 0.0 for i in range(STATISTICS)})
    method = lf.NPE(simulations=n, density="spline", members=1)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        run = lf.infer(held, target, method, store=folder, progress=False)
        taken = time.process_time() - began
    sd = float(np.mean(run.posterior.sample(1_000).array.std(axis=0)))
    found = {"n": n, "start": start, "peak": peak_megabytes(), "cpu": taken, "sd": sd}
    print(json.dumps(found))


def in_turns(n: int, cold: bool) -> None:
    """Minibatches a second, of pairs in memory and of pairs on disk."""
    from lanternfish import flows
    from lanternfish.inference.objectives import Pairs
    from lanternfish.inference.race import autoregressive
    from lanternfish.inference.training import Training, train_together

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{name}.npy") for name in ("z", "c", "weight")]
        whole = _pairs(n)
        for path, array in zip(paths, whole[:3], strict=True):
            np.save(path, array)
        start = flows.build(0, autoregressive(5), *whole[:2])
        # a part of an epoch, which goes through the file in windows of neighbouring rows
        batch, rng = 192, np.random.default_rng(1)
        part = min(_MINIBATCHES * batch, n)
        rates = {"memory": [], "disk": []}
        for turn in range(_TURNS + 1):
            at = int(rng.integers(n - part + 1))
            held = (np.arange(n) < at) | (np.arange(n) >= at + part)
            for where in rates:
                if where == "disk":
                    if cold:
                        _drop(paths)
                    pairs = Pairs(*(np.load(path, mmap_mode="r") for path in paths))
                else:
                    pairs = whole
                settings = Training(batch=batch, epochs=1)
                began = time.perf_counter()
                train_together([start], pairs, settings, seeds=[turn], held=held)
                if turn:  # the first turn compiles
                    rates[where].append(part // batch / (time.perf_counter() - began))
    memory, disk = (max(rates[where]) for where in ("memory", "disk"))
    print(f"{n:>12,}{memory:>14.0f}{disk:>14.0f}{disk / memory:>10.0%}")


def _pairs(n: int):
    from lanternfish.inference.objectives import Pairs

    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, 5), np.float32)
    c = rng.standard_normal((n, 10), np.float32)
    c[:, :5] += z
    return Pairs(z, c, np.ones(n, np.float32))


def _drop(paths) -> None:
    """Ask the kernel to forget the pages of files."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaign", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--pairs", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        campaign(given.one)
        return
    if given.campaign:
        print(f"{'simulations':>12}{'in bytes':>12}{'peak memory':>14}{'CPU time':>12}")
    for n in given.campaign:
        command = [sys.executable, __file__, "--one", str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        size = 8 * n * (PARAMETERS + STATISTICS) / 2**20
        print(
            f"{n:>12,}{size:>9.0f} MB{found['peak']:>11.0f} MB{found['cpu']:>10.0f} s", flush=True
        )
    if given.pairs:
        print(f"\n{'pairs':>12}{'memory':>14}{'disk':>14}{'share':>10}   minibatches a second")
    for n in given.pairs:
        in_turns(n, given.cold)


if __name__ == "__main__":
    main()
