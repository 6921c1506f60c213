"""One cell: EPI on the linear system with one seed; prints one line of JSON."""

from __future__ import annotations

import argparse
import json
import resource

EXACT = {0.25: 7.0416, 0.5: 7.7349}  # nats
TARGETS = {0.25: "oscillation", 0.5: "oscillation_wide"}
MOMENTS = ("growth_rate_mean", "growth_rate_sd", "angular_frequency_mean", "angular_frequency_sd")
SAMPLES = 50_000


def measure(sd: float, seed: int, method: str) -> dict:
    """Run a cell: entropy, moments of fresh samples, share of a mode, certificate."""
    import numpy as np

    import lanternfish as lf

    model = lf.models.linear_2d()
    target = model.targets[TARGETS[sd]]
    names = {"EPI": lf.EPI, "Loop": lf.inference.epi.Loop, "Push": lf.flows.Push}
    run = lf.infer(model, target, eval(method, names), seed=seed, progress=False)
    found = run.checks["entropy"]
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    theta = run.posterior.sample(SAMPLES, seed=123)
    statistics = lf.simulate(model, theta=theta, seed=seed + 1, progress=False).x
    errors = {}
    for name, (mean, wanted) in target.items():
        errors[f"{name}_mean"] = float(statistics[name].mean() - mean) / wanted
        errors[f"{name}_sd"] = float(statistics[name].std() - wanted) / wanted
    return {
        "entropy": found["entropy"],
        "low": found["low"],
        "high": found["high"],
        "share": float(np.mean(theta["a12"] > 0)),
        "converged": bool(run.posterior.converged),
        "cpu_s": cpu.ru_utime + cpu.ru_stime,
        "steps": run.history["curves"][-1]["step"],
        **errors,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sd", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--method", default="EPI()")
    given = parser.parse_args()
    print(json.dumps(measure(given.sd, given.seed, given.method)))
