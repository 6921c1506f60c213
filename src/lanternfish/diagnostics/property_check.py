"""Property check: do circuits drawn from the distribution have the emergent property?

n parameter sets are drawn and each is simulated twice, which gives without bias, whatever the
noise of the simulator,

    mean                  E f             over both trials
    variance over theta   Cov(f_1, f_2)   of trial means, the noise of trials left out
    total variance        Var f           over parameter sets and trials

of each statistic f that the property names. A moment fails where its interval lies wholly outside
of what is near enough: a mean further than 5 % of the wanted standard deviation, a variance further
than 10 % of the wanted variance. The intervals hold all moments together with 95 % (Bonferroni).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from lanternfish.core import (
    Column,
    EmergentProperty,
    Folder,
    Model,
    Posterior,
    Simulations,
    Table,
)
from lanternfish.core.properties import Moments
from lanternfish.core.seeds import stream
from lanternfish.core.weighted import Share, quantile, share
from lanternfish.diagnostics.predictive import ENOUGH_VALID, PredictiveCheck, in_words
from lanternfish.simulation import simulate

MEAN, VARIANCE = 0.05, 0.10  # of the wanted standard deviation, and of the wanted variance
_ALARM = 0.05  # chance that a distribution at the edge of near enough fails


def property_check(
    posterior: Posterior,
    model: Model,
    *,
    n: int = 500,
    seed: int = 0,
    executor=None,
    store: str | os.PathLike | Folder | None = None,
    progress: Callable | bool | None = None,
) -> PredictiveCheck:
    """Simulate ``n`` parameter sets twice and compare their statistics with the property.

    Args:
        posterior: whose target is an ``EmergentProperty``.
        model: that it is the posterior of.
        n: parameter sets.
        seed: of the study.
        executor, store, progress: as for ``lanternfish.simulate``.

    Returns:
        Its ``matching`` are the simulations within one wanted standard deviation of every mean.

    Raises:
        ValueError: if n is below 2, or the target is not a property.
    """
    target = posterior.target
    if not isinstance(target, EmergentProperty):
        raise ValueError(
            f"Expected a posterior of an EmergentProperty; got one of {type(target).__name__}: "
            "predictive_check is for those."
        )
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise ValueError(f"Expected n, a whole number of at least 2; got {n!r}.")
    theta = posterior.sample(int(n), seed=stream(seed, "predictive samples"))
    simulations = simulate(
        model,
        theta=Table(np.concatenate([theta.array, theta.array]), theta.columns),
        seed=stream(seed, "predictive simulations"),
        executor=executor,
        store=store,
        progress=progress,
    )
    return _compared(simulations, target)


def _compared(simulations: Simulations, target: EmergentProperty) -> PredictiveCheck:
    """The check of simulations whose second half repeats the parameters of the first."""
    places = target.places(simulations.x.columns)
    x = simulations.x.array[:, places]
    with np.errstate(invalid="ignore"):
        near = (np.abs(x - target.means) <= target.sds).all(axis=1)
    pairs = np.stack(np.split(x, 2))  # (2, n, r)
    weight = simulations.weight.reshape(2, -1).prod(axis=0)
    kept = np.isfinite(pairs).all(axis=(0, 2)) & (weight > 0)
    pairs, weight = pairs[:, kept], weight[kept]
    columns = {c.name: c for c in simulations.x.columns}
    z = float(ndtri(1 - _ALARM / (4 * len(target))))  # two moments of each, two sides
    rows = [
        _statistic(columns[name], pairs[..., i], weight, wanted, bool(total), z)
        for i, ((name, wanted), total) in enumerate(zip(target.items(), target.total, strict=True))
    ]
    valid = share(simulations.valid, simulations.weight)
    findings = [_on_validity(valid), _on_moments(rows)]
    finding = {
        "passed": all(f["passed"] for f in findings),
        "sentence": " ".join(f["sentence"] for f in findings),
        "valid": valid.as_dict(),
        "statistics": rows,
        "findings": findings,
    }
    return PredictiveCheck(finding, simulations, simulations.valid & near)


def _statistic(
    column: Column, pairs: np.ndarray, weight: np.ndarray, wanted: Moments, total: bool, z: float
) -> dict:
    """One statistic: wanted and found, in trials (2, n); None where nothing was found.

    Intervals reach z standard errors to either side.
    """
    row: dict = {"name": column.name, "unit": column.unit}
    row |= {"wanted_mean": wanted.mean, "wanted_sd": wanted.sd}
    row |= dict.fromkeys(("mean", "mean_error", "sd", "median", "low", "high", "holds"))
    if pairs.shape[1] < 2:
        return row
    share_of = weight / weight.sum()
    n = 1 / float(np.sum(share_of**2))  # what weighted draws are worth
    mean = float(pairs.mean(axis=0) @ share_of)
    first, second = pairs - mean
    products = (first**2 + second**2) / 2 if total else first * second
    variance = float(products @ share_of) * n / max(n - 1, 1)
    error = np.sqrt(float((pairs.mean(axis=0) - mean) ** 2 @ share_of) / n)
    variance_error = np.sqrt(float((products - variance) ** 2 @ share_of) / n)
    far = abs(mean - wanted.mean) - z * error
    variance_far = abs(variance - wanted.sd**2) - z * variance_error
    both = np.concatenate([share_of, share_of])
    low, median, high = quantile(pairs.ravel(), both, [0.05, 0.5, 0.95]).tolist()
    return row | {
        "mean": mean,
        "mean_error": float(error),
        "sd": float(np.sqrt(max(variance, 0.0))),
        "median": median,
        "low": low,
        "high": high,
        "holds": bool(far <= MEAN * wanted.sd and variance_far <= VARIANCE * wanted.sd**2),
    }


def _on_validity(valid: Share) -> dict:
    passed = valid.value >= ENOUGH_VALID
    told = f"{in_words(valid)} of {valid.n:,} fresh simulations are valid"
    return {"name": "valid", "passed": passed, "sentence": f"{told}."}


def _on_moments(rows: list[dict]) -> dict:
    if any(row["holds"] is None for row in rows):
        told = "Hardly a simulation is valid, so the property cannot be looked at."
        return {"name": "property", "passed": False, "sentence": told}
    words = [
        f"{row['name']} {row['mean']:.4g} ± {row['sd']:.3g} where {row['wanted_mean']:.4g} ± "
        f"{row['wanted_sd']:.3g} is wanted"
        for row in rows
        if not row["holds"]
    ]
    if words:
        told = f"Fresh simulations do not have the property: {'; '.join(words)}."
        return {"name": "property", "passed": False, "sentence": told}
    told = f"Fresh simulations have the property, as far as {_sharpness(rows)} tells."
    return {"name": "property", "passed": True, "sentence": told}


def _sharpness(rows: list[dict]) -> str:
    """How sharply the check looked, in words."""
    error = max(row["mean_error"] / row["wanted_sd"] for row in rows)
    return f"a standard error of {100 * error:.1f} % of the wanted standard deviation"
