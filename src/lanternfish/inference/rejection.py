"""Rejection (ABC): simulate the prior, keep what comes near the measurement.

    theta_i ~ p(theta),  x_i ~ p(x | theta_i),   kept where d(x_i, x_obs) <= eps

The kept parameters are draws of p(theta | d(x, x_obs) <= eps), which becomes the posterior as eps
goes to 0, at a number of simulations that grows as eps to the power of minus the number of
statistics. Distances and kernels: ``distance``; the regression that mends much of a wide tolerance:
``regression``.

Reference: Pritchard et al. (1999), Mol. Biol. Evol. 16:1791; Beaumont, Zhang & Balding (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lanternfish.inference.accepting import Accepting
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.rounds import Fitted, Study
from lanternfish.simulation import simulate
from lanternfish.simulation.store import shard_name

_PLACE = "simulations/round-01"


@dataclass(frozen=True, kw_only=True)
class Rejection(Accepting):
    """ABC by rejection.

    Args:
        simulations: of the prior; those that are given to ``infer`` take their place.
        quantile: share of the valid simulations that is accepted, the nearest ones.
        tolerance: distance within which simulations are accepted, instead of a share: 1 is one
            scale in each statistic.
        noise: scale of each statistic by name, in its unit, such as its measurement noise; the
            robust spread over simulations of the prior where left out.
        kernel: ``"uniform"``, or ``"gaussian"``, which weighs by distance.
        adjustment: ``"linear"`` moves accepted parameters along a regression on the statistics.

    >>> import lanternfish as lf
    >>> lf.Rejection(simulations=100_000, quantile=0.001).adjustment is None
    True
    """

    simulations: int = 10_000

    name: ClassVar[str] = "Rejection"
    rounds: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.simulations < 1:
            raise ValueError(f"Expected at least 1 simulation; got {self.simulations}.")

    def fit(self, study: Study) -> Fitted:
        """Simulate and accept."""
        simulations = study.given
        place = None if study.folder is None else study.folder / _PLACE
        if simulations is None:
            stage = Stage("simulate", 1, 1)
            simulations = simulate(
                study.model,
                self.simulations,
                seed=study.seed,
                executor=study.executor,
                store=place,
                progress=lambda event: study.tell(Progress.of_simulation(stage, event)),
            )
        elif place is not None and not place.exists(shard_name(0)):
            place.write_arrays(shard_name(0), simulations.arrays())
        posterior, entry = self.accept(study, simulations, simulations.weight)
        return Fitted(posterior, simulations, {"rounds": [entry]})
