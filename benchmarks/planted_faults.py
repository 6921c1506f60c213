"""Planted faults: does ``run.check()`` find what is wrong, and leave alone what is right?

    python benchmarks/planted_faults.py [--runs 100] [--budget 1000] [--faults NAME ...]

Models are cheap and their posteriors known in closed form, so that a right posterior is exactly
right and a fault is exactly what is planted; nothing is trained. In each run a truth is drawn from
the prior, simulated to an observation, and the posterior of it checked with the budget. A run
counts as found where the overall verdict fails. Printed: found of all runs with the 95 % interval
(Wilson), which checks failed most, and CPU seconds a run.

| model | parameters | simulator |
|---|---|---|
| linear | a, b normal | x = A theta + noise, ten statistics |
| folded | c normal | x = |c| + noise: two modes |
| boxed | c, d uniform | x = theta + noise: cut off at bounds |
"""

import argparse
import time
from collections import Counter
from dataclasses import dataclass, replace

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.stats import truncnorm

import lanternfish as lf
from lanternfish.core.weighted import share
from lanternfish.diagnostics.trust import check_run

K, NOISE = 10, 0.5
MATRIX = np.random.default_rng(7).normal(size=(K, 2))
PRIOR_SD = np.array([1.0, 2.0])
FOLDED_NOISE, BOX_NOISE = 0.3, 0.4


def _linear(theta, key):
    drive = jnp.asarray(MATRIX) @ jnp.stack([theta["a"], theta["b"]])
    return drive + NOISE * jr.normal(key, (K,))


def _folded(theta, key):
    return jnp.abs(theta["c"])[None] + FOLDED_NOISE * jr.normal(key, (1,))


def _boxed(theta, key):
    return jnp.stack([theta["c"], theta["d"]]) + BOX_NOISE * jr.normal(key, (2,))


LINEAR = lf.Model(
    lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 2)),
    lf.JaxSimulator(_linear, [f"x{i}" for i in range(K)]), name="linear",
)  # fmt: skip
FOLDED = lf.Model(lf.Prior(c=lf.Normal(0, 1)), lf.JaxSimulator(_folded, ["x"]), name="folded")
BOXED = lf.Model(
    lf.Prior(c=lf.Uniform(-1, 1), d=lf.Uniform(-1, 1)), lf.JaxSimulator(_boxed, ["x", "y"]),
    name="boxed",
)  # fmt: skip


@dataclass(frozen=True)
class Known(lf.Posterior):
    """A posterior in closed form, with a fault. Subclasses give ``sample`` and ``log_prob``."""

    prior: lf.Prior
    statistics: tuple
    observation: lf.Observation
    fault: str = ""
    kind = "known"

    @property
    def x(self) -> np.ndarray:
        return self.observation.array_for(self.statistics)

    def at(self, observation):
        return replace(self, observation=observation)

    def log_density(self, theta):
        raise NotImplementedError("Expected log_prob; the closed form is in NumPy.")

    def write(self, folder):
        raise NotImplementedError("Expected a run in memory.")


class Linear(Known):
    """Normal; too narrow by 0.65, too wide by 1.6, or shifted by half a deviation."""

    def law(self) -> tuple[np.ndarray, np.ndarray]:
        covariance = np.linalg.inv(MATRIX.T @ MATRIX / NOISE**2 + np.diag(PRIOR_SD**-2.0))
        mean = covariance @ (MATRIX.T @ self.x) / NOISE**2
        shift = 0.5 if self.fault == "biased" else 0.0
        stretch = {"overconfident": 0.65, "underconfident": 1.6}.get(self.fault, 1.0)
        root = np.linalg.cholesky(covariance)
        return mean + shift * np.sqrt(np.diag(covariance)), stretch * root

    def sample(self, n, seed=0):
        mean, root = self.law()
        drawn = np.random.default_rng(seed).normal(size=(n, 2))
        return lf.Table(mean + drawn @ root.T, self.parameters)

    def log_prob(self, theta):
        mean, root = self.law()
        white = np.linalg.solve(root, (np.asarray(theta) - mean).T)
        return -0.5 * np.sum(white**2, axis=0) - np.sum(np.log(np.diag(root)))


