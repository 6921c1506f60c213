"""Simulation-based calibration: does the posterior hold the truth as often as it says?

Parameters theta_i are drawn from the prior, x_i simulated with them, and L draws of the posterior
given x_i made. Where it is right, theta_i is one more draw, and its rank is uniform on 0 ... L:

    rank_ij   = #{ l : theta_lj < theta_ij }                       of parameter j     (1)
    region_i  = #{ l : q(theta_l | x_i) > q(theta_i | x_i) }       of the density     (2)

(1) shows biases and wrong widths, parameter by parameter; (2) sees all parameters together: the
smallest region of highest density that holds the truth has mass region_i / L, so that the share of
i with region_i / L <= c is the coverage of regions that claim to hold c.

Both are compared with the uniform law (see ``uniformity``). A posterior that is right fails with a
chance of at most ``FALSE_ALARM``, over all parameters and the coverage. Right on average over the
prior is what this tests, not right for one observation; the prior itself passes (1) and (2).

References: Talts et al. (2018), arXiv:1804.06788; Hermans et al. (2022), TMLR, "A crisis in
simulation-based inference?" (coverage); Säilynoja et al. (2022), Stat. Comput. 32:32 (bands).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lanternfish.core import Folder, Model, Posterior, Simulations, Table
from lanternfish.core.seeds import stream
from lanternfish.core.weighted import Share, share
from lanternfish.diagnostics.batch import Draws, draws_of
from lanternfish.diagnostics.predictive import percent
from lanternfish.diagnostics.uniformity import Uniformity
from lanternfish.simulation import simulate

FALSE_ALARM = 0.01  # chance that a posterior that is right fails
CLAIMS = (0.5, 0.9)  # masses of regions whose coverage is told
_DRAWS = 199  # so that ranks have 200 values, a multiple of the thresholds that are compared
_FEWEST = 50  # valid simulations below which nothing is seen
_OUTER = 0.05  # share of ranks at each end that count as the outer ones


@dataclass(frozen=True)
class CalibrationCheck:
    """Ranks of the truth among posterior draws, and what they say.

    Attributes:
        finding: numbers and sentences, ready for ``Run.with_checks`` and for JSON.
        ranks: of each parameter, a table (n, d) of numbers from 0 to 1.
        coverage: mass of the region of highest density that just holds the truth, (n,).
        levels: shares of uniform ranks at which both are compared, (K,).
        low, high: what the share of ranks below each level may be, (K,) each.
    """

    finding: dict
    ranks: Table
    coverage: np.ndarray
    levels: np.ndarray
    low: np.ndarray
    high: np.ndarray


def calibration_check(
    posterior: Posterior,
    model: Model,
    *,
    n: int = 300,
    draws: int = _DRAWS,
    simulations: Simulations | None = None,
    seed: int = 0,
    executor=None,
    store: str | os.PathLike | Folder | None = None,
    progress: Callable | bool | None = None,
) -> CalibrationCheck:
    """Simulate ``n`` parameters of the prior, and rank each among draws of its posterior.

    Args:
        posterior: that holds for any observation, ``posterior.at(x)``.
        model: that it is the posterior of.
        n: simulations; those that are invalid have no posterior and are left out.
        draws: of each posterior.
        simulations: of the prior, that the posterior has not learned from, instead of new ones.
        seed: of the study.
        executor, store, progress: as for ``lanternfish.simulate``.

    Raises:
        ValueError: if the posterior holds for one observation alone, or too few simulations are
            valid.
    """
    if simulations is None:
        simulations = simulate(
            model, n, seed=stream(seed, "calibration simulations"),
            executor=executor, store=store, progress=progress,
        )  # fmt: skip
    kept = simulations[thinned(simulations, seed)]
    if len(kept) < _FEWEST:
        raise ValueError(
            f"Expected at least {_FEWEST} valid simulations to calibrate with; got {len(kept)}: "
            f"{simulations.report()} Raise n."
        )
    ranks, regions = ranked(posterior, kept, draws, seed)
    return judge_ranks(Table(ranks, posterior.parameters), regions, draws)


def ranked(
    posterior: Posterior, simulations: Simulations, draws: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the truth by each parameter, (n, d), and by density, (n,): from 0 to ``draws``.

    Ties, as at bounds, are broken by chance.

    Raises:
        ValueError: if the posterior has no density.
    """
    found = draws_of(posterior, simulations, draws, seed)
    ranks, regions = ranks_of(simulations.theta.array, found, seed)
    if regions is None:
        raise ValueError(
            "Expected a posterior with a density, for the coverage of its regions; got one "
            "without: a method that learns one is NPE."
        )
    return ranks, regions


