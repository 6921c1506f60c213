"""Neural posterior estimation (SNPE; Greenberg, Nonnenmacher & Macke 2019; Deistler et al. 2022).

A conditional flow q is fitted to simulated pairs,

    minimise  - E_{p(theta) p(x | theta)} log q(theta | x),

whose minimum is the posterior for every x. With several rounds, each further round simulates where
the last posterior may be:

    truncated  from the prior restricted to a region that holds the posterior (``truncation``); the
               loss stays the same, over the simulations of all rounds that lie there;
    posterior  from the posterior itself, with the atomic loss (``atomic``).

A round that makes the posterior worse on held-out pairs is not followed (``judge``), and when
rounds bring nothing more, what is left of the budget goes into one last round.

A cut leaves edges in p(theta | x) for every x whose posterior reaches beyond it. Where the flow's
start, the linear Gaussian posterior, was as good as all that the first round learned, and is wide,
edges would be all that further rounds had to learn: there no cut is made, what is left is simulated
from the prior, and the posterior is amortised.

Only valid simulations are trained on: q then learns p(theta | x, valid), which for an x that was
measured, and so is valid, is the posterior. Simulations that lack some of their statistics may be
trained on too, with indicators of what is missing: that adds what they say, and changes nothing for
an x that lacks nothing.

Statistics may be raw data - traces, images, trials: the flow's embedding networks are chosen from
their shapes and trained with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from lanternfish import flows
from lanternfish.core.seeds import mix
from lanternfish.inference.atomic import with_atoms
from lanternfish.inference.judge import gain, losses_of
from lanternfish.inference.method import Rounds, SequentialMethod
from lanternfish.inference.npe_posterior import NPEPosterior
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.progress import Progress
from lanternfish.inference.race import SPLINE, autoregressive, candidates, race
from lanternfish.inference.rounds import (
    Fitted,
    Study,
    layout_of,
    too_few,
    trained_on,
    training_pairs,
)
from lanternfish.inference.training import HELD_OUT
from lanternfish.inference.truncation import TruncatedPrior

_ENSEMBLES = {5_000: 3, 20_000: 2}  # members, where there are fewer pairs than so many
_RACED = 20_000  # pairs from which a race between densities is worth its time
_PROPOSALS = ("truncated", "posterior")
_WIDE = 0.05  # share of the prior in the first cut, above which a Gaussian posterior is not cut
_SETTLED = 0.8  # share of a round's draws that the next cut keeps, above which cuts bring nothing


@dataclass(frozen=True)
class NPE(SequentialMethod):
    """Neural posterior estimation.

    Args:
        simulations: budget over all rounds; 10,000 where neither this nor minutes are given.
        minutes: budget in wall time instead, about: a pilot decides how many simulations fit.
        rounds: 1 trains a posterior for any observation (amortised); more spend the later
            simulations where the posterior for this observation may be.
        density: ``"spline"``, ``"autoregressive"``, ``"maf"``, ``"mixture"`` or a
            ``flows.Architecture``; None: from 20,000 pairs on, a short race between the four
            decides by held-out density; of fewer, the second is taken (raw data take the
            first).
        training: settings of the training loop.
        first_round: share of the budget that the first of several rounds gets.
        proposal: where further rounds simulate: ``"truncated"``, or ``"posterior"`` (APT).
        epsilon: share of the posterior that a truncated proposal may lose.
        masked: whether simulations that lack some of their statistics (NaN) are trained on; None:
            where they are 5 to 90 % of those that have any.
        members: flows in the ensemble; None: where the density is left to us, in the last round
            3 of fewer than 5,000 pairs, 2 of fewer than 20,000, else 1.

    >>> import lanternfish as lf
    >>> lf.NPE(simulations=100_000, rounds=5).rounds
    5
    """

    density: str | flows.Architecture | None = None
    proposal: str = "truncated"
    epsilon: float = 1e-3
    masked: bool | None = None
    members: int | None = None

    name: ClassVar[str] = "NPE"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.proposal not in _PROPOSALS:
            raise ValueError(
                f"Expected proposal of {' or '.join(_PROPOSALS)}; got {self.proposal!r}."
            )
        if not 0 < self.epsilon < 0.5:
            raise ValueError(f"Expected epsilon between 0 and 0.5; got {self.epsilon}.")
        if self.members is not None and self.members < 1:
            raise ValueError(f"Expected members of at least 1; got {self.members}.")

    def fit(self, study: Study) -> Fitted:
        """Run all rounds of a study."""
        rounds, posterior, proposal = Rounds(self, study), None, None
        while not rounds.over:
            number = len(rounds.history) + 1
            if posterior is not None:
                proposal = self._proposal(rounds, number, posterior)
            rounds.simulate(number, proposal)
            found = self._learn(rounds, number, proposal, posterior)
            if number == 1:
                rounds.say_if_far()
                assert found is not None  # of the first round always
                rounds.say_if_little(found.pairs, np.flatnonzero(found.held))
            posterior = self._better(rounds, posterior, found)
            stage = rounds.stage("train", number)
            study.tell(
                Progress(stage, 1.0, None, "the posterior stands", {}, lambda it=posterior: it)
            )
        assert posterior is not None  # the first round gives one, or raises
        return Fitted(posterior, rounds.simulations, {"rounds": rounds.history})

    def _proposal(self, rounds: Rounds, number: int, posterior: NPEPosterior):
        """Where the next round simulates; all that is left, where rounds bring nothing more."""
        entry = rounds.history[-1]
        settled = entry.get("settled", False)
        if self.proposal == "posterior":
            proposal = posterior.sample_at
        else:
            proposal = TruncatedPrior(posterior, self.epsilon, rounds.seed("cut", number))
            newest = rounds.simulations.theta.array[-entry["simulations"] :]
            entry["share_kept"] = float(proposal.holds(newest).mean())
            settled = settled and entry["share_kept"] > _SETTLED
            if number == 2 and entry["best_epoch"] == 0 and proposal.share > _WIDE:
                entry["wide"] = proposal.share
                proposal, settled = None, True
        if settled:
            rounds.spend_the_rest()
        return proposal

    def _learn(self, rounds: Rounds, number: int, proposal, before) -> _Learned | None:
        """The posterior of a round; None where a later one has too few simulations to learn from.

        Without an architecture, given or of the posterior before, a race chooses one.
        """
        study, sims = rounds.study, rounds.simulations
        rows = np.arange(len(sims))
        if isinstance(proposal, TruncatedPrior):
            rows = rows[proposal.holds(sims.theta.array)]
        inside = sims if len(rows) == len(sims) else sims[rows]
        if before is not None and too_few(inside):
            return None
        study.tell(Progress(rounds.stage("train", number), 0.0, None, "preparing"))
        pairs = training_pairs(study.model, inside, self.masked)
        rows = rows[trained_on(inside, self.masked)]
        if before is not None and self.proposal == "posterior":
            first = rows < rounds.history[0]["simulations"]
            pairs = with_atoms(study.model.prior, pairs, first)
        layout = layout_of(study.model.statistics)

        def build(architecture: flows.Architecture, seed: int) -> flows.ConditionalFlow:
            return flows.build(seed, architecture, pairs.z, pairs.c, layout)

        anew = proposal is None  # from the prior alone, as if there had been no round before
        chosen = self.architecture if anew or before is None else before.architecture
        if chosen is None:
            chosen = self._choose(rounds, number, pairs, build)
        size = self.members or self._size(len(pairs.z), rounds.over)
        seeds = rounds.member_seeds(number, size)
        share = min(self.training.held_out, HELD_OUT / sum(rounds.budgets))
        held = held_out(rows, share, rounds.seed("held", 0))
        fresh = [build(chosen, seed) for seed in seeds]
        start = None if anew else before
        members, settings = self._starts(start, fresh, pairs, np.flatnonzero(held))
        posterior = NPEPosterior(
            prior=study.model.prior,
            statistics=study.model.statistics,
            observation=study.target,
            flow=rounds.train(number, members, pairs, held=held, settings=settings),
            architecture=chosen,
            amortised=anew,
            validity=rounds.validity(number),
        )
        return _Learned(posterior, pairs, rows, held)

    def _size(self, n: int, last: bool) -> int:
        """Members of the ensemble that learns from n pairs: more than one in the last round."""
        if self.density is not None or not last:
            return 1
        return next((size for most, size in _ENSEMBLES.items() if n < most), 1)

    def _starts(self, before, fresh, pairs: Pairs, held: np.ndarray):
        """Where members start, and settings: from the round before, where that is ahead already.

        A flow that goes on needs fewer and smaller steps than one that starts anew.
        """
        if before is None:
            return fresh, None
        flow = before.flow
        old = flow.members() if isinstance(flow, flows.Ensemble) else [flow]
        if len(old) != len(fresh) or held.size == 0:
            return fresh, None
        older, newer = (np.mean(losses_of(f[0], pairs, held)) for f in (old, fresh))
        if not older < newer:
            return fresh, None
        usual = self.training.for_pairs(len(pairs.z))
        return old, replace(usual, rate=usual.rate / 3, epochs=-(-(usual.epochs or 1) // 2))

    def _better(self, rounds: Rounds, before, found: _Learned | None) -> NPEPosterior:
        """The newer posterior, unless the older one is better beyond chance."""
        entry = rounds.history[-1]
        if found is None:
            entry.update(collapsed=True, settled=True)
            return before
        if before is None:
            return found.posterior
        new = found.rows >= len(rounds.simulations) - entry["simulations"]
        unseen = np.flatnonzero(found.held & new)
        judged = gain(before.flow, found.posterior.flow, found.pairs, unseen)
        if judged is None:
            return found.posterior
        entry.update(gain=judged.mean, gain_error=judged.error, settled=judged.small)
        entry["reverted"] = judged.worse
        return before if judged.worse else found.posterior

    def _choose(self, rounds: Rounds, number: int, pairs: Pairs, build) -> flows.Architecture:
        study, stage = rounds.study, rounds.stage("race", number)
        if any(column.is_array for column in study.model.statistics):
            return SPLINE
        if len(pairs.z) < _RACED:
            return autoregressive(len(study.model.prior), sum(rounds.budgets))
        seed = rounds.seed("fit", number)
        chosen, losses = race(
            candidates(len(study.model.prior)),
            lambda architecture: build(architecture, seed), pairs,
            self.training, seed=seed,
            tell=lambda epoch: study.tell(Progress.of_training(stage, epoch)),
        )  # fmt: skip
        rounds.history[-1]["race"] = losses
        return chosen


class _Learned(NamedTuple):
    """Of a round: its posterior, the pairs it was learned from, and which simulations they are."""

    posterior: NPEPosterior
    pairs: Pairs
    rows: np.ndarray
    held: np.ndarray


def held_out(rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which simulations, by number, are held out: the same ones in every round, (n,) of bool.

    A flow that goes on from the round before has then never learned from them.
    """
    with np.errstate(over="ignore"):
        words = mix(np.asarray(rows, np.uint64) + np.uint64(seed))
    held = words < np.uint64(share * 2**64)
    if len(held) > 1 and (held.all() or not held.any()):
        held = np.arange(len(held)) == 0
    return held
