"""Planted faults: does ``run.check()`` find what is wrong, and leave alone what is right?

    python benchmarks/planted_faults.py [--runs 100] [--budget 600] [--faults NAME ...]

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
from scipy.special import ndtr, ndtri

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
    """A posterior in closed form, with a fault. Subclasses give ``drawn`` and ``density``."""

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

    def sample(self, n, seed=0):
        drawn = self.drawn(self.x[None], n, np.random.default_rng(seed))[0]
        return lf.Table(drawn, self.parameters)

    def log_prob(self, theta):
        return self.density(self.x[None], np.asarray(theta)[None])[0]

    def draws_each(self, simulations, draws, seed):
        """For many observations at once, as ``diagnostics.batch`` asks."""
        x, truth = simulations.x.array, simulations.theta.array
        theta = self.drawn(x, draws, np.random.default_rng(seed))
        return theta, self.density(x, np.concatenate([truth[:, None], theta], axis=1))


class Linear(Known):
    """Normal; too narrow by 0.65, too wide by 1.6, or shifted by half a deviation."""

    def law(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means (n, 1, 2) and the root (2, 2) of the covariance."""
        covariance = np.linalg.inv(MATRIX.T @ MATRIX / NOISE**2 + np.diag(PRIOR_SD**-2.0))
        mean = x @ MATRIX @ covariance / NOISE**2
        shift = 0.5 if self.fault == "biased" else 0.0
        stretch = {"overconfident": 0.65, "underconfident": 1.6}.get(self.fault, 1.0)
        root = np.linalg.cholesky(covariance)
        return (mean + shift * np.sqrt(np.diag(covariance)))[:, None], stretch * root

    def drawn(self, x, draws, rng):
        mean, root = self.law(x)
        return mean + rng.normal(size=(len(x), draws, 2)) @ root.T

    def density(self, x, theta):
        mean, root = self.law(x)
        return -0.5 * np.sum(((theta - mean) @ np.linalg.inv(root).T) ** 2, axis=2)


class Folded(Known):
    """Two mirrored halves of a normal; the fault is that one is missing."""

    def law(self, x: np.ndarray) -> tuple[np.ndarray, float]:
        variance = 1 / (1 + FOLDED_NOISE**-2)
        return variance * x / FOLDED_NOISE**2, float(np.sqrt(variance))

    def drawn(self, x, draws, rng):
        mean, sd = self.law(x)
        half = mean + sd * _cut(-mean / sd, np.inf, rng.random((len(x), draws)))
        side = 1.0 if self.fault == "mode missing" else rng.choice([-1.0, 1.0], half.shape)
        return (half * side)[:, :, None]

    def density(self, x, theta):
        mean, sd = self.law(x)
        value = -0.5 * ((np.abs(theta[..., 0]) - mean) / sd) ** 2
        return np.where((theta[..., 0] < 0) & (self.fault == "mode missing"), -np.inf, value)


class Boxed(Known):
    """A normal cut off at the prior's bounds; the fault is that it is not cut off."""

    def drawn(self, x, draws, rng):
        x = x[:, None]
        size = (len(x), draws, 2)
        if self.fault == "leaking":
            return x + BOX_NOISE * rng.normal(size=size)
        ends = (-1 - x) / BOX_NOISE, (1 - x) / BOX_NOISE
        return np.clip(x + BOX_NOISE * _cut(*ends, rng.random(size)), -1, 1)

    def density(self, x, theta):
        value = -0.5 * np.sum(((theta - x[:, None]) / BOX_NOISE) ** 2, axis=2)
        inside = np.all(np.abs(theta) <= 1, axis=2) | (self.fault == "leaking")
        return np.where(inside, value, -np.inf)


def _cut(low, high, u: np.ndarray) -> np.ndarray:
    """Quantiles u of the standard normal law between two ends, from the side of its tail."""
    flip = np.asarray(low) > 0
    low, high = np.where(flip, -np.asarray(high), low), np.where(flip, -np.asarray(low), high)
    below = ndtr(low)
    found = ndtri(below + np.where(flip, 1 - u, u) * (ndtr(high) - below))
    return np.where(flip, -found, found)


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


def tried(case: str, seed: int, budget: int = 600) -> list[str]:
    """Names of the checks that failed."""
    run, model = planted(case, seed)
    found = check_run(run, model, budget, seed, progress=False)
    return [check.name for check in found.failed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--budget", type=int, default=600)
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
