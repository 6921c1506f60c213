"""Posterior predictive check: do circuits drawn from the posterior do what was measured?

n posterior samples are simulated, which gives

    valid share       weighted share of samples whose statistics are all finite
    matching share    weighted share that is valid and within one spread of every measured value,
                      |x_k - x_obs,k| <= s_k

    s_k = IQR / 1.349 of statistic k over valid reference simulations (prior draws): the standard
    deviation of a normal law with that interquartile range, which outliers do not move.

A statistic that is the same in half of the reference has s_k = 0 by that formula; its standard
deviation takes its place, and where that is 0 too, only the measured value itself matches.

Of raw data (traces, images, trials) the mean and the standard deviation of each channel take part
as statistics: a posterior may pass and still miss the shape of a trace.

Reference: Gelman, Meng & Stern (1996), Statistica Sinica 6:733-807.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lanternfish.core import Column, Folder, Model, Posterior, Simulations, Table
from lanternfish.core.seeds import stream
from lanternfish.core.summaries import in_numbers
from lanternfish.core.weighted import Share, quantile, share
from lanternfish.simulation import simulate

ENOUGH_VALID = 0.5  # valid share below which the check fails
ENOUGH_MATCHING = 0.1  # matching share below which it fails
MISSES = 0.1  # share of statistics that may lie outside their 90 % interval: what 90 % means
_ROBUST = 1.349  # interquartile range of the standard normal law
_ROUNDING = 1e-9  # relative difference that still counts as the same value


@dataclass(frozen=True)
class PredictiveCheck:
    """What a posterior predicts, and how that compares with what was measured.

    Attributes:
        finding: numbers and sentences, ready for ``Run.with_checks`` and for JSON.
        simulations: of the posterior samples; ``theta``, ``x``, ``valid`` and ``seeds`` for plots.
        matching: which rows match, (n,) of bool.
    """

    finding: dict
    simulations: Simulations
    matching: np.ndarray

    @property
    def theta(self) -> Table:
        """Posterior samples, a table (n, d)."""
        return self.simulations.theta

    @property
    def x(self) -> Table:
        """Predicted statistics, a table (n, k); NaN in rows that are not valid."""
        return self.simulations.x


def predictive_check(
    posterior: Posterior,
    model: Model,
    reference: Simulations,
    *,
    n: int = 500,
    seed: int = 0,
    executor=None,
    store: str | os.PathLike | Folder | None = None,
    progress: Callable | bool | None = None,
) -> PredictiveCheck:
    """Simulate ``n`` posterior samples and compare them with the observation.

    Args:
        posterior: for the observation to compare with.
        model: that it is the posterior of.
        reference: simulations from the prior, whose valid rows give the spread of each statistic.
        n: posterior samples.
        seed: of the study.
        executor, store, progress: as for ``lanternfish.simulate``.

    Raises:
        ValueError: if n is below 1, or the reference has no valid row.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"Expected n, a whole number of at least 1; got {n!r}.")
    theta = posterior.sample(int(n), seed=stream(seed, "predictive samples"))
    simulations = simulate(
        model,
        theta=theta,
        seed=stream(seed, "predictive simulations"),
        executor=executor,
        store=store,
        progress=progress,
    )
    return compare(simulations, posterior.observation.array_for(model.statistics), reference)


def compare(
    simulations: Simulations, observed: np.ndarray, reference: Simulations
) -> PredictiveCheck:
    """The check of simulations that are there already, against observed statistics (k,).

    Arrays are compared by the mean and the standard deviation of each channel.
    """
    whole = simulations
    observed = in_numbers(Table(observed[None], simulations.x.columns)).array[0]
    simulations = replace(simulations, x=in_numbers(simulations.x))
    reference = replace(reference, x=in_numbers(reference.x))
    spread = reference_spread(reference)
    matching = matches(simulations, observed, spread)
    valid = share(simulations.valid, simulations.weight)
    match = share(matching, simulations.weight)
    before = share(matches(reference, observed, spread), reference.weight)
    rows = [
        _statistic(column, simulations, value, s)
        for column, value, s in zip(simulations.x.columns, observed, spread, strict=True)
    ]
    weighted = bool(np.ptp(simulations.weight) > 0)
    findings = [_on_validity(valid, weighted), _on_matching(match, before), _on_statistics(rows)]
    finding = {
        "passed": all(f["passed"] for f in findings),
        "sentence": " ".join(f["sentence"] for f in findings),
        "valid": valid.as_dict(),
        "matching": match.as_dict(),
        "matching_before": before.as_dict(),
        "statistics": rows,
        "findings": findings,
    }
    return PredictiveCheck(finding, whole, matching)


