"""One cell with lanternfish: from import to 10,000 samples for each observation.

    python benchmarks/sbibm/ours.py --task slcp --budget 10000 --out samples.npz

Prints one line of JSON: what it took to the first 10,000 samples (CPU and wall seconds, peak
memory), CPU seconds with the other observations, and the share of samples outside the prior. One
round is amortised: it trains once and answers every observation. Compiled programs come from and
go to the folder that ``XDG_CACHE_HOME`` names.
"""

from process import cost  # first: wall time counts from here

# isort: split
import argparse
import json

import numpy as np

import lanternfish as lf
import stored
import tasks

SAMPLES = 10_000


def method(expression: str, budget: int, rounds: int):
    """``NPE`` or ``NLE(density="spline")`` with the cell's budget and rounds added."""
    name, _, rest = expression.partition("(")
    keywords = eval(f"dict({rest}", {"lf": lf}) if rest else {}
    if rounds != 1 or name != "NPE":
        keywords = {"rounds": rounds, **keywords}
    return getattr(lf, name)(simulations=budget, **keywords)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", required=True, choices=tasks.TASKS)
    parser.add_argument("--observations", type=int, nargs="+", default=[1])
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--method", default="NPE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    model = tasks.TASKS[given.task]()
    targets = {
        n: tasks.observe(given.task, stored.observation(given.task, n), n)
        for n in given.observations
    }
    first, *others = given.observations
    chosen = method(given.method, given.budget, given.rounds)
    run = lf.infer(model, targets[first], chosen, seed=given.seed, progress=False)
    samples = {first: run.posterior.sample(SAMPLES, seed=given.seed).array}
    result = {"samples": SAMPLES, **cost()}
    for n in others:
        samples[n] = run.posterior.at(targets[n]).sample(SAMPLES, seed=given.seed).array
    outside = {n: float(1 - model.prior.contains(s).mean()) for n, s in samples.items()}
    epochs = [len(r.get("train", [])) for r in run.history.get("rounds", [])]
    result |= {"cpu_all_s": cost()["cpu_s"], "outside": outside, "epochs": epochs}
    np.savez(given.out, **{str(n): s for n, s in samples.items()})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