class Folded(Known):
    """Two mirrored halves of a normal; the fault is that one is missing."""

    def law(self) -> tuple[float, float]:
        variance = 1 / (1 + FOLDED_NOISE**-2)
        return float(variance * self.x[0] / FOLDED_NOISE**2), float(np.sqrt(variance))

    def sample(self, n, seed=0):
        (mean, sd), rng = self.law(), np.random.default_rng(seed)
        half = truncnorm.rvs(-mean / sd, np.inf, loc=mean, scale=sd, size=n, random_state=rng)
        side = 1.0 if self.fault == "mode missing" else rng.choice([-1.0, 1.0], n)
        return lf.Table((half * side)[:, None], self.parameters)

    def log_prob(self, theta):
        mean, sd = self.law()
        c = np.asarray(theta)[:, 0]
        value = -0.5 * ((np.abs(c) - mean) / sd) ** 2
        return np.where((c < 0) & (self.fault == "mode missing"), -np.inf, value)


class Boxed(Known):
    """A normal cut off at the prior's bounds; the fault is that it is not cut off."""

    def sample(self, n, seed=0):
        rng, x = np.random.default_rng(seed), self.x
        if self.fault == "leaking":
            return lf.Table(rng.normal(x, BOX_NOISE, (n, 2)), self.parameters)
        low, high = (-1 - x) / BOX_NOISE, (1 - x) / BOX_NOISE
        drawn = truncnorm.rvs(low, high, loc=x, scale=BOX_NOISE, size=(n, 2), random_state=rng)
        return lf.Table(np.clip(drawn, -1, 1), self.parameters)

    def log_prob(self, theta):
        theta = np.asarray(theta)
        value = -0.5 * np.sum(((theta - self.x) / BOX_NOISE) ** 2, axis=1)
        inside = np.all(np.abs(theta) <= 1, axis=1) | (self.fault == "leaking")
        return np.where(inside, value, -np.inf)


CASES = {  # what is planted: the model, the posterior
    "right: linear": (LINEAR, Linear),
    "right: folded": (FOLDED, Folded),
    "right: boxed": (BOXED, Boxed),
    "overconfident": (LINEAR, Linear),
    "underconfident": (LINEAR, Linear),
    "biased": (LINEAR, Linear),
    "mode missing": (FOLDED, Folded),
    "leaking": (BOXED, Boxed),
    "wrong simulator": (LINEAR, Linear),
    "out of range": (LINEAR, Linear),
}


def planted(case: str, seed: int, trained: int = 1_000) -> tuple[lf.Run, lf.Model]:
    """A run with the fault in it."""
    model, kind = CASES[case]
    made = lf.simulate(model, trained + 1, seed=1_000 + seed, progress=False)
    x, rng = made.x.array[-1].copy(), np.random.default_rng(seed)
    if case == "wrong simulator":  # the data have a drive that the model lacks, 8 sd of the noise
        direction = rng.normal(size=K)
        x += 8 * NOISE * direction / np.linalg.norm(direction)
    if case == "out of range":  # a statistic beyond what the model ever does
        place = rng.integers(K)
        x[place] = made.x.array[:, place].mean() + 6 * made.x.array[:, place].std()
    observation = lf.Observation.from_array(x, model.statistics)
    posterior = kind(model.prior, model.statistics, observation, case)
    return lf.Run(posterior, made[:trained], model=model.describe(), target=observation), model


def tried(case: str, seed: int, budget: int = 1_000) -> list[str]:
    """Names of the checks that failed."""
    run, model = planted(case, seed)
    found = check_run(run, model, budget, seed, progress=False)
    return [check.name for check in found.failed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--faults", nargs="+", default=list(CASES), choices=list(CASES))
    given = parser.parse_args()
    print("| planted | found | 95 % interval | failed most | CPU s a run |\n|---|---|---|---|---|")
    for case in given.faults:
        began, names, hits = time.process_time(), Counter(), []
        for seed in range(given.runs):
            failed = tried(case, seed, given.budget)
            hits.append(bool(failed))
            names.update(failed)
        found = share(np.array(hits), np.ones(given.runs))
        most = ", ".join(f"{name} {count}" for name, count in names.most_common(3)) or "none"
        cpu = (time.process_time() - began) / given.runs
        print(
            f"| {case} | {sum(hits)} of {given.runs} | {100 * found.low:.0f} to "
            f"{100 * found.high:.0f} % | {most} | {cpu:.1f} |", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
