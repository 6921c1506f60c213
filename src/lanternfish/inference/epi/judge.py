"""Judging a density that EPI trained, on fresh simulations that it has never seen.

Half of the parameter sets are drawn from q: they say whether q has the property, and its entropy,
which further draws without simulations make exact.
Together with as many from the prior's unbounded normal, over the whole support, they give the
certificate. Where statistics are noisy, each is simulated twice, for what noise does to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lanternfish import flows
from lanternfish.core import EmergentProperty, PropertyRange, Simulations
from lanternfish.core.seeds import stream
from lanternfish.inference.epi.certificate import Certificate, Weighted, certify
from lanternfish.inference.epi.convergence import MOST_DEAD, Tolerance, converged
from lanternfish.inference.epi.problem import Features, Problem
from lanternfish.inference.epi.training import MANY
from lanternfish.inference.rounds import Study
from lanternfish.simulation import simulate

_BLOCK = 4_000
_FAR, _FAR_VARIANCE = 1.0, 10.0  # a few samples far out make a variance large, and can be mended
_UNSIMULATED = 2**20
_FURTHER_DRAWS = 15  # times as many, for the entropy, which needs no simulations
_MORE = 4  # times as many samples, where the first ones do not decide


@dataclass(frozen=True)
class Judged:
    """What was found about one member."""

    member: int
    convergence: dict
    certificate: Certificate
    simulations: Simulations

    @property
    def passed(self) -> bool:
        return self.convergence["passed"]

    @property
    def score(self) -> float:
        """Entropy where the property is proven; else minus the worst distance from it."""
        if self.passed:
            return self.certificate.entropy
        return -self._worst if np.isfinite(self._worst) else -np.inf

    def as_plain(self) -> dict:
        """In short, for the history of a run."""
        entropy = float(self.certificate.entropy)
        return {
            "member": self.member,
            "proven": bool(self.passed),
            "entropy": entropy if np.isfinite(entropy) else None,
        }

    def undecided(self, target: EmergentProperty, tolerance: Tolerance) -> bool:
        """Whether q has the property by what was measured, but too few samples to prove it."""
        near = [self.convergence["dead"] <= MOST_DEAD]
        for name, wanted in target.items():
            found = self.convergence["statistics"][name]
            near.append(abs(found["mean"] - wanted.mean) < tolerance.mean * wanted.sd)
            near.append(abs((found["sd"] / wanted.sd) ** 2 - 1) < tolerance.variance)
        return not self.passed and all(near)

    @property
    def hopeless(self) -> bool:
        """Whether so much is missing that more of the same training would not help."""
        found = self.convergence["statistics"].values()
        near = all(s["mean_within"] < _FAR and s["variance_within"] < _FAR_VARIANCE for s in found)
        return not (near and self.convergence["dead"] < 0.5)

    @property
    def _worst(self) -> float:
        """The largest distance from the property, in its standard deviations or variances."""
        found = self.convergence["statistics"].values()
        return max(max(s["mean_within"], s["variance_within"]) for s in found)


def judge(
    study: Study,
    method,
    problem: Problem,
    flow: flows.Pushforward | flows.Steered,
    eta: np.ndarray,
    *,
    member: int,
    first: int,
    noisy: bool = False,
) -> Judged:
    """Simulate afresh from q and broadly; test, and certify."""
    n, groups = method.fresh, 2 if noisy else 1
    key = jr.key(stream(study.seed, f"judge {first}") % 2**32)
    points = _points(flow, problem, key, n)
    sims, each = _simulated(study, problem, points["theta"], groups, first)
    found = _together(each)
    every_u, every_square, valid = (np.asarray(part)[:n] for part in found)
    dead = 1 - float(np.mean(valid))
    u, square = every_u[valid], every_square[valid]
    if not len(u):
        u = square = np.full((1, problem.constraints), np.nan)
    convergence = converged(study.target, u, square, method.tolerance, dead)
    entropy = points["log_b"][:n] - points["log_q"][:n]
    if flow.dim <= MANY:
        entropy = np.r_[entropy, _surprises(flow, problem, jr.fold_in(key, _UNSIMULATED), n)]
    certificate = certify(
        _weighted(points, found, each[0] if noisy else None, np.random.default_rng(first)),
        eta,
        float(entropy.mean()),
        float(entropy.std() / np.sqrt(len(entropy))),
        np.concatenate([u.mean(0), square.mean(0)]),
    )
    return Judged(member, convergence, certificate, sims)


def judge_again(
    study: Study, method, problem: Problem, flow: flows.Pushforward | flows.Steered, found: Judged,
    *, first: int,
) -> Judged:  # fmt: skip
    """The test once more, by four times as many samples, all of them fresh; as certified before."""
    n = _MORE * method.fresh
    key = jr.key(stream(study.seed, f"judge {first}") % 2**32)
    theta = _points(flow, problem, key, n, sides=(True,))["theta"]
    sims, (each,) = _simulated(study, problem, theta, 1, first)
    valid = np.asarray(each.valid)
    u, square = np.asarray(each.u)[valid], np.asarray(each.square)[valid]
    dead = 1 - float(np.mean(valid))
    convergence = converged(study.target, u, square, method.tolerance, dead)
    return replace(found, convergence=convergence, simulations=found.simulations + sims)


def _simulated(
    study: Study, problem: Problem, theta: np.ndarray, groups: int, first: int
) -> tuple[Simulations, list[Features]]:
    """Simulations of parameters (n, d), and T of each group of trials."""
    prior = study.model.prior
    inside = np.clip(theta.astype(np.float64), prior.low, prior.high)
    sims = simulate(
        study.model, theta=np.repeat(inside, groups * problem.trials, axis=0), seed=study.seed,
        first=first, executor=study.executor, store=_place(study, first), progress=False,
    )  # fmt: skip
    x = sims.x.array[:, list(problem.places)].reshape(len(theta), groups, problem.trials, -1)
    return sims, [_wide(problem, x[:, group]) for group in range(groups)]


def over_range(each: list[tuple[tuple, Judged]], target: EmergentProperty) -> Judged:
    """What was found about a member at several properties of a range, as one: all must pass.

    Args:
        each: means of the statistics that have an interval, and what was found there; the middle
            of the range first.
    """
    (_, middle), *_ = each
    if not isinstance(target, PropertyRange):
        return middle
    points = [
        {
            "means": dict(zip(target.ranges, means, strict=True)),
            "passed": found.passed,
            "sentence": found.convergence["sentence"],
            "entropy": found.certificate.entropy,
            "divergence": found.certificate.divergence,
        }
        for means, found in each
    ]
    means, worst = max(each, key=lambda pair: (not pair[1].passed, pair[1]._worst))
    failed = sum(not point["passed"] for point in points)
    named = " and ".join(f"{n} from {a:g} to {b:g}" for n, (a, b) in target.ranges.items())
    if failed:
        there = ", ".join(f"{n} {m:.4g}" for n, m in zip(target.ranges, means, strict=True))
        sentence = (
            f"Not converged at {failed} of {len(points)} properties with {named}; the worst is "
            f"{there}: {worst.convergence['sentence']}"
        )
    else:
        sentence = (
            f"Converged at all {len(points)} properties that were judged, {named}. "
            f"{worst.convergence['sentence']}"
        )
    finding = {**worst.convergence, "passed": not failed, "sentence": sentence, "points": points}
    simulations = middle.simulations
    for _, found in each[1:]:
        simulations = simulations + found.simulations
    return Judged(middle.member, finding, middle.certificate, simulations)


def _place(study: Study, first: int):
    return None if study.folder is None else study.folder / "simulations" / f"judged-{first:014d}"


def _wide(problem: Problem, x: np.ndarray) -> Features:
    """T of trials (n, t, r), in double precision."""
    each = (x - np.asarray(problem.mean, np.float64)) / np.asarray(problem.sd, np.float64)
    u = each.mean(axis=1)
    square = np.where(np.array(problem.total), (each**2).mean(axis=1), u**2)
    valid = np.isfinite(u).all(axis=1) & np.isfinite(square).all(axis=1)
    return Features(u, square, valid)  # pyright: ignore[reportArgumentType]


def _together(each: list[Features]) -> Features:
    """Mean T of groups of trials, where all of them are finite."""
    u, square = (np.mean([np.asarray(f[i]) for f in each], axis=0) for i in (0, 1))
    valid = np.all([np.asarray(f.valid) for f in each], axis=0)
    return Features(u, square, valid)  # pyright: ignore[reportArgumentType]


def _weighted(
    points: dict, found: Features, once: Features | None, rng: np.random.Generator
) -> Weighted:
    """All draws as those of one mixture, in random order; ``once``: T of half of their trials."""
    order = rng.permutation(len(points["log_q"]))
    mixture = np.logaddexp(points["log_q"], points["log_broad"]) - np.log(2)
    ratio = np.where(found.valid, points["log_b"] - mixture, -np.inf)
    keep = found.valid[:, None]

    def moments(of: Features) -> np.ndarray:
        return np.where(keep, np.concatenate([of.u, of.square], axis=1), 0.0)[order]

    return Weighted(moments(found), ratio[order], None if once is None else moments(once))


def _points(
    flow: flows.Pushforward | flows.Steered, problem: Problem, key, n: int, sides=(True, False)
) -> dict[str, np.ndarray]:
    """Parameters of n draws from q and n broad ones, and their log densities in z."""
    parts: dict[str, list] = {}
    for mine in sides:
        for start in range(0, n, _BLOCK):
            block = min(_BLOCK, n - start)
            inner = jr.fold_in(key, 2 * start + mine)
            for name, part in _block(flow, problem, inner, block, mine).items():
                parts.setdefault(name, []).append(np.asarray(part, np.float64))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _surprises(
    flow: flows.Pushforward | flows.Steered, problem: Problem, key, n: int
) -> np.ndarray:
    """log b - log q of further draws from q."""
    block = min(_BLOCK, n)  # as in ``_points``, so that nothing else is compiled
    blocks = range(0, _FURTHER_DRAWS * n, block)
    each = [_block(flow, problem, jr.fold_in(key, start), block, True) for start in blocks]
    return np.concatenate([np.asarray(part["log_b"] - part["log_q"], np.float64) for part in each])


@eqx.filter_jit
def _block(flow: flows.Pushforward | flows.Steered, problem: Problem, key, n: int, mine: bool):
    noise = jr.normal(key, (len(problem.prior), n))
    z, log_det = flow.forward(noise) if mine else (noise, jnp.zeros(n))
    theta, log_b = problem.parameters(z)
    log_q = flows.standard_normal(noise) - log_det if mine else flow.log_prob(z)
    return {
        "theta": theta,
        "log_b": log_b,
        "log_q": log_q,
        "log_broad": flows.standard_normal(z),
    }
