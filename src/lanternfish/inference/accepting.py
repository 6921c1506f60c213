"""What methods that accept simulations share: how near is near enough, and the posterior of those.

With a tolerance that is a share q of the simulations, eps is such that the accepted ones are worth
q n_valid simulations of equal weight. For an emergent property, mean and standard deviation of
statistics, eps is such that where all statistics are equally likely before, the accepted ones have
the property's standard deviations: sqrt((k + 2) / k) for a uniform kernel over k statistics, the
deviation of a ball, and 1 for a Gaussian one. A simulation is one trial, so these are deviations
over parameters and trials together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from lanternfish.core import EmergentProperty, Observation, Simulations
from lanternfish.inference.distance import (
    KERNELS,
    Distance,
    distance_to,
    kernel_weight,
    tolerance_for,
)
from lanternfish.inference.regression import adjusted, epanechnikov
from lanternfish.inference.rounds import Study, far_off
from lanternfish.inference.samples_posterior import SamplesPosterior
from lanternfish.inference.unbounded import from_unbounded, to_unbounded

ADJUSTMENTS = (None, "linear")
_FEW = 50  # effective samples below which a posterior is only a hint
_LEAST = 1e-9  # of the largest weight: less is left out


@dataclass(frozen=True, kw_only=True)
class Accepting:
    """Acceptance of simulations that are there.

    Args:
        quantile: share of the valid simulations that is accepted, the nearest ones.
        tolerance: distance within which simulations are accepted, instead of a share: 1 is one
            scale in each statistic.
        noise: scale of each statistic by name, in its unit, such as its measurement noise; the
            robust spread over simulations of the prior where left out.
        kernel: ``"uniform"``, or ``"gaussian"``, which weighs by distance.
        adjustment: ``"linear"`` moves accepted parameters along a regression on the statistics.
    """

    quantile: float = 0.01
    tolerance: float | None = None
    noise: Mapping[str, float] | None = None
    kernel: str = "uniform"
    adjustment: str | None = None

    name: ClassVar[str]
    target: ClassVar[tuple[type, ...]] = (Observation, EmergentProperty)

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ValueError(f"Expected quantile above 0, up to 1; got {self.quantile}.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"Expected tolerance above 0; got {self.tolerance}.")
        if self.kernel not in KERNELS:
            raise ValueError(f"Expected kernel of {' or '.join(KERNELS)}; got {self.kernel!r}.")
        check_adjustment(self.adjustment)

    def describe(self) -> dict:
        """Settings, for the paper trail."""
        return {"name": self.name, **asdict(self)}

    def accept(
        self, study: Study, simulations: Simulations, weight: np.ndarray
    ) -> tuple[SamplesPosterior, dict]:
        """The posterior of some simulations, and what became of them, for the history.

        Args:
            weight: of each, prior over what proposed it, (n,).

        Raises:
            ValueError: if none is accepted.
        """
        distance = distance_to(study.target, study.model, simulations, self.noise)
        away, k = distance.of(simulations), len(distance.wanted)
        valid = int(np.isfinite(away).sum())
        if not valid:
            raise ValueError(
                f"Expected valid simulations to accept from; got none: {simulations.report()} "
                "Raise the number of simulations, or narrow the prior."
            )
        tolerance = self._tolerance(study, k)
        if tolerance is None:
            size = max(self.quantile * valid, 1.0)
            tolerance = tolerance_for(away, weight, size, self.kernel, k)
        w = weight * kernel_weight(away, tolerance, self.kernel, k)
        if not w.max(initial=0.0) > 0:
            raise ValueError(
                f"Expected simulations within the tolerance of {tolerance:.4g}; got none, the "
                f"nearest of {valid:,} valid ones at {away.min():.4g}: raise the tolerance, or the "
                "number of simulations."
            )
        kept = np.flatnonzero(w > _LEAST * w.max())
        posterior = posterior_of(
            study, simulations, kept, w[kept], distance, away[kept], tolerance,
            name=self.name, adjustment=self.adjustment, kernel=self.kernel,
        )  # fmt: skip
        entry = round_entry(simulations, tolerance, len(kept), posterior.effective)
        say_if_far(study, simulations, entry)
        say_if_few(posterior, entry)
        return posterior, entry

    def _tolerance(self, study: Study, numbers: int) -> float | None:
        if self.tolerance is None and isinstance(study.target, EmergentProperty):
            return property_tolerance(numbers) if self.kernel == "uniform" else 1.0
        return self.tolerance


def check_adjustment(adjustment: str | None) -> None:
    if adjustment not in ADJUSTMENTS:
        raise ValueError(f'Expected adjustment of "linear" or None; got {adjustment!r}.')


def property_tolerance(numbers: int) -> float:
    """Radius of a ball whose deviation along each of its dimensions is 1, over sqrt(numbers)."""
    return float(np.sqrt((numbers + 2) / numbers))


def posterior_of(
    study: Study, simulations: Simulations, rows: np.ndarray, weight: np.ndarray,
    distance: Distance, away: np.ndarray, tolerance: float, *,
    name: str, adjustment: str | None, kernel: str = "uniform",
) -> SamplesPosterior:  # fmt: skip
    """The posterior of accepted simulations.

    Args:
        rows: numbers of the accepted simulations, (m,).
        weight: of each of them, (m,).
        away: distance of each of them, (m,).
    """
    prior, accepted = study.model.prior, simulations[rows]
    theta = np.array(accepted.theta.array)
    if adjustment is not None:
        if kernel == "uniform":
            weight = weight * epanechnikov(away, tolerance)
        kept = weight > 0
        theta, weight, accepted = theta[kept], weight[kept], accepted[kept]
        differences = distance.away(accepted.x.array)
        theta = from_unbounded(prior, adjusted(to_unbounded(prior, theta), differences, weight))
    details = {
        "method": name,
        "tolerance": float(tolerance),
        "kernel": kernel,
        "adjustment": adjustment,
        "scale": distance.scale.tolist(),
    }
    statistics = study.model.statistics
    share = weight / weight.sum()
    return SamplesPosterior(prior, statistics, study.target, theta, share, details)


def round_entry(
    simulations: Simulations, tolerance: float, accepted: int, effective: float
) -> dict:
    """A round of the history: counts, and the tolerance that they led to."""
    return {
        "simulations": len(simulations),
        "valid": int(simulations.valid.sum()),
        "valid_fraction": simulations.valid_fraction,
        "train": [],
        "validation": [],
        "best_epoch": 0,
        "tolerance": float(tolerance),
        "accepted": int(accepted),
        "effective": float(effective),
    }


def say_if_far(study: Study, simulations: Simulations, entry: dict) -> None:
    """Warn, and note, that an observation lies far outside of simulations of the prior."""
    far = None
    if isinstance(study.target, Observation):
        far = far_off(study.target, simulations)
    if far is not None:
        entry["far"] = far
        warnings.warn(far, stacklevel=4)


def say_if_few(posterior: SamplesPosterior, entry: dict) -> None:
    """Warn, and note, that a posterior rests on few simulations."""
    if posterior.effective < _FEW:
        entry["little"] = (
            f"Expected accepted simulations worth at least {_FEW} of equal weight; got "
            f"{posterior.effective:.3g}: simulate more, or accept a larger share."
        )
        warnings.warn(entry["little"], stacklevel=4)
