"""Neural posterior estimation (SNPE; Greenberg, Nonnenmacher & Macke 2019; Deistler et al. 2022).

A conditional flow q is fitted to simulated pairs,

    minimise  - E_{p(theta) p(x | theta)} log q(theta | x),

whose minimum is the posterior for every x. With several rounds, each further round simulates from
the prior restricted to where the last posterior may be (``truncation``); the loss stays the same,
over the simulations of all rounds that lie there.

Only valid simulations are trained on: q then learns p(theta | x, valid), which for an x that was
measured, and so is valid, is the posterior. Simulations that lack some of their statistics may be
trained on too, with indicators of what is missing: that adds what they say, and changes nothing for
an x that lacks nothing.

Statistics may be raw data - traces, images, trials: the flow's embedding networks are chosen from
their shapes and trained with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lanternfish import flows
from lanternfish.inference.method import Rounds, SequentialMethod
from lanternfish.inference.npe_posterior import NPEPosterior
from lanternfish.inference.progress import Progress
from lanternfish.inference.race import AUTOREGRESSIVE, SPLINE, race
from lanternfish.inference.rounds import Fitted, Study, layout_of, training_pairs
from lanternfish.inference.training import Pairs
from lanternfish.inference.truncation import TruncatedPrior

_MEMBERS, _FEW = 3, 20_000  # of an ensemble, where there are fewer pairs than these


@dataclass(frozen=True)
class NPE(SequentialMethod):
    """Neural posterior estimation.

    Args:
        simulations: budget over all rounds.
        rounds: 1 trains a posterior for any observation (amortised); more spend the later
            simulations where the posterior for this observation may be.
        density: ``"spline"``, ``"autoregressive"``, ``"maf"``, ``"mixture"`` or a
            ``flows.Architecture``; None: a short race between the first two decides by held-out
            density (raw data take the first).
        training: settings of the training loop.
        first_round: share of the budget that the first of several rounds gets.
        epsilon: share of the posterior that a truncated proposal may lose.
        masked: whether simulations that lack some of their statistics (NaN) are trained on; None:
            where they are 5 to 90 % of those that have any.
        members: flows in the ensemble; None: 3 where the density is left to us and there are fewer
            than 20,000 pairs to learn from, else 1.

    >>> import lanternfish as lf
    >>> lf.NPE(simulations=100_000, rounds=5).rounds
    5
    """

    density: str | flows.Architecture | None = None
    epsilon: float = 1e-3
    masked: bool | None = None
    members: int | None = None

    name: ClassVar[str] = "NPE"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.epsilon < 0.5:
            raise ValueError(f"Expected epsilon between 0 and 0.5; got {self.epsilon}.")
        if self.members is not None and self.members < 1:
            raise ValueError(f"Expected members of at least 1; got {self.members}.")

    def fit(self, study: Study) -> Fitted:
        """Run all rounds of a study."""
        rounds, posterior, region = Rounds(self, study), None, None
        for number in range(1, self.rounds + 1):
            if posterior is not None:
                region = TruncatedPrior(posterior, self.epsilon, rounds.seed("cut", number))
            rounds.simulate(number, region)
            chosen = self.architecture if posterior is None else posterior.architecture
            posterior = self._learn(rounds, number, region, chosen)
        assert posterior is not None  # rounds is at least 1
        return Fitted(posterior, rounds.simulations, {"rounds": rounds.history})

    def _learn(self, rounds: Rounds, number: int, region, chosen) -> NPEPosterior:
        """The posterior of a round; without a chosen architecture, a race chooses one."""
        study, inside = rounds.study, rounds.simulations
        if region is not None:
            inside = inside[region.holds(inside.theta.array)]
        study.tell(Progress(rounds.stage("train", number), 0.0, None, "preparing"))
        pairs = training_pairs(study.model, inside, self.masked)
        layout = layout_of(study.model.statistics)

        def build(architecture: flows.Architecture, seed: int) -> flows.ConditionalFlow:
            return flows.build(seed, architecture, pairs.z, pairs.c, layout)

        if chosen is None:
            chosen = self._choose(rounds, number, pairs, build)
        several = self.density is None and len(pairs.z) < _FEW
        seeds = rounds.member_seeds(number, self.members or (_MEMBERS if several else 1))
        return NPEPosterior(
            prior=study.model.prior,
            statistics=study.model.statistics,
            observation=study.target,
            flow=rounds.train(number, [build(chosen, seed) for seed in seeds], pairs),
            architecture=chosen,
            amortised=self.rounds == 1,
            validity=rounds.validity(number),
        )

    def _choose(self, rounds: Rounds, number: int, pairs: Pairs, build) -> flows.Architecture:
        study, stage = rounds.study, rounds.stage("race", number)
        if any(column.is_array for column in study.model.statistics):
            return SPLINE
        seed = rounds.seed("fit", number)
        chosen, losses = race(
            (SPLINE, AUTOREGRESSIVE), lambda architecture: build(architecture, seed), pairs,
            self.training, seed=seed,
            tell=lambda epoch: study.tell(Progress.of_training(stage, epoch)),
        )  # fmt: skip
        rounds.history[-1]["race"] = losses
        return chosen
