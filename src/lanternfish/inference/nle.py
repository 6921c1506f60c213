"""Sequential neural likelihood estimation (Papamakarios, Sterratt & Murray 2019) with validity.

Two things are learned from simulations of all rounds, whatever proposed them, because both are
conditional on theta:

    q(x | theta, valid)    a conditional flow, from the valid simulations,
    P(valid | theta)       a classifier, from all of them,

and the posterior is prior x P(valid | theta) x q(x_o | theta, valid). No correction for
proposals is needed, so each round simulates right where the last posterior is. Where few
parameters give a valid simulation at all, as in circuits that must keep a rhythm, this takes far
fewer simulations than proposals that stay as wide as a truncated prior.

The second round's proposals come from the linear Gaussian posterior of the first: a scout that
needs no training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lanternfish import flows
from lanternfish.core import Simulations
from lanternfish.core.seeds import mix, stream
from lanternfish.inference.nle_posterior import Likelihood, NLEPosterior
from lanternfish.inference.npe_posterior import NPEPosterior
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.rounds import (
    Fitted,
    Study,
    check_budget,
    round_history,
    round_validity,
    simulate_round,
    split_budget,
    training_pairs,
    unbounded,
)
from lanternfish.inference.training import Pairs, Training, train

_STEPS = 150  # of a chain from a sample of the round before
_POOL = 2_048
_JITTER = 0.05  # of a statistic's scale, where values repeat: a density cannot sit on a point


@dataclass(frozen=True)
class NLE:
    """Sequential neural likelihood estimation.

    Args:
        simulations: budget over all rounds.
        rounds: how many; the first simulates from the prior.
        first_round: share of the budget that the first round gets.
        density: ``"maf"``, ``"spline"`` or a ``flows.Architecture``, of x given theta.
        training: settings of the training loop.

    >>> import lanternfish as lf
    >>> lf.NLE(simulations=40_000, rounds=6, first_round=0.75).budgets
    [30000, 2000, 2000, 2000, 2000, 2000]
    """

    simulations: int = 10_000
    rounds: int = 5
    first_round: float | None = None
    density: str | flows.Architecture = "maf"
    training: Training = field(default_factory=lambda: Training(batch=100, decay=1e-3))

    name = "NLE"

    def __post_init__(self) -> None:
        check_budget(self.simulations, self.rounds, self.first_round)
        self.architecture  # noqa: B018  (names an unknown density at once)

    @property
    def architecture(self) -> flows.Architecture:
        if isinstance(self.density, flows.Architecture):
            return self.density
        return flows.Architecture(kind=self.density, layers=3)  # type: ignore[arg-type]

    @property
    def budgets(self) -> list[int]:
        """Simulations of each round."""
        return split_budget(self.simulations, self.rounds, self.first_round)

    def describe(self) -> dict:
        """Hyperparameters, for the paper trail."""
        return {"name": self.name, **asdict(replace(self, density=self.architecture))}

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
        return _Rounds(self, study).run()


class _Rounds:
    """The rounds of one study."""

    def __init__(self, method: NLE, study: Study) -> None:
        self.method, self.study = method, study
        self.simulations = Simulations.empty(study.model.parameters, study.model.statistics)
        self.history: list[dict] = []

    def run(self) -> Fitted:
        proposal, posterior = None, None
        starts = np.zeros((0, len(self.study.model.prior)))
        for number, budget in enumerate(self.method.budgets, start=1):
            place, first = (number, self.method.rounds), len(self.simulations)
            new = simulate_round(self.study, place, budget, first, proposal)
            self.simulations = self.simulations + new
            if number == 1:
                scout = self._scout()
                proposal = _Scouting(scout)
                starts = unbounded(self.study.model, scout.sample(_POOL, seed=0).array)
            if number > 1 or self.method.rounds == 1:
                posterior = self._posterior(number, new, starts)
                proposal, starts = _Chaining(posterior), posterior.pool
            else:
                self.history.append(round_history(_NO_CURVES, new))
        assert posterior is not None  # the last round always trains
        return Fitted(posterior, self.simulations, {"rounds": self.history})

    def _scout(self) -> NPEPosterior:
        """The linear Gaussian posterior."""
        study, architecture = self.study, flows.Architecture("maf", layers=1, width=8, depth=1)
        pairs = training_pairs(study.model, self.simulations)
        flow = flows.build(jr.key(0), architecture, pairs.z, pairs.c)
        model = study.model
        return NPEPosterior(model.prior, model.statistics, study.target, flow, architecture, False)

    def _posterior(self, number: int, new: Simulations, starts: np.ndarray) -> NLEPosterior:
        study, method = self.study, self.method
        stage = Stage("train", number, method.rounds)
        pairs = training_pairs(study.model, self.simulations)
        seed = stream(study.seed, f"fit{number}")
        scaling = flows.robust_scaling(pairs.c)
        x = _spread(np.asarray(jax.vmap(scaling)(jnp.asarray(pairs.c, jnp.float32))), seed)
        flow = flows.build(jr.key(seed % 2**32), method.architecture, x, pairs.z)
        ones = np.ones(len(x))  # given theta, how it was proposed and weighted does not matter
        flow, curves = train(
            flow, Pairs(x, pairs.z, ones), method.training, seed=seed,
            checkpoint=study.part("training", number),
            tell=lambda epoch: study.tell(Progress.of_training(stage, epoch)),
        )  # fmt: skip
        self.history.append(round_history(curves, new))
        likelihood = Likelihood(flow, scaling, round_validity(study, self.simulations, number))
        posterior = NLEPosterior(
            prior=study.model.prior,
            statistics=study.model.statistics,
            observation=study.target,
            likelihood=likelihood,
            architecture=method.architecture,
            pool=starts,
        )
        seeds = mix(
            np.uint64(stream(study.seed, f"pool{number}")) + np.arange(_POOL, dtype=np.uint64)
        )
        pool = posterior.chains(np.resize(starts, (_POOL, starts.shape[1])), seeds, steps=_STEPS)
        return replace(posterior, pool=pool)


_NO_CURVES = {"train": [], "validation": [], "best_epoch": [0.0]}


@dataclass(frozen=True)
class _Scouting:
    """Proposals from the linear Gaussian posterior: one draw for each seed."""

    scout: NPEPosterior

    def __call__(self, seeds: np.ndarray) -> np.ndarray:
        return np.clip(self.scout.draw_at(seeds), self.scout.prior.low, self.scout.prior.high)


@dataclass(frozen=True)
class _Chaining:
    """Proposals from a learned posterior: the end of one chain for each seed."""

    posterior: NLEPosterior

    def __call__(self, seeds: np.ndarray) -> np.ndarray:
        pool = self.posterior.pool
        starts = pool[mix(seeds) % np.uint64(len(pool))]
        return self.posterior.from_unbounded(self.posterior.chains(starts, seeds))


def _spread(x: np.ndarray, seed: int) -> np.ndarray:
    """Scaled statistics, with a little noise on those whose values repeat (counts, floors)."""
    rng = np.random.default_rng(seed)
    repeats = np.array([len(np.unique(column)) < 0.9 * len(column) for column in x.T])
    return x + _JITTER * repeats * rng.normal(size=x.shape)
