"""EPI with its defaults on the linear system, five seeds, beside the exact optimum.

    python benchmarks/epi --results FOLDER                   # both properties, five seeds
    python benchmarks/epi --results FOLDER --sds 0.5 --seeds 0

Every cell is a fresh process on one core with one thread, from import to the judged result,
compilation included; --warm keeps compiled programs between cells. What the results folder holds
already is not run again. Exact entropies (nats): Newton's method on the dual over 2^23 Sobol
points, two scrambles that agree to 3e-4.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from alone import ONE_THREAD
from cells import EXACT, MOMENTS

_HERE = Path(__file__).parent


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/epi",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, required=True, help="folder to keep results in")
    parser.add_argument("--sds", type=float, nargs="+", default=[0.25, 0.5], choices=list(EXACT))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--method", default="EPI()", help="such as 'EPI(members=2)'")
    parser.add_argument("--warm", action="store_true", help="keep compiled programs between cells")
    parser.add_argument("--core", type=int, default=0)
    return parser.parse_args()


def run(sd: float, seed: int, given: argparse.Namespace) -> dict:
    """One cell in a process of its own, or what is kept of it."""
    kept = given.results / f"{given.method}-{sd:g}-{seed}{'-warm' if given.warm else ''}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as cold:
            cache = given.results / "compiled" if given.warm else Path(cold)
            environment = os.environ | {
                "XLA_FLAGS": ONE_THREAD,
                "XDG_CACHE_HOME": str(cache.resolve()),
            }
            words = ["--sd", str(sd), "--seed", str(seed), "--method", given.method]
            pinned = ["taskset", "-c", str(given.core), sys.executable, str(_HERE / "cells.py")]
            out = subprocess.run(
                [*pinned, *words], env=environment, check=True, capture_output=True, text=True
            )
        kept.write_text(out.stdout.splitlines()[-1])
    return json.loads(kept.read_text())


def line(sd: float, seed: int, cell: dict) -> str:
    """One row of the table."""
    moments = " ".join(f"{100 * cell[name]:6.1f}" for name in MOMENTS)
    interval = f"[{cell['low']:.3f}, {cell['high']:.3f}]" if cell["low"] is not None else "unknown"
    return (
        f"{sd:5g} {seed:4d} {cell['entropy']:8.3f} {EXACT[sd]:8.4f} {interval:>16} {moments} "
        f"{100 * cell['share']:6.1f} {'yes' if cell['converged'] else 'no':>4} {cell['cpu_s']:6.0f}"
    )


def main() -> None:
    given = options()
    given.results.mkdir(parents=True, exist_ok=True)
    print(
        "   sd seed        H      H*      certificate   errors in % of the wanted sd    mode     "
        "      CPU\n                                                mean   sd   mean   sd      "
        "      share %   ok     s\n"
        "                                               growth rate   frequency"
    )
    for sd in given.sds:
        for seed in given.seeds:
            print(line(sd, seed, run(sd, seed, given)), flush=True)


if __name__ == "__main__":
    main()
