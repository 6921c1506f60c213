"""Sequential Monte Carlo for ABC, with tolerances, kernels and end that adapt.

The first population is drawn from the prior. Then, round by round, the tolerance falls to where a
share of the population is left, as effective sample size, and as many parameters as were left out
are proposed from kernels around those that are left (``moving``), simulated and weighted

    w_i = p(z_i) / q_r(z_i),

prior over the proposal of its own round r, both normalised; a tenth of the proposals are draws of
the prior, which bounds the weights. A simulation stays as long as it lies within the tolerance: as
each round's sum of w_i h(theta_i) 1[d_i <= eps] has the same expectation, the sum over rounds
estimates averages over p(theta | d <= eps) without bias from the adaptation.
Rounds end where proposals are hardly accepted any more, at the tolerance that is wanted, or with
the budget.

References: Lenormand, Jabot & Deffuant (2013), Comput. Stat. 28:2777 (this scheme); Del Moral,
Doucet & Jasra (2012), Stat. Comput. 22:1009 (tolerances by effective sample size).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from lanternfish.core import EmergentProperty, Observation, Simulations
from lanternfish.core.joint import NO_DENSITY
from lanternfish.inference.accepting import (
    check_adjustment,
    posterior_of,
    property_tolerance,
    round_entry,
    say_if_far,
    say_if_few,
)
from lanternfish.inference.distance import Distance, distance_to, effective_size, tolerance_for
from lanternfish.inference.moving import Moving
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.rounds import Fitted, Study
from lanternfish.inference.unbounded import log_prior, to_unbounded
from lanternfish.simulation import simulate

_KERNELS = ("fitted", "covariance", "nearest")
_NEIGHBOURS = 0.2  # share of the population that a local kernel looks at
_FEWEST = 20  # valid simulations of the prior to begin with
_REASONS = {
    "budget": "the budget was spent",
    "acceptance": "proposals were hardly accepted any more",
    "tolerance": "the tolerance was reached",
}


@dataclass(frozen=True, kw_only=True)
class SMC:
    """ABC by sequential Monte Carlo.

    Args:
        simulations: budget over all rounds.
        population: parameters at a time; a tenth of the budget, between 50 and 2,000, where left
            out.
        keep: share of the population that is left when the tolerance falls.
        moves: how far proposals go from the population: ``"fitted"``, a share of its covariance
            that fits it best; ``"covariance"``, twice that; or ``"nearest"``, the covariance of the
            neighbours of each: for populations along a curve, or in several places.
        tolerance: distance at which to stop: 1 is one scale in each statistic.
        acceptance: share of a round's proposals within the last tolerance, below which to stop.
        noise: scale of each statistic by name, in its unit; the robust spread over the first
            population where left out.
        adjustment: ``"linear"`` moves the last population along a regression on the statistics.

    >>> import lanternfish as lf
    >>> lf.SMC(simulations=50_000).size
    2000
    """

    simulations: int = 10_000
    population: int | None = None
    keep: float = 0.5
    moves: str = "fitted"
    tolerance: float | None = None
    acceptance: float = 0.03
    noise: Mapping[str, float] | None = None
    adjustment: str | None = None

    name: ClassVar[str] = "SMC"
    target: ClassVar[tuple[type, ...]] = (Observation, EmergentProperty)

    def __post_init__(self) -> None:
        if self.moves not in _KERNELS:
            raise ValueError(f"Expected moves of {' or '.join(_KERNELS)}; got {self.moves!r}.")
        for name, value in (("keep", self.keep), ("acceptance", self.acceptance)):
            if not 0 <= value < 1 or (name == "keep" and value == 0):
                raise ValueError(f"Expected {name} between 0 and 1; got {value}.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"Expected tolerance above 0; got {self.tolerance}.")
        if self.size < _FEWEST or self.simulations < self.size:
            raise ValueError(
                f"Expected a population of at least {_FEWEST} within the budget of simulations; "
                f"got {self.size} of {self.simulations}."
            )
        check_adjustment(self.adjustment)

    @property
    def size(self) -> int:
        """Parameters in a population."""
        if self.population is not None:
            return self.population
        return int(np.clip(self.simulations // 10, 50, 2_000))

    @property
    def fresh(self) -> int:
        """Proposals of each round after the first."""
        return max(1, self.size - round(self.keep * self.size))

    def describe(self) -> dict:
        """Settings, for the paper trail."""
        return {"name": self.name, **asdict(self)}

    def fit(self, study: Study) -> Fitted:
        """Run all rounds of a study."""
        if not study.model.prior.has_density:
            raise ValueError(NO_DENSITY.replace("NPE(rounds=1)", "Rejection() or NPE(rounds=1)"))
        search = _Search(self, study)
        search.begin()
        while search.reason is None:
            search.go_on()
        return search.fitted()


class _Search:
    """The population, and all simulations that led to it."""

    def __init__(self, method: SMC, study: Study) -> None:
        self.method, self.study = method, study
        self.simulations = Simulations.empty(study.model.parameters, study.model.statistics)
        self.history: list[dict] = []
        self.reason: str | None = None
        self.distance: Distance | None = None
        self.away = np.zeros(0)  # distances of all simulations so far
        self.weight = np.zeros(0)  # and their weights
        self.z = np.zeros((0, len(study.model.prior)))  # and their places
        self.rows = np.zeros(0, int)  # which of them are the population
        self.tolerance = np.inf

    @property
    def wanted(self) -> float | None:
        """The tolerance at which to stop, if any."""
        target, given = self.study.target, self.method.tolerance
        if given is None and isinstance(target, EmergentProperty):
            return property_tolerance(len(target))
        return given

    def begin(self) -> None:
        """Draws of the prior, until enough are valid."""
        size = self.method.size
        self._simulate(size, None)
        while self.simulations.valid.sum() < min(_FEWEST, size) and self._left >= size:
            self._simulate(size, None)
        if self.simulations.valid.sum() < min(_FEWEST, size):
            raise ValueError(
                f"Expected at least {min(_FEWEST, size)} valid simulations of the prior to begin "
                f"with; got {int(self.simulations.valid.sum())}: {self.simulations.report()} Raise "
                "the number of simulations, or narrow the prior."
            )
        study, method = self.study, self.method
        self.distance = distance_to(study.target, study.model, self.simulations, method.noise)
        self._take(self.simulations, self.simulations.weight.copy())
        say_if_far(study, self.simulations, self.history[0])
        self._narrow()

    def go_on(self) -> None:
        """Propose, simulate, weigh and narrow; or find that it is over."""
        if self._left < 1:
            self.reason = "budget"
            return
        centres, weight = self.z[self.rows], self.weight[self.rows]
        prior = self.study.model.prior
        if self.method.moves == "fitted":
            moving = Moving.fitted(prior, centres, weight)
        elif self.method.moves == "covariance":
            moving = Moving.twice_covariance(prior, centres, weight)
        else:
            k = max(len(prior) + 1, round(_NEIGHBOURS * len(centres)))
            moving = Moving.nearest(prior, centres, weight, min(k, len(centres) - 1))
        new = self._simulate(min(self.method.fresh, self._left), moving)
        z = to_unbounded(prior, new.theta.array)
        ratio = np.exp(log_prior(prior, z) - moving.log_density(z))
        before = self.tolerance
        self._take(new, ratio * new.weight, z)
        share = float(np.mean(self.away[-len(new) :] <= before))
        self.history[-1]["acceptance"] = share
        self._narrow()
        if self.reason is None and share < self.method.acceptance:
            self.reason = "acceptance"

    def fitted(self) -> Fitted:
        assert self.distance is not None  # since begin
        rows = self.rows
        posterior = posterior_of(
            self.study, self.simulations, rows, self.weight[rows], self.distance,
            self.away[rows], self.tolerance, name=SMC.name, adjustment=self.method.adjustment,
        )  # fmt: skip
        say_if_few(posterior, self.history[-1])
        assert self.reason is not None  # or rounds would go on
        ended = f"rounds ended at a tolerance of {self.tolerance:.4g}, as {_REASONS[self.reason]}"
        self.history[-1]["note"] = ended
        return Fitted(posterior, self.simulations, {"rounds": self.history})

    @property
    def _left(self) -> int:
        return self.method.simulations - len(self.simulations)

    def _simulate(self, n: int, moving: Moving | None) -> Simulations:
        number = len(self.history) + 1
        planned = 1 + max(0, self.method.simulations - self.method.size) // self.method.fresh
        stage, folder = Stage("simulate", number, max(planned, number)), self.study.folder
        new = simulate(
            self.study.model,
            n,
            proposal=moving,
            seed=self.study.seed,
            first=len(self.simulations),
            executor=self.study.executor,
            store=None if folder is None else folder / f"simulations/round-{number:02d}",
            progress=lambda event: self.study.tell(Progress.of_simulation(stage, event)),
        )
        self.simulations = self.simulations + new
        self.history.append(round_entry(new, np.inf, 0, 0.0))
        return new

    def _take(self, new: Simulations, weight: np.ndarray, z: np.ndarray | None = None) -> None:
        """Add simulations with their weights."""
        assert self.distance is not None  # since begin
        if z is None:
            z = to_unbounded(self.study.model.prior, new.theta.array)
        self.away = np.concatenate([self.away, self.distance.of(new)])
        self.weight = np.concatenate([self.weight, weight])
        self.z = np.concatenate([self.z, z])

    def _narrow(self) -> None:
        """Let the tolerance fall to where the share to keep is left."""
        method, wanted = self.method, self.wanted
        inside = np.flatnonzero((self.away <= self.tolerance) & np.isfinite(self.away))
        away, weight = self.away[inside], self.weight[inside]
        size = min(method.keep * method.size, effective_size(weight))
        tolerance = tolerance_for(away, weight, size, "uniform", 1)
        if wanted is not None and tolerance <= wanted:
            tolerance, self.reason = min(wanted, self.tolerance), "tolerance"
        self.tolerance = min(tolerance, self.tolerance)
        self.rows = inside[away <= self.tolerance]
        entry = self.history[-1]
        effective = effective_size(self.weight[self.rows])
        entry |= {
            "tolerance": self.tolerance, "accepted": len(self.rows), "effective": effective
        }  # fmt: skip
