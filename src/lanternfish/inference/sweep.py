"""A sweep: the classical exploration of a model, over a design of its parameters.

Points lie on a grid, on a Sobol sequence at the prior's quantiles, or at random
(``simulation.designs``); each is simulated, and all are kept as a table. Those near the target,
weighted by the share of the prior that they stand for, are the posterior (``accepting``). A slice
of a design is simulated as it would be within the whole, so that many machines may share a grid.

References: Prinz, Billimoria & Marder (2003), J. Neurophysiol. 90:3998 (grid of one neuron);
Prinz, Bucher & Marder (2004), Nat. Neurosci. 7:1345 (20,250,000 networks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lanternfish.core import Prior
from lanternfish.core.seeds import stream
from lanternfish.inference.accepting import Accepting
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.rounds import Fitted, Study
from lanternfish.simulation import simulate
from lanternfish.simulation.designs import Grid, Levels, Sobol

_DESIGNS = ("sobol", "grid", "random")
_POINTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Sweep(Accepting):
    """Simulation of a whole design.

    Args:
        simulations: points; 10,000 of a Sobol or random design, all of a grid where left out.
        design: ``"sobol"``, ``"grid"`` or ``"random"``; a grid where levels are given.
        levels: of a grid: how many of each parameter, or by name how many or which.
        first: number of the first point, for a slice of a design.
        quantile: share of the valid simulations that is accepted, the nearest ones.
        tolerance: distance within which simulations are accepted, instead of a share: 1 is one
            scale in each statistic.
        noise: scale of each statistic by name; robust spreads where left out.
        kernel: ``"uniform"``, or ``"gaussian"``, which weighs by distance.
        adjustment: ``"linear"`` moves accepted parameters along a regression on the statistics.

    >>> import lanternfish as lf
    >>> lf.Sweep(levels={"g": (0, 1, 2), "tau": 10}).design
    'grid'
    """

    simulations: int | None = None
    design: str | None = None
    levels: int | Mapping[str, Levels] | None = None
    first: int = 0

    name: ClassVar[str] = "Sweep"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.design is None:
            object.__setattr__(self, "design", "sobol" if self.levels is None else "grid")
        if self.design not in _DESIGNS:
            raise ValueError(f"Expected design of {', '.join(_DESIGNS)}; got {self.design!r}.")
        if (self.levels is None) == (self.design == "grid"):
            raise ValueError(
                "Expected levels for a grid, such as levels=6 or levels={'g': (0, 1, 2), ...}; "
                f"got design {self.design!r} {'without' if self.levels is None else 'with'} levels."
            )
        if isinstance(self.levels, Mapping):
            plain = {name: _plain(given) for name, given in self.levels.items()}
            object.__setattr__(self, "levels", plain)
        if self.simulations is None and self.design != "grid":
            object.__setattr__(self, "simulations", _POINTS)
        if self.simulations is not None and self.simulations < 1:
            raise ValueError(f"Expected at least 1 simulation; got {self.simulations}.")
        if self.first < 0:
            raise ValueError(f"Expected first of at least 0; got {self.first}.")

    def points(self, prior: Prior, seed: int = 0) -> Grid | Sobol | None:
        """The design over a prior, for a study's seed; None where its points are drawn at random.

        ``points(...).rows(start, stop)`` are the parameters of any range.

        Raises:
            ValueError: if it does not fit the prior.
        """
        if self.design == "grid":
            assert self.levels is not None  # see __post_init__
            return Grid(prior, self.levels)
        if self.design == "sobol":
            return Sobol(prior, self.first + (self.simulations or _POINTS), stream(seed, "sobol"))
        return None

    def fit(self, study: Study) -> Fitted:
        """Simulate the design, and accept."""
        points, stage = self.points(study.model.prior, study.seed), Stage("simulate", 1, 1)
        simulations = simulate(
            study.model,
            self.simulations,
            theta=points,
            seed=study.seed,
            first=self.first,
            executor=study.executor,
            store=None if study.folder is None else study.folder / "simulations/round-01",
            progress=lambda event: study.tell(Progress.of_simulation(stage, event)),
        )
        stop = self.first + len(simulations)
        standing = np.ones(len(simulations))
        if points is not None:
            standing = points.weights(self.first, stop)
        posterior, entry = self.accept(study, simulations, simulations.weight * standing)
        entry["design"] = {"kind": self.design, "first": self.first, "stop": stop}
        if isinstance(points, Grid):
            entry["design"]["levels"] = [v.tolist() for v in points.values]
        return Fitted(posterior, simulations, {"rounds": [entry]})


def _plain(levels) -> Levels:
    """Levels as JSON has them: a number, or a tuple of numbers."""
    if isinstance(levels, int | np.integer):
        return int(levels)
    try:
        return tuple(float(v) for v in levels)
    except (TypeError, ValueError):
        return levels  # which Grid says does not fit
