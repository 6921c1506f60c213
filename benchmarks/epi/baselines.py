"""EPI beside SNPE and SMC-ABC on stable amplification in n neurons, 4 n parameters: one table.

    python benchmarks/epi/baselines.py --results FOLDER                  # n = 2, 5, 10, 25
    python benchmarks/epi/baselines.py --results FOLDER --sizes 50 --only EPI SNPE

All draw from the same prior, [-1, 1] in each parameter, and are asked for the same property, growth
rate .5 +- .25 and amplification 1.5 +- .25: EPI as it is, SNPE as an observation of both means, as
published, SMC as a distance in standard deviations. SNPE and SMC get 10,000 simulations, then
30,000, then 100,000, until the criterion is met or a thousand seconds have gone, and all of these
count. The criterion is the published one for all: the mean of both statistics over fresh
simulations of what was found lies within .5 of the property's, in Euclidean distance. "Off" is the
stricter one, EPI's own: the largest distance of a mean, in standard deviations, or of a variance,
as a share. CPU seconds of one thread, from import to the last answer, compilation included. What
the results folder holds already is not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from alone import kept, seconds

BUDGETS = (10_000, 30_000, 100_000)
METHODS = ("EPI", "SNPE", "SMC")
SIZES = (2, 5, 10, 25)
NEAR = 0.5  # Euclidean distance of the means
SAMPLES = 4_000
ROUNDS = 5
ENOUGH = 1_000  # CPU seconds, after which no larger budget begins


def answers(name: str, model, target, seed: int):
    """Posteriors of a method one after another, with the simulations and CPU seconds so far."""
    import lanternfish as lf

    if name == "EPI":
        run = lf.infer(model, target, lf.EPI(), seed=seed, progress=False)
        yield run.posterior, run.history["simulated"], seconds()
        return
    total = 0
    measured = lf.Observation(**{name: wanted.mean for name, wanted in target.items()})
    for budget in BUDGETS:
        if name == "SNPE":
            method = lf.NPE(simulations=budget, rounds=ROUNDS)
            run = lf.infer(model, measured, method, seed=seed, progress=False)
        else:
            run = lf.infer(model, target, lf.SMC(simulations=budget), seed=seed, progress=False)
        total += len(run.simulations)
        yield run.posterior, total, seconds()


def measure(name: str, n: int, seed: int) -> dict:
    """The first answer that meets the criterion, or the last."""
    import numpy as np

    import lanternfish as lf

    model = lf.models.amplifying_rnn(n=n)
    target = model.targets["stable_amplification"]
    cell: dict = {}
    for posterior, simulations, cpu in answers(name, model, target, seed):
        theta = posterior.sample(SAMPLES, seed=seed + 1)
        x = lf.simulate(model, theta=theta, seed=seed + 2, progress=False).x
        apart = [(float(x[k].mean()) - mean, float(x[k].std()), sd)
                 for k, (mean, sd) in target.items()]  # fmt: skip
        distance = float(np.hypot(*[gap for gap, _, _ in apart]))
        off = max(max(abs(gap) / sd, abs((own / sd) ** 2 - 1)) for gap, own, sd in apart)
        cell = {
            "distance": distance, "off": off, "met": distance < NEAR,
            "spread": [own for _, own, _ in apart], "simulations": simulations, "cpu_s": cpu,
        }  # fmt: skip
        if cell["met"] or cpu > ENOUGH:
            break
    return cell


def row(name: str, n: int, seed: int, cell: dict) -> str:
    """One line of the table."""
    one, other = cell["spread"]
    return (
        f"{n:4d} {name:>5} {seed:5d} {'yes' if cell['met'] else 'no':>5} {cell['distance']:9.3f} "
        f"{cell['off']:8.3f} {one:8.3f} {other:8.3f} {cell['simulations']:12,d} "
        f"{cell['cpu_s']:7.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, help="folder to keep results in")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="neurons")
    parser.add_argument("--only", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cell:
        print(json.dumps(measure(given.cell[0], int(given.cell[1]), int(given.cell[2]))))
        return
    given.results.mkdir(parents=True, exist_ok=True)
    print("                          mean             sd of      sd of                    CPU")
    print("   n          seed   met  off by      off  growth  amplif.  simulations          s")
    for n in given.sizes:
        for name in given.only:
            for seed in given.seeds:
                place = given.results / f"{name}-{n}-{seed}.json"
                cell = kept(place, __file__, [name, str(n), str(seed)])
                print(row(name, n, seed, cell), flush=True)


if __name__ == "__main__":
    main()
