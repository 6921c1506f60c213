"""Memory and time of campaigns: both belong to the shard, neither to the campaign.

    python benchmarks/campaign_memory.py                        # up to 10 million, 5 GB of disk
    python benchmarks/campaign_memory.py --n 100000 1000000     # the same, smaller

The simulator is a stand-in as wide as the stomatogastric circuit: 31 parameters, 18 statistics,
next to no work, so that what is measured is this library. Each campaign runs in a process of its
own and writes to a folder that is removed afterwards. The second table is the time that running one
simulation costs beyond the simulation itself, by kind of simulator.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import lanternfish as lf
from lanternfish.simulation import campaign

PARAMETERS, STATISTICS = 31, 18
BYTES = 8 * (PARAMETERS + STATISTICS + 2) + 1  # of one stored simulation


def prior() -> lf.Prior:
    return lf.Prior(**{f"g{i}": lf.Uniform(0, 1 + i) for i in range(PARAMETERS)})


def outputs() -> list[str]:
    return [f"s{i}" for i in range(STATISTICS)]


def first_columns(theta: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    return theta[:, :STATISTICS] ** 2


def batch_model() -> lf.Model:
    return lf.Model(prior(), lf.BatchSimulator(first_columns, outputs()))


def in_jax(theta, key):
    import jax.numpy as jnp

    return jnp.stack([theta[f"g{i}"] ** 2 for i in range(STATISTICS)])


def in_python(theta, rng):
    return list(theta.values())[:STATISTICS]


def peak_megabytes() -> float:
    """Peak resident memory of this process (Linux: kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(n: int, shard_size: int, folder: str) -> None:
    """Run one campaign and print what it took, as JSON."""
    model = batch_model()
    lf.simulate(model, 2 * 4096, progress=False)  # compile the prior, fill the pools
    before, began = peak_megabytes(), time.perf_counter()
    store = campaign(model, n, store=folder, shard_size=shard_size, progress=False)
    seconds, after = time.perf_counter() - began, peak_megabytes()
    counted = sum(store.counts().values())
    again = time.perf_counter()
    campaign(model, n, store=folder, progress=False)
    print(
        json.dumps(
            {
                "before": before,
                "campaign": after,
                "again": peak_megabytes(),
                "seconds": seconds,
                "check": time.perf_counter() - again,
                "counted": counted,
            }
        )
    )


def memory_table(sizes: list[int], shard_size: int, where: str | None) -> None:
    print(f"shards of {shard_size:,} simulations, {shard_size * BYTES / 1e6:.1f} MB each\n")
    print(
        "| simulations | on disk (MB) | peak RSS (MB) | start (MB) | us/simulation | going on (s) |"
    )
    print("|---|---|---|---|---|---|")
    for n in sizes:
        folder = tempfile.mkdtemp(prefix="campaign-", dir=where)
        try:
            need = 1.1 * n * BYTES
            if shutil.disk_usage(folder).free < need:
                print(f"| {n:,} | left out: needs {need / 1e9:.1f} GB of disk | | | | |")
                continue
            got = measured(n, shard_size, folder)
            size = sum(p.stat().st_size for p in Path(folder, "c").iterdir())
        finally:
            shutil.rmtree(folder)
        assert got["counted"] == n
        pace = f"{got['seconds'] / n * 1e6:.1f} | {got['check']:.1f}"
        peak = max(got["campaign"], got["again"])
        print(
            f"| {n:,} | {size / 1e6:,.0f} | {peak:.0f} | {got['before']:.0f} | {pace} |", flush=True
        )


def measured(n: int, shard_size: int, folder: str) -> dict:
    arguments = ["--measure", str(n), "--shard-size", str(shard_size), "--where", f"{folder}/c"]
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def overhead_table() -> None:
    print("\n| kind | simulations | us/simulation beyond the simulator (wall, all cores) |")
    print("|---|---|---|")
    kinds = {
        "JAX": (lf.JaxSimulator(in_jax, outputs()), 100_000),
        "batch": (lf.BatchSimulator(first_columns, outputs()), 100_000),
        "Python": (lf.PythonSimulator(in_python, outputs()), 20_000),
    }
    for kind, (simulator, n) in kinds.items():
        model = lf.Model(prior(), simulator)
        lf.simulate(model, 2 * 4096, progress=False)
        began = time.perf_counter()
        lf.simulate(model, n, progress=False)
        print(f"| {kind} | {n:,} | {(time.perf_counter() - began) / n * 1e6:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--shard-size", type=int, default=4096)
    parser.add_argument("--where", help="folder for the temporary stores")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        measure(given.measure, given.shard_size, given.where)
        return
    memory_table(given.n, given.shard_size, given.where)
    overhead_table()


if __name__ == "__main__":
    main()