def ranks_of(
    truth: np.ndarray, found: Draws, seed: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Ranks of truths (n, d) among draws, by parameter (n, d) and by density (n,) if there is one.

    Ties are broken by chance.
    """
    rng = np.random.default_rng(stream(seed, "calibration ties"))
    by_value = np.stack(
        [_below(t, drawn, rng) for t, drawn in zip(truth, found.theta, strict=True)]
    )
    if found.density is None:
        return by_value, None
    by_density = [_below(-row[:1], -row[1:, None], rng)[0] for row in found.density]
    return by_value, np.stack(by_density)


def judge_ranks(ranks: Table, regions: np.ndarray, draws: int) -> CalibrationCheck:
    """The check of ranks (n, d) and of ranks by density (n,), each from 0 to ``draws``."""
    uniform = Uniformity(len(ranks), draws)
    level = FALSE_ALARM / (len(ranks.columns) + 1)
    rows = [_parameter(c.name, ranks[c.name], uniform, level) for c in ranks.columns]
    coverage = _coverage(regions, uniform, level)
    finding = {
        "passed": coverage["passed"] and all(row["passed"] for row in rows),
        "sentence": " ".join([_on_parameters(rows, len(ranks)), coverage["sentence"]]),
        "n": len(ranks),
        "draws": draws,
        "false_alarm": FALSE_ALARM,
        "parameters": rows,
        "coverage": coverage,
    }
    low, high = uniform.band(level)
    scaled = Table(_as_shares(ranks.array, draws), ranks.columns)
    return CalibrationCheck(finding, scaled, _as_shares(regions, draws), uniform.levels, low, high)


def thinned(simulations: Simulations, seed: int) -> np.ndarray:
    """Valid rows, (n,) of bool; of weighted ones a share by weight, so that all count the same."""
    most = simulations.weight[simulations.valid].max(initial=0.0)
    chance = np.random.default_rng(stream(seed, "calibration rows")).random(len(simulations))
    return simulations.valid & (chance * most < simulations.weight)


def _below(truth: np.ndarray, drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How many of drawn (L, d) lie below the truth (d,); of those equal to it, any number."""
    equal = (drawn == truth).sum(axis=0)
    return (drawn < truth).sum(axis=0) + rng.integers(0, equal, endpoint=True)


def _as_shares(ranks: np.ndarray, draws: int) -> np.ndarray:
    """Ranks as middles of their share of [0, 1]."""
    return (np.asarray(ranks) + 0.5) / (draws + 1)


def _parameter(name: str, ranks: np.ndarray, uniform: Uniformity, level: float) -> dict:
    p_value, shares = uniform.p_value(ranks), _as_shares(ranks, uniform.draws)
    passed = p_value >= level
    low, outer = float(np.mean(shares < 0.5)), float(np.mean(np.abs(shares - 0.5) > 0.5 - _OUTER))
    row = {"name": name, "passed": passed, "p_value": p_value, "below_median": low, "outer": outer}
    return row | {"verdict": "calibrated" if passed else _verdict(shares)}


def _verdict(shares: np.ndarray) -> str:
    """What is wrong with shares (n,) that are not uniform: the moment that strays most.

    Of the uniform law on [0, 1] the mean is 1/2 with variance 1/12, and (u - 1/2)^2 has mean 1/12
    and variance 1/180.
    """
    n = len(shares)
    shift = float((shares.mean() - 1 / 2) * np.sqrt(12 * n))
    width = float((np.mean((shares - 1 / 2) ** 2) - 1 / 12) * np.sqrt(180 * n))
    if max(abs(shift), abs(width)) < 2:
        return "not uniform"
    if abs(shift) > abs(width):
        return "too low" if shift > 0 else "too high"
    return "too narrow" if width > 0 else "too wide"


def _coverage(regions: np.ndarray, uniform: Uniformity, level: float) -> dict:
    p_value, masses = uniform.p_value(regions), _as_shares(regions, uniform.draws)
    passed = p_value >= level
    verdict = "calibrated" if passed else _coverage_verdict(masses)
    claims = [{"claim": claim, **_held(masses, claim).as_dict()} for claim in CLAIMS]
    told = " and ".join(_claim_in_words(masses, claim) for claim in CLAIMS)
    sentence = f"Of the simulated truths, {told}"
    if verdict == "not uniform":
        sentence += (
            f", but {_claim_in_words(masses, _furthest(masses))}: the posterior is of the wrong "
            "shape, neither too wide nor too narrow throughout"
        )
    elif not passed:
        sentence += f": the posterior is {verdict}"
    return {
        "passed": passed, "p_value": p_value, "verdict": verdict, "claims": claims,
        "sentence": sentence + ".",
    }  # fmt: skip


def _coverage_verdict(masses: np.ndarray) -> str:
    """What masses (n,) of regions that just hold the truth say, where they are not uniform."""
    shift = float((masses.mean() - 1 / 2) * np.sqrt(12 * len(masses)))
    if abs(shift) < 2:
        return "not uniform"
    return "overconfident" if shift > 0 else "underconfident"


def _furthest(masses: np.ndarray) -> float:
    """The claim of whose regions most standard errors too many, or too few, hold the truth."""
    claims = np.arange(0.05, 0.96, 0.05)
    held = np.mean(masses[:, None] <= claims, axis=0)
    return float(claims[np.argmax(np.abs(held - claims) / np.sqrt(claims * (1 - claims)))])


def _held(masses: np.ndarray, claim: float) -> Share:
    return share(masses <= claim, np.ones(len(masses)))


def _claim_in_words(masses: np.ndarray, claim: float) -> str:
    found = _held(masses, claim)
    return (
        f"regions of {percent(claim)} hold it in {percent(found.value)} "
        f"(95 % interval {percent(found.low)} to {percent(found.high)})"
    )


def _on_parameters(rows: list[dict], n: int) -> str:
    failed = [row for row in rows if not row["passed"]]
    if not failed:
        each = "each parameter" if len(rows) > 1 else rows[0]["name"]
        return f"The truth ranks among posterior draws of {each} as it should, in {n} simulations."
    told = "; ".join(f"{row['name']} is {_words(row)}" for row in failed)
    return f"In {n} simulations, the posterior of {told}."


def _words(row: dict) -> str:
    verdict = row["verdict"]
    if verdict in ("too low", "too high"):
        side, value = (
            ("above", 1 - row["below_median"])
            if verdict == "too low"
            else ("below", row["below_median"])
        )
        return f"{verdict} (the truth lies {side} its median in {percent(value)})"
    if verdict == "not uniform":
        return "of the wrong shape (ranks of the truth are not uniform)"
    kind = "overconfident" if verdict == "too narrow" else "underconfident"
    return (
        f"{verdict}, {kind} (the truth lies in its outer {percent(2 * _OUTER)} in "
        f"{percent(row['outer'])})"
    )
