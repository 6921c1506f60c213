"""Neural posterior estimation (SNPE; Greenberg, Nonnenmacher & Macke 2019; Deistler et al. 2022).

A conditional flow q is fitted to simulated pairs,

    minimise  - E_{p(theta) p(x | theta)} log q(theta | x),

whose minimum is the posterior for every x. With several rounds, each further round simulates from
the prior restricted to where the last posterior may be (``truncation``); the loss stays the same
and all rounds' simulations are used.

Only valid simulations are trained on: q then learns p(theta | x, valid), which for an x that was
measured, and so is valid, is the posterior. Simulations that lack some of their statistics may be
trained on too, with indicators of what is missing: that adds what they say, and changes nothing for
an x that lacks nothing.

Statistics may be raw data - traces, images, trials: the flow's embedding networks are chosen from
their shapes and trained with it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import jax.random as jr

from lanternfish import flows
from lanternfish.core import Simulations
from lanternfish.core.seeds import stream
from lanternfish.inference.npe_posterior import NPEPosterior
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.rounds import (
    Fitted,
    Study,
    check_budget,
    layout_of,
    round_history,
    round_validity,
    simulate_round,
    split_budget,
    training_pairs,
)
from lanternfish.inference.training import Training, train
from lanternfish.inference.truncation import TruncatedPrior


@dataclass(frozen=True)
class NPE:
    """Neural posterior estimation.

    Args:
        simulations: budget over all rounds.
        rounds: 1 trains a posterior for any observation (amortised); more spend the later
            simulations where the posterior for this observation may be.
        density: ``"spline"`` (neural spline coupling flow), ``"maf"`` (masked autoregressive flow)
            or a ``flows.Architecture``.
        training: settings of the training loop.
        first_round: share of the budget that the first of several rounds gets.
        epsilon: share of the posterior that a truncated proposal may lose.
        masked: whether simulations that lack some of their statistics (NaN) are trained on; None:
            where they are 5 to 90 % of those that have any.

    >>> import lanternfish as lf
    >>> lf.NPE(simulations=100_000, rounds=5).rounds
    5
    """

    simulations: int = 10_000
    rounds: int = 1
    density: str | flows.Architecture = "spline"
    training: Training = field(default_factory=Training)
    first_round: float | None = None
    epsilon: float = 1e-3
    masked: bool | None = None

    name = "NPE"

    def __post_init__(self) -> None:
        check_budget(self.simulations, self.rounds, self.first_round)
        if not 0 < self.epsilon < 0.5:
            raise ValueError(f"Expected epsilon between 0 and 0.5; got {self.epsilon}.")
        self.architecture  # noqa: B018  (names an unknown density at once)

    @property
    def architecture(self) -> flows.Architecture:
        if isinstance(self.density, flows.Architecture):
            return self.density
        return flows.Architecture(kind=self.density)  # type: ignore[arg-type]

    @property
    def budgets(self) -> list[int]:
        """Simulations of each round."""
        return split_budget(self.simulations, self.rounds, self.first_round)

    def describe(self) -> dict:
        """Hyperparameters, for the paper trail."""
        return {"name": self.name, **asdict(replace(self, density=self.architecture))}

    def fit(self, study: Study) -> Fitted:
        """Run all rounds of a study."""
        return _Rounds(self, study).run()


class _Rounds:
    """The rounds of one study."""

    def __init__(self, method: NPE, study: Study) -> None:
        self.method, self.study = method, study
        self.simulations = Simulations.empty(study.model.parameters, study.model.statistics)
        self.history: list[dict] = []

    def run(self) -> Fitted:
        posterior = None
        for number, budget in enumerate(self.method.budgets, start=1):
            new = self._simulate(number, budget, posterior)
            self.simulations = self.simulations + new
            posterior = self._train(number, new)
        assert posterior is not None  # rounds is at least 1
        return Fitted(posterior, self.simulations, {"rounds": self.history})

    def _simulate(self, number: int, budget: int, posterior: NPEPosterior | None) -> Simulations:
        proposal = None
        if posterior is not None:
            seed = stream(self.study.seed, f"cut{number}")
            proposal = TruncatedPrior(posterior, self.method.epsilon, seed=seed)
        first = len(self.simulations)
        return simulate_round(self.study, (number, self.method.rounds), budget, first, proposal)

    def _train(self, number: int, new: Simulations) -> NPEPosterior:
        study, method = self.study, self.method
        stage = Stage("train", number, method.rounds)
        study.tell(Progress(stage, 0.0, None, "preparing"))
        pairs = training_pairs(study.model, self.simulations, method.masked)
        seed = stream(study.seed, f"fit{number}")
        flow = flows.build(
            jr.key(seed % 2**32), method.architecture, pairs.z, pairs.c,
            layout_of(study.model.statistics),
        )  # fmt: skip
        flow, curves = train(
            flow, pairs, method.training, seed=seed, checkpoint=study.part("training", number),
            tell=lambda epoch: study.tell(Progress.of_training(stage, epoch)),
        )  # fmt: skip
        self.history.append(round_history(curves, new))
        return NPEPosterior(
            prior=study.model.prior,
            statistics=study.model.statistics,
            observation=study.target,
            flow=flow,
            architecture=method.architecture,
            amortised=method.rounds == 1,
            validity=round_validity(study, self.simulations, number),
        )
