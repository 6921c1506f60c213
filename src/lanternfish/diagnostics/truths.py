"""Checks by simulated truths: parameters that are known, simulated, and looked for.

Truths are draws of the prior where the posterior holds for any observation. Of a posterior in
rounds, they are parameters of its last round, simulated anew: draws of the prior in the region that
it was trained in, where it is the posterior, too.

    calibration  ranks of each parameter of the truth among posterior draws are uniform
    coverage     regions of highest density hold the truth as often as they say
    TARP         so do balls around random points, which fails where densities cannot be compared
    local        at the observation, a classifier cannot tell truths from posterior draws

References: Talts et al. (2018); Säilynoja et al. (2022); Hermans et al. (2022); Lemos et al. (ICML
2023), "Sampling-based accuracy testing of posterior estimators for general inference"; Linhart et
al. (NeurIPS 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lanternfish.core import Posterior, Simulations, Table
from lanternfish.core.checks import Check
from lanternfish.core.seeds import stream
from lanternfish.core.summaries import in_numbers
from lanternfish.diagnostics.batch import Draws, unbounded
from lanternfish.diagnostics.calibration import judge_ranks, ranks_of
from lanternfish.diagnostics.local_c2st import LocalTest, local_c2st
from lanternfish.diagnostics.uniformity import Uniformity

DRAWS = 199  # of each posterior, so that ranks have 200 values
HERE = 200  # draws at the observation
_RETRAIN = (
    "Do not trust the widths of this posterior: train with more simulations, several members or "
    "another density, and check again."
)


@dataclass(frozen=True)
class Truths:
    """Truths, what was simulated of them, and draws of the posterior of each."""

    simulations: Simulations
    draws: Draws

    def ranks(self, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        return ranks_of(self.simulations.theta.array, self.draws, seed)


def calibration(posterior: Posterior, truths: Truths, seed: int) -> list[Check]:
    """Ranks of each parameter, and, where there is a density, coverage of its regions."""
    ranks, regions = truths.ranks(seed)
    table = Table(ranks, posterior.parameters)
    judged = judge_ranks(table, np.zeros(len(ranks)) if regions is None else regions, DRAWS)
    rows, n = judged.finding["parameters"], len(ranks)
    p = min(min(row["p_value"] for row in rows) * len(rows), 1.0)
    shares = np.stack([_shares(judged.ranks[name], judged.levels) for name in table.names])
    band = {"levels": judged.levels, "low": judged.low, "high": judged.high}
    found = [
        Check(
            "calibration",
            True,
            judged.finding["sentence"].split(" Of the simulated truths,")[0],
            _RETRAIN,
            {"n": n, "parameters": rows},
            p,
            picture=_plain(kind="ranks", names=list(table.names), shares=shares, **band),
        )
    ]
    if regions is None:
        return found
    coverage = judged.finding["coverage"]
    shares = _shares(judged.coverage, judged.levels)
    return [
        *found,
        Check(
            "coverage",
            True,
            coverage["sentence"],
            _RETRAIN,
            {"n": n, "verdict": coverage["verdict"], "claims": coverage["claims"]},
            coverage["p_value"],
            picture=_plain(kind="coverage", shares=shares, **band),
        ),
    ]


def tarp(posterior: Posterior, truths: Truths, seed: int) -> Check:
    """Coverage of balls around random points (TARP).

    Around a point r_i of the prior, the ball that reaches the truth holds a share of the draws that
    is uniform where the posterior is right. Distances are in prior deviations of the unbounded
    parameters.
    """
    prior, n = posterior.prior, len(truths.simulations)
    points = unbounded(prior, prior.sample(n, seed=stream(seed, "tarp points")).array)
    scale = points.std(axis=0) + 1e-12
    truth = unbounded(prior, truths.simulations.theta.array)
    drawn = unbounded(prior, truths.draws.theta)
    radius = np.linalg.norm((truth - points) / scale, axis=1)
    reach = np.linalg.norm((drawn - points[:, None]) / scale, axis=2)
    ranks = np.sum(reach < radius[:, None], axis=1)
    uniform = Uniformity(n, reach.shape[1])
    p, masses = uniform.p_value(ranks), (ranks + 0.5) / (reach.shape[1] + 1)
    low, high = uniform.band(0.01)
    away = float(np.max(np.abs(_shares(masses, uniform.levels) - uniform.levels)))
    outer = float(np.mean(np.abs(masses - 0.5) > 0.45))
    told = (
        f"Of {n} simulated truths, balls around random points hold what they claim to within "
        f"{100 * away:.1f} points of a hundred; {100 * outer:.0f} % lie in the outermost 10 %."
    )
    return Check(
        "TARP", True, told, _RETRAIN, {"n": n, "largest_difference": away, "outer": outer}, p,
        picture=_plain(
            kind="coverage", shares=_shares(masses, uniform.levels), levels=uniform.levels,
            low=low, high=high,
        ),
    )  # fmt: skip


def local(posterior: Posterior, truths: Truths, seed: int) -> Check:
    """The local classifier two-sample test at the observation."""
    prior, sims = posterior.prior, truths.simulations
    x = in_numbers(sims.x)
    x_obs = in_numbers(posterior.observation.table_for(sims.x.columns)).array[0]
    vary = np.ptp(x.array, axis=0) > 0
    here = posterior.sample(HERE, seed=stream(seed, "local draws")).array
    inside = here[prior.contains(here)]
    if len(inside) < HERE / 2:
        raise ValueError(
            f"Expected posterior draws inside the prior's bounds; got {len(inside)} of {HERE}."
        )
    z_here = unbounded(prior, inside)
    found = local_c2st(
        unbounded(prior, sims.theta.array), unbounded(prior, truths.draws.theta[:, 0]),
        x.array[:, vary], z_here, x_obs[vary], seed,
    )  # fmt: skip
    strongest = posterior.parameters[_along(found, z_here)].name
    most = float(np.max(found.statistic))
    told = (
        f"At the observation, a classifier that learned from {len(sims)} pairs tells posterior "
        f"draws from truths {most:.1f} times as well as it would by chance, most along {strongest}."
    )
    return Check(
        "local",
        True,
        told,
        f"Do not trust this posterior at this observation, even if it is right on average: look at "
        f"{strongest}, add rounds around the observation, NPE(rounds=3), or more simulations.",
        {"n": len(sims), "statistic": found.statistic.tolist(), "chance": found.chance.tolist(),
         "along": strongest},
        found.p_value,
        picture=_plain(kind="null", null=np.sort(found.null.max(axis=1)), found=most,
                       label="what a classifier tells at the observation, over chance"),
    )  # fmt: skip


def _along(found: LocalTest, z: np.ndarray) -> int:
    """The parameter that the score depends on most, by its square and itself."""
    explained = []
    for column in z.T:
        features = np.stack([np.ones_like(column), column, column**2], axis=1)
        fit = features @ np.linalg.lstsq(features, found.score, rcond=None)[0]
        explained.append(np.var(fit))
    return int(np.argmax(explained))


def _shares(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Share of values below each level, (K,)."""
    return np.searchsorted(np.sort(values), levels) / len(values)


def _plain(**values) -> dict:
    """Arrays as lists of short numbers."""
    return {
        k: np.round(v, 5).tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()
    }