def reference_spread(reference: Simulations) -> np.ndarray:
    """Robust spread of each statistic over valid rows, (k,); 0 where it never varies."""
    kept = reference[reference.valid]
    if len(kept) == 0:
        raise ValueError(
            "Expected valid reference simulations to compare with; got none: "
            f"{reference.report()} Raise the number of simulations."
        )
    columns = kept.x.array.T
    quartiles = np.stack([quantile(values, kept.weight, [0.25, 0.75]) for values in columns])
    robust = (quartiles[:, 1] - quartiles[:, 0]) / _ROBUST
    return np.where(robust > 0, robust, np.std(columns, axis=1))


def matches(simulations: Simulations, observed: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Rows that are valid and within one spread of every observed value, (n,) of bool."""
    room = np.maximum(spread, _ROUNDING * np.abs(observed))
    with np.errstate(invalid="ignore"):
        near = np.abs(simulations.x.array - observed) <= room
    return simulations.valid & np.all(near, axis=1)


def _statistic(column: Column, simulations: Simulations, observed: float, spread: float) -> dict:
    """One statistic: measured, predicted, and how far apart; None where nothing is predicted."""
    row: dict = {"name": column.name, "unit": column.unit, "observed": float(observed)}
    row |= {"spread": float(spread), "median": None, "low": None, "high": None}
    row |= {"inside": None, "distance": None}
    kept = simulations.valid & (simulations.weight > 0)
    if not kept.any():
        return row
    values = simulations.x[column.name][kept]
    low, median, high = quantile(values, simulations.weight[kept], [0.05, 0.5, 0.95]).tolist()
    slack = _ROUNDING * abs(observed)
    inside = bool(low - slack <= observed <= high + slack)
    distance = abs(median - float(observed)) / spread if spread > 0 else None
    return row | {
        "low": low, "median": median, "high": high, "inside": inside, "distance": distance
    }  # fmt: skip


def _on_validity(valid: Share, weighted: bool) -> dict:
    passed = valid.value >= ENOUGH_VALID
    told = f"{in_words(valid)} of {valid.n:,} posterior samples give a valid simulation"
    if weighted:
        told += " (counted by weight, because some hopeless simulations were abandoned early)"
    needed = "" if passed else f", fewer than the {percent(ENOUGH_VALID)} that this check asks for"
    return {"name": "valid", "passed": passed, "sentence": f"{told}{needed}."}


def _on_matching(match: Share, before: Share) -> dict:
    passed = match.value >= ENOUGH_MATCHING
    told = (
        f"{in_words(match)} are valid and match the measurement, every statistic within "
        "one standard deviation of the prior's valid simulations; of the prior's draws "
        f"{_of(before)} do"
    )
    needed = "" if passed else f"; the check asks for {percent(ENOUGH_MATCHING)}"
    return {"name": "matching", "passed": passed, "sentence": f"{told}{needed}."}


def _on_statistics(rows: list[dict]) -> dict:
    if any(row["inside"] is None for row in rows):
        told = "No sample is valid, so no statistic is predicted."
        return {"name": "statistics", "passed": False, "sentence": told}
    missed = [row["name"] for row in rows if not row["inside"]]
    allowed = round(MISSES * len(rows))
    told = f"{len(rows) - len(missed)} of {len(rows)} measured statistics lie inside the 90 % "
    told += "interval of what the posterior predicts"
    if missed:
        verb = "lies" if len(missed) == 1 else "lie"
        told += f"; {', '.join(missed)} {verb} outside"
    return {
        "name": "statistics", "passed": len(missed) <= allowed, "sentence": told + "."
    }  # fmt: skip


def in_words(found: Share) -> str:
    return f"{percent(found.value)} (95 % interval {percent(found.low)} to {percent(found.high)})"


def _of(found: Share) -> str:
    return percent(found.value) if found.value > 0 else f"none of {found.n:,}"


def percent(value: float) -> str:
    """A share in per cent: two digits where it is small."""
    hundred = 100 * value
    return f"{hundred:.0f} %" if hundred >= 10 or hundred == 0 else f"{hundred:.2g} %"
