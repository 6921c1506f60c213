"""EPI with its defaults on the circuits of the zoo, with their published properties: one table.

    python benchmarks/epi/circuits.py --results FOLDER                    # all, one seed
    python benchmarks/epi/circuits.py --results FOLDER --only hub v1_5hz --seeds 0 1 2

Worst error: the largest distance of a mean (in standard deviations) or a variance (as a share) from
the property's, by the upper bounds of the test on fresh samples. CPU seconds of one thread, from
import to the judged result, compilation included. What the results folder holds already is not run
again. Facts are what the papers say of a property, of 10,000 samples.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from alone import kept, seconds

_ON_THE_RIDGE = (6.4, 1.6)  # nS; smoothed over .16 nS, the optimum of the published map peaks there
_SMOOTHED = 0.2  # nS
PROBLEMS = {
    "linear_0.25": ("linear_2d", {}, "oscillation"),
    "linear_0.5": ("linear_2d", {}, "oscillation_wide"),
    "amplifying_2": ("amplifying_rnn", {"n": 2}, "stable_amplification"),
    "amplifying_5": ("amplifying_rnn", {"n": 5}, "stable_amplification"),
    "amplifying_10": ("amplifying_rnn", {"n": 10}, "stable_amplification"),
    "amplifying_25": ("amplifying_rnn", {"n": 25}, "stable_amplification"),
    "amplifying_50": ("amplifying_rnn", {"n": 50}, "stable_amplification"),
    "amplifying_100": ("amplifying_rnn", {"n": 100}, "stable_amplification"),
    "amplifying_250": ("amplifying_rnn", {"n": 250}, "stable_amplification"),
    "gaussian_rnn": ("gaussian_rnn", {}, "posterior"),
    "v1_5hz": ("v1", {}, "5hz"),
    "v1_10hz": ("v1", {}, "10hz"),
    "colliculus": ("superior_colliculus", {}, "switching"),
    "hub": ("stg_subcircuit", {}, None),
    "hub_published": ("stg_subcircuit", {"integrator": "published"}, None),
    "syncing": ("stg_subcircuit", {"statistics": "network"}, "syncing"),
    "syncing_published": (
        "stg_subcircuit",
        {"statistics": "network", "integrator": "published"},
        "syncing",
    ),
}


def question(name: str):
    """The model of a problem, and its property."""
    import lanternfish as lf

    model_name, options, wanted = PROBLEMS[name]
    model = getattr(lf.models, model_name)(**options)
    return model, next(iter(model.targets.values())) if wanted is None else model.targets[wanted]


def facts(name: str, posterior) -> dict[str, float]:
    """Shares of regimes and what else is published of a problem."""
    import numpy as np

    import lanternfish as lf

    theta = posterior.sample(10_000, seed=123)
    if name.startswith("linear"):
        return {"share a12 > 0": float(np.mean(theta["a12"] > 0))}
    if name.startswith("v1"):
        pairs = {"E2+P2": ("sigma_E", "sigma_P"), "S2+V2": ("sigma_S", "sigma_V")}
        return {k: float(np.mean(theta[a] ** 2 + theta[b] ** 2)) for k, (a, b) in pairs.items()}
    if name == "colliculus":
        return {"share sW > 0": float(np.mean(theta["sW"] > 0))}
    if name.startswith("hub"):
        found = lf.landscape.sensitivity(posterior, _ON_THE_RIDGE, scale="units", reach=0.5)
        return {f"eigenvalue {i + 1}": float(e) for i, e in enumerate(found.eigenvalues)}
    if name.startswith("syncing"):
        return perturbed(name, posterior, theta)
    return {}


def perturbed(name: str, posterior, theta) -> dict[str, float]:
    """How fast neurons leave the common frequency along both directions, from a smoothed mode."""
    import numpy as np
    from scipy.stats import gaussian_kde

    import lanternfish as lf

    model, asked = question(name)
    points = theta.array[:4_000]
    smooth = gaussian_kde(points.T)
    smooth.set_bandwidth(_SMOOTHED / np.sqrt(np.trace(np.cov(points.T)) / 2))
    mode = points[smooth(points.T).argmax()]
    found = lf.landscape.sensitivity(posterior, tuple(mode), scale="units", reach=0.5)
    told = {f"eigenvalue {i + 1}": float(e) for i, e in enumerate(found.eigenvalues)}
    target = {key: (value.mean, value.sd) for key, value in asked.items()}
    for i in (0, 1):
        walk = lf.landscape.perturb(
            model, mode, found.directions[i], np.linspace(-0.5, 0.5, 21), target=target
        )
        slopes = [slope.value for slope in walk.slopes if slope.of == "misfit"]
        told[f"Hz/nS along v{i + 1}"] = float(np.mean(slopes))
    return told


def measure(name: str, seed: int) -> dict:
    """Run one problem with one seed."""
    import lanternfish as lf

    model, target = question(name)
    run = lf.infer(model, target, lf.EPI(), seed=seed, progress=False)
    cpu = seconds()
    each = run.checks["convergence"]["statistics"].values()
    found = run.checks["entropy"]
    return {
        "converged": bool(run.posterior.converged),
        "worst": max(max(s["mean_within"], s["variance_within"]) for s in each),
        "sentence": run.checks["convergence"]["sentence"],
        "entropy": found["entropy"],
        "low": found["low"],
        "high": found["high"],
        "steps": run.history["curves"][-1]["step"][0],
        "gradient": run.history["gradient"],
        "cpu_s": cpu,
        "facts": facts(name, run.posterior),
    }


def row(name: str, seed: int, cell: dict) -> str:
    """One line of the table."""
    interval = "unknown" if cell["low"] is None else f"[{cell['low']:.3f}, {cell['high']:.3f}]"
    told = ", ".join(f"{k} {v:.4g}" for k, v in cell["facts"].items())
    return (
        f"{name:14} {seed:4d} {'yes' if cell['converged'] else 'no':>4} {cell['worst']:7.3f} "
        f"{cell['entropy']:9.3f} {interval:>20} {cell['steps']:6d} {cell['cpu_s']:6.0f}  {told}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, help="folder to keep results in")
    parser.add_argument("--only", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cell:
        print(json.dumps(measure(given.cell[0], int(given.cell[1]))))
        return
    given.results.mkdir(parents=True, exist_ok=True)
    print("problem        seed   ok   worst         H          certificate  steps  CPU s  facts")
    for name in given.only:
        for seed in given.seeds:
            cell = kept(given.results / f"{name}-{seed}.json", __file__, [name, str(seed)])
            print(row(name, seed, cell), flush=True)


if __name__ == "__main__":
    main()
