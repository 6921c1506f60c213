"""Six benchmark tasks: C2ST and CPU seconds, beside sbi's and the published ones.

    benchmarks/peers/setup.sh                      # once: the peers' environment
    python benchmarks/sbibm --results FOLDER       # 10,000 simulations, one round, with the peer

Every cell is a fresh process on one core with one thread, from import to 10,000 samples,
compilation included (``--warm`` runs ours a second time with what the first compiled). What the
results folder holds already is not run again: it can be interrupted, and repeated with more. The
means are over observations 1 to 3; published is NPE for one round, and for several the best of
eight algorithms. C2ST is computed in the peers' environment, which has scikit-learn.

    python benchmarks/sbibm --results FOLDER --tasks slcp --rounds 10 --peer nsf-tsnpe nsf-apt
    python benchmarks/sbibm --results FOLDER --tasks two_moons --seeds 0 1 2 3 4 --no-peer
    python benchmarks/sbibm --results FOLDER --method NPE 'NPE(density="maf")' --no-peer
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from pathlib import Path

import stored
from process import run_pinned
from results import Cell, Results, table

TASKS = (
    "two_moons",
    "slcp",
    "gaussian_linear",
    "gaussian_linear_uniform",
    "gaussian_mixture",
    "bernoulli_glm",
)
PEERS = Path(__file__).parents[1] / ".peers" / "sbi" / "bin" / "python"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/sbibm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, required=True, help="folder to keep results in")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--budgets", type=int, nargs="+", default=[10_000])
    parser.add_argument("--rounds", type=int, nargs="+", default=[1])
    parser.add_argument("--observations", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--method", nargs="*", default=["NPE"], help="ours, such as NPE or NLE")
    parser.add_argument("--peer", nargs="*", default=["nsf"], help="nsf, maf, nsf-tsnpe, nsf-apt")
    parser.add_argument("--no-peer", dest="peer", action="store_const", const=[])
    parser.add_argument("--peer-python", type=Path, default=PEERS)
    parser.add_argument("--warm", action="store_true", help="report ours with programs compiled")
    parser.add_argument("--no-c2st", action="store_true", help="measure time alone")
    parser.add_argument("--core", type=int, default=0)
    return parser.parse_args()


def cells(given: argparse.Namespace) -> list[Cell]:
    """All cells asked for, a peer's after ours, so that they are measured in the same run."""
    found = []
    who = [("ours", m, given.warm) for m in given.method] + [("sbi", p, False) for p in given.peer]
    grid = itertools.product(given.tasks, given.budgets, given.rounds, given.seeds)
    for task, budget, rounds, seed in grid:
        for name, method, warm in who:
            amortised = rounds == 1 and not method.startswith("NLE")
            groups = (
                [tuple(given.observations)] if amortised else [(n,) for n in given.observations]
            )
            found += [Cell(name, task, g, budget, rounds, method, seed, warm) for g in groups]
    return found


def run(cell: Cell, results: Results, peer_python: Path, core: int) -> None:
    """Run a cell in a process of its own and keep what it took."""
    out = results.samples(cell)
    arguments = ["--task", cell.task, "--budget", cell.budget, "--rounds", cell.rounds]
    arguments += ["--method", cell.method, "--seed", cell.seed, "--out", out]
    arguments += ["--observations", *cell.observations]
    if cell.who == "sbi":
        cost = run_pinned(str(peer_python), "peer_sbi.py", arguments, core)
    else:
        with tempfile.TemporaryDirectory() as cache:
            for _ in range(2 if cell.warm else 1):
                cost = run_pinned(sys.executable, "ours.py", arguments, core, XDG_CACHE_HOME=cache)
    results.add_cost(cell, cost)


def judge(cell: Cell, results: Results, peer_python: Path, core: int) -> None:
    """Compute the C2ST that a cell still lacks, and keep each as it comes."""
    for number in cell.observations:
        if number not in results.c2st.get(cell.key, {}):
            arguments = [results.samples(cell), "--task", cell.task, "--observations", number]
            (line,) = run_pinned(str(peer_python), "c2st.py", arguments, core)
            results.add_c2st(cell, **line)


def told(cell: Cell, results: Results) -> str:
    """One line on a cell that is done."""
    cost, c2st = results.costs[cell.key], results.c2st.get(cell.key, {})
    values = " ".join(f"{c2st[n]:.3f}" for n in cell.observations if n in c2st)
    return f"{cell.key:<64}{cost['cpu_s']:8.1f} s CPU  C2ST {values}"


def main() -> None:
    given = options()
    os.environ["LANTERNFISH_DATA"] = str(stored.folder().parent.resolve())
    given.peer_python = given.peer_python.absolute()
    needed = bool(given.peer) or not given.no_c2st
    if needed and not given.peer_python.exists():
        sys.exit(
            f"Expected the peers' Python at {given.peer_python}; got none: run "
            "benchmarks/peers/setup.sh, or name another with --peer-python."
        )
    results, asked = Results(given.results.resolve()), cells(given)
    for cell in asked:
        if cell.key not in results.costs:
            run(cell, results, given.peer_python, given.core)
        if not given.no_c2st:
            judge(cell, results, given.peer_python, given.core)
        print(told(cell, results), file=sys.stderr, flush=True)
    print(table(results, asked))


if __name__ == "__main__":
    main()
