"""Checks of the observation against simulations of the prior and of the posterior.

    observation  can the model do what was measured? among simulations of the prior
    prediction   does what was found do it? among simulations of the posterior
    valid        do simulations of the posterior give statistics at all?

How far a prediction is off is told in units of each statistic's noise: the standard deviation over
simulations of the same parameters. Each of the posterior's samples is simulated twice, so that

    noise_k^2 = 1/2 mean (x_k - x'_k)^2,    off_k = (x_obs,k - median x_k) / noise_k.

References: Gelman, Meng & Stern (1996); Cannon, Ward & Schmon (2022), arXiv:2209.01845
(misspecification).
"""

from __future__ import annotations

import numpy as np

from lanternfish.core import Posterior, Simulations
from lanternfish.core.checks import Check
from lanternfish.core.seeds import stream
from lanternfish.core.summaries import in_numbers
from lanternfish.core.weighted import share
from lanternfish.diagnostics.calibration import thinned
from lanternfish.diagnostics.plausibility import Plausibility, plausibility
from lanternfish.diagnostics.predictive import ENOUGH_VALID, in_words, percent

_POINTS = 400  # of a cloud that a picture keeps


def observation(posterior: Posterior, prior_draws: Simulations, seed: int) -> Check:
    """Whether the model, anywhere in its prior, does what was measured."""
    found, names = _placed(posterior, prior_draws, "simulations of the prior", seed)
    told = _told(found, names, "simulations of the prior")
    return Check(
        "observation",
        True,
        told,
        "The model may not be able to do what was measured: look at the statistics named, widen "
        "the prior, or add to the model what it lacks. No posterior is to be trusted before.",
        _numbers(found, names),
        found.p_value,
        picture=_picture(found, names, "in robust deviations of the prior's simulations"),
    )


def prediction(posterior: Posterior, twice: Simulations, seed: int) -> Check:
    """Whether circuits of the posterior do what was measured; rows i and i + n/2 are repeats."""
    found, names = _placed(posterior, twice, "simulations of the posterior", seed)
    noise, off = _in_noise(posterior, twice)
    worst = int(np.nanargmax(np.abs(off))) if np.isfinite(off).any() else 0
    told = _told(found, names, "simulations of the posterior")
    if np.isfinite(off[worst]):
        told += (
            f" Of the predictions' medians, {names[worst]} is the furthest off, by "
            f"{abs(off[worst]):.2g} standard deviations of its noise."
        )
    numbers = _numbers(found, names) | {
        "noise": dict(zip(names, _finite(noise), strict=True)),
        "off_in_noise": dict(zip(names, _finite(off), strict=True)),
    }
    return Check(
        "prediction",
        True,
        told,
        "Circuits of this posterior do not do what was measured: give more simulations or rounds; "
        "where that does not bring the prediction nearer, the model cannot do it.",
        numbers,
        found.p_value,
        picture=_picture(found, names, "in robust deviations of the predictions")
        | {"noise_off": _finite(off)},
    )


def valid(simulations: Simulations, learned_from: Simulations) -> Check:
    """Whether simulations of the posterior are valid, beside those that it was learned from."""
    found = share(simulations.valid, simulations.weight)
    before = learned_from.valid_fraction if len(learned_from) else float("nan")
    told = f"{in_words(found)} of {found.n:,} simulations of the posterior are valid"
    if np.isfinite(before):
        told += (
            f"; of the {len(learned_from):,} that it was learned from, {100 * before:.3g} % were"
        )
    return Check(
        "valid",
        found.high >= ENOUGH_VALID,
        f"{told}.",
        "The posterior keeps mass where the model gives no statistics: give more simulations, or "
        "rounds, so that it learns where they are valid.",
        found.as_dict() | {"learned_from": before, "limit": ENOUGH_VALID},
        picture={
            "kind": "bars",
            "names": ["learned from", "of the posterior"],
            "values": [None if not np.isfinite(before) else before, found.value],
            "limit": ENOUGH_VALID,
            "label": "share of valid simulations",
        },
    )


def _placed(
    posterior: Posterior, simulations: Simulations, what: str, seed: int
) -> tuple[Plausibility, list[str]]:
    kept = simulations[thinned(simulations, stream(seed, what))]
    x = in_numbers(kept.x)
    observed = posterior.observation.table_for(simulations.x.columns)
    x_obs = in_numbers(observed)
    return plausibility(x.array, x_obs.array[0], x.columns, what), list(x.names)


def _told(found: Plausibility, names: list[str], what: str) -> str:
    far = sorted(range(len(names)), key=lambda i: -abs(found.scores[i]))
    k, n = len(names), found.n
    rare = [i for i in far if found.by_statistic[i] <= 2.5 / (n + 1)][:3]
    told = f"{percent(found.p_value)} of {n:,} {what} lie as far out as the measurement"
    if rare:
        listed = ", ".join(f"{names[i]} ({found.scores[i]:+.1f} deviations)" for i in rare)
        return f"{told}; beyond all of them: {listed}."
    if found.by_distance["joint"] < found.by_distance["each"] and k > 1:
        return f"{told}, by the combination of its statistics more than by any one."
    return f"{told}, {names[far[0]]} the furthest ({found.scores[far[0]]:+.1f} deviations)."


def _in_noise(posterior: Posterior, twice: Simulations) -> tuple[np.ndarray, np.ndarray]:
    """Noise of each statistic, and how far the median prediction is off in units of it, (k,)."""
    half = len(twice) // 2
    x = in_numbers(twice.x).array
    first, second = x[:half], x[half : 2 * half]
    both = twice.valid[:half] & twice.valid[half : 2 * half]
    x_obs = in_numbers(posterior.observation.table_for(twice.x.columns)).array[0]
    if both.sum() < 2:
        return np.full(x.shape[1], np.nan), np.full(x.shape[1], np.nan)
    noise = np.sqrt(np.mean((first[both] - second[both]) ** 2, axis=0) / 2)
    off = x_obs - np.median(x[twice.valid], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return noise, np.where(noise > 0, off / noise, np.nan)


def _numbers(found: Plausibility, names: list[str]) -> dict:
    return {
        "n": found.n,
        "by_distance": found.by_distance,
        "by_statistic": dict(zip(names, np.round(found.by_statistic, 5).tolist(), strict=True)),
        "deviations": dict(zip(names, np.round(found.scores, 4).tolist(), strict=True)),
    }


def _picture(found: Plausibility, names: list[str], label: str) -> dict:
    cloud, here = found.distances
    kept = np.sort(cloud)[:: max(1, len(cloud) // _POINTS)]
    return {
        "kind": "place",
        "names": names,
        "scores": np.round(found.scores, 4).tolist(),
        "label": label,
        "cloud": np.round(np.sqrt(np.maximum(kept, 0)), 4).tolist(),
        "here": float(np.sqrt(max(here, 0))),
    }


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
