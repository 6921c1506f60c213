"""Sequential neural likelihood estimation (Papamakarios, Sterratt & Murray 2019) with validity.

Two things are learned from simulations of all rounds, whatever proposed them, because both are
conditional on theta:

    q(x | theta, valid)    a conditional flow, from the valid simulations, or an exponential family
                           where that tells held-out parameter sets better (``contrast``),
    P(valid | theta)       a classifier, from all of them,

and the posterior is prior x P(valid | theta) x q(x_o | theta, valid). No correction for
proposals is needed, so each round simulates right where the last posterior is (or, of a family,
from a somewhat wider one, which teaches its slopes better). Where few
parameters give a valid simulation at all, as in circuits that must keep a rhythm, this takes far
fewer simulations than proposals that stay as wide as a truncated prior.

The second round's proposals come from the linear Gaussian posterior of the first: a scout that
needs no training.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from lanternfish import flows
from lanternfish.core.seeds import mix
from lanternfish.inference.contrast import contrast
from lanternfish.inference.families import Region, exponential
from lanternfish.inference.method import Rounds, SequentialMethod
from lanternfish.inference.nle_posterior import Likelihood, NLEPosterior
from lanternfish.inference.npe_posterior import NPEPosterior
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.progress import Progress
from lanternfish.inference.rounds import Fitted, Study, training_pairs
from lanternfish.inference.scores import as_scores
from lanternfish.inference.training import Training, split
from lanternfish.inference.unbounded import to_unbounded

_STEPS, _STEPS_A_DIMENSION = 50, 3  # of a chain from a sample of the round before
_POOL = 2_048
_FAMILY_STEPS, _LAST_STEPS = 150, 400  # of the fit of an exponential family
_POWER = 0.7  # of a family's likelihood in proposals
_JUDGES = 50  # held-out simulations near the posterior, at least


@dataclass(frozen=True)
class NLE(SequentialMethod):
    """Sequential neural likelihood estimation.

    Args:
        simulations: budget over all rounds; 10,000 where neither this nor minutes are given.
        minutes: budget in wall time instead, about: a pilot decides how many simulations fit.
        rounds: how many; the first simulates from the prior.
        density: ``"maf"``, ``"spline"`` or a ``flows.Architecture``, of x given theta; left out, a
            masked autoregressive flow and an exponential family compete in every round.
        training: settings of the training loop.
        first_round: share of the budget that the first round gets.

    >>> import lanternfish as lf
    >>> lf.NLE(simulations=40_000, rounds=6, first_round=0.75).budgets(40_000)
    [30000, 2000, 2000, 2000, 2000, 2000]
    """

    rounds: int = 5
    training: Training = field(default_factory=lambda: Training(batch=100, rate=3e-3, decay=1e-3))

    name: ClassVar[str] = "NLE"
    layers: ClassVar[int] = 3

    def fit(self, study: Study) -> Fitted:
        """Run all rounds of a study.

        Raises:
            ValueError: if a statistic is an array, whose likelihood NLE does not learn.
        """
        arrays = [f"{c.name}, a {c.kind}" for c in study.model.statistics if c.is_array]
        if arrays:
            raise ValueError(
                f"Expected statistics that are numbers for NLE; got {arrays[0]} of raw data: use "
                "NPE, or summarise it in numbers."
            )
        rounds, proposal, posterior = Rounds(self, study), None, None
        starts = np.zeros((0, len(study.model.prior)))
        for number in range(1, self.rounds + 1):
            rounds.simulate(number, proposal)
            if number == 1:
                scout = _scout(rounds)
                rounds.say_if_far()
                proposal = scout.sample_at
                starts = to_unbounded(study.model.prior, scout.sample(_POOL, seed=0).array)
            if number > 1 or self.rounds == 1:
                posterior = self._learn(rounds, number, starts)
                power = 1.0 if posterior.architecture else _POWER
                proposal, starts = _Chaining(posterior, power), posterior.pool
        assert posterior is not None  # the last round always trains
        return Fitted(posterior, rounds.simulations, {"rounds": rounds.history})

    def _learn(self, rounds: Rounds, number: int, starts: np.ndarray) -> NLEPosterior:
        study, seed = rounds.study, rounds.seed("fit", number)
        pairs = training_pairs(study.model, rounds.simulations)
        scores = as_scores(pairs.c, study.target.array_for(study.model.statistics), seed)
        architecture = self.architecture or flows.Architecture("maf", layers=self.layers)
        flow = flows.build(seed, architecture, scores.rows, pairs.z)
        ones = np.ones(len(pairs.z))  # given theta, how it was proposed does not matter
        pairs = Pairs(scores.rows, pairs.z, ones)
        held = np.zeros(len(pairs.z), bool)
        held[split(len(held), self.training.held_out, seed)[0]] = True
        flow = rounds.train(number, [flow], pairs, held=held)
        posterior = NLEPosterior(
            prior=study.model.prior,
            statistics=study.model.statistics,
            observation=study.target,
            likelihood=Likelihood(flow, rounds.validity(number)),
            observed=scores.observed,
            architecture=architecture,
            pool=starts,
        )
        if self.density is None:
            posterior = _better(rounds, number, posterior, pairs, held)
        return replace(posterior, pool=_pool(rounds, number, posterior))


def _better(
    rounds: Rounds, number: int, posterior: NLEPosterior, pairs: Pairs, held: np.ndarray
) -> NLEPosterior:
    """The posterior with an exponential family in place of its flow, where that is better.

    Args:
        pairs: scores z and unbounded parameters c, that the flow was trained on.
        held: which of them it did not see, (n,) of bool: those decide.
    """
    simulations, study = rounds.simulations, rounds.study
    valid = simulations.valid
    theta = simulations.theta.array[valid]
    away = simulations.x.array[valid] - study.target.array_for(study.model.statistics)
    region = Region(posterior.from_unbounded(posterior.pool))
    near = region.holds(theta)
    learned, judges = near & ~held, near & held
    if judges.sum() < _JUDGES:
        return posterior
    stage = rounds.stage("train", number)
    study.tell(Progress(stage, 1.0, None, "an exponential family, beside the flow"))
    seed = rounds.seed("family", number)
    family = exponential(theta[learned], away[learned], region, seed=seed, steps=_FAMILY_STEPS)
    if family is None:
        return posterior
    flow = contrast(posterior.likelihood.density, pairs.c[judges], pairs.z[judges])
    scores = {"flow": flow, "exponential family": contrast(family, theta[judges], away[judges])}
    rounds.history[-1]["contrast"] = scores
    if not scores["exponential family"] > flow:
        return posterior
    if rounds.over:  # those that judged it may teach it now
        family = exponential(theta[near], away[near], region, seed=seed, steps=_LAST_STEPS)
        assert family is not None  # of more pairs than before
    likelihood = replace(posterior.likelihood, density=family)
    return replace(
        posterior, likelihood=likelihood, observed=np.zeros((1, away.shape[1])), architecture=None
    )


def _scout(rounds: Rounds) -> NPEPosterior:
    """The linear Gaussian posterior."""
    study, architecture = rounds.study, flows.Architecture("maf", layers=1, width=8, depth=1)
    pairs = training_pairs(study.model, rounds.simulations)
    flow = flows.build(0, architecture, pairs.z, pairs.c)
    model = study.model
    return NPEPosterior(model.prior, model.statistics, study.target, flow, architecture, False)


def _pool(rounds: Rounds, number: int, posterior: NLEPosterior) -> np.ndarray:
    """Samples in unbounded space, from chains that start at those of the round before."""
    stage, starts = rounds.stage("sample", number), posterior.pool
    seeds = mix(np.uint64(rounds.seed("pool", number)) + np.arange(_POOL, dtype=np.uint64))

    def tell(done: int) -> None:
        text = f"{done:,} of {_POOL:,} chains"
        rounds.study.tell(Progress(stage, done / _POOL, None, text))

    tell(0)
    starts = np.resize(starts, (_POOL, starts.shape[1]))
    steps = _STEPS + _STEPS_A_DIMENSION * starts.shape[1]
    return posterior.chains(starts, seeds, steps=steps, tell=tell)


@dataclass(frozen=True)
class _Chaining:
    """Proposals from a learned posterior: the end of one chain for each seed."""

    posterior: NLEPosterior
    power: float

    def __call__(self, seeds: np.ndarray) -> np.ndarray:
        pool = self.posterior.pool
        starts = pool[mix(seeds) % np.uint64(len(pool))]
        return self.posterior.from_unbounded(self.posterior.chains(starts, seeds, power=self.power))
