"""Neural posterior estimation (SNPE; Greenberg, Nonnenmacher & Macke 2019; Deistler et al. 2022).

A conditional flow q is fitted to simulated pairs,

    minimise  - E_{p(theta) p(x | theta)} log q(theta | x),

whose minimum is the posterior for every x. With several rounds, each further round simulates from
the prior restricted to where the last posterior may be (``truncation``); the loss stays the same
and all rounds' simulations are used.

Only valid simulations are trained on: q then learns p(theta | x, valid), which for an x that was
measured, and so is valid, is the posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lanternfish import flows
from lanternfish.core import Folder, Model, Observation, Simulations
from lanternfish.core.seeds import stream
from lanternfish.inference.npe_posterior import NPEPosterior
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.training import Pairs, Training, train
from lanternfish.inference.truncation import TruncatedPrior
from lanternfish.inference.validity import Validity, learn_validity
from lanternfish.simulation import simulate

_FEWEST = 50  # valid simulations that a first posterior is worth building on


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

    name = "NPE"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"Expected rounds of at least 1; got {self.rounds}.")
        if self.simulations < 10 * self.rounds:
            raise ValueError(
                f"Expected at least 10 simulations a round, {10 * self.rounds} in all; "
                f"got {self.simulations}."
            )
        if not 0 < self.epsilon < 0.5:
            raise ValueError(f"Expected epsilon between 0 and 0.5; got {self.epsilon}.")
        if self.first_round is not None and not 0 < self.first_round < 1:
            raise ValueError(f"Expected first_round between 0 and 1; got {self.first_round}.")
        self.architecture  # noqa: B018  (names an unknown density at once)

    @property
    def architecture(self) -> flows.Architecture:
        if isinstance(self.density, flows.Architecture):
            return self.density
        return flows.Architecture(kind=self.density)  # type: ignore[arg-type]

    @property
    def budgets(self) -> list[int]:
        """Simulations of each round."""
        if self.rounds == 1:
            return [self.simulations]
        first = round(self.simulations * (self.first_round or 1 / self.rounds))
        edges = np.linspace(first, self.simulations, self.rounds).round().astype(int)
        return [first, *np.diff(edges).tolist()]

    def describe(self) -> dict:
        """Hyperparameters, for the paper trail."""
        return {"name": self.name, **asdict(replace(self, density=self.architecture))}

    def fit(self, study: Study) -> Fitted:
        """Run all rounds of a study."""
        return _Rounds(self, study).run()


@dataclass(frozen=True)
class Study:
    """What a method is given: the model, its target and where and how to work."""

    model: Model
    target: Observation
    seed: int
    folder: Folder | None = None
    executor: Any = None
    tell: Callable[[Progress], None] = lambda progress: None


@dataclass(frozen=True)
class Fitted:
    """What a method hands back."""

    posterior: NPEPosterior
    simulations: Simulations
    history: dict[str, list]


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
        study = self.study
        stage = Stage("simulate", number, self.method.rounds)
        study.tell(Progress(stage, 0.0, None, "preparing"))
        proposal = None
        if posterior is not None:
            seed = stream(study.seed, f"cut{number}")
            proposal = TruncatedPrior(posterior, self.method.epsilon, seed=seed)
        return simulate(
            study.model,
            budget,
            proposal=proposal,
            seed=study.seed,
            first=len(self.simulations),
            executor=study.executor,
            store=None
            if study.folder is None
            else study.folder / f"simulations/round-{number:02d}",
            progress=lambda p: study.tell(Progress.of_simulation(stage, p)),
        )

    def _folder(self, what: str, number: int) -> Folder | None:
        return (
            None if self.study.folder is None else self.study.folder / f"{what}/round-{number:02d}"
        )

    def _train(self, number: int, new: Simulations) -> NPEPosterior:
        study, method = self.study, self.method
        stage = Stage("train", number, method.rounds)
        study.tell(Progress(stage, 0.0, None, "preparing"))
        pairs = training_pairs(study.model, self.simulations)
        seed = stream(study.seed, f"fit{number}")
        flow = flows.build(jr.key(seed % 2**32), method.architecture, pairs.z, pairs.c)
        flow, curves = train(
            flow, pairs, method.training, seed=seed, checkpoint=self._folder("training", number),
            tell=lambda epoch: study.tell(Progress.of_training(stage, epoch)),
        )  # fmt: skip
        self.history.append(
            {
                "train": curves["train"],
                "validation": curves["validation"],
                "best_epoch": int(curves["best_epoch"][0]),
                "simulations": len(new),
                "valid": int(new.valid.sum()),
                "valid_fraction": new.valid_fraction,
            }
        )
        return NPEPosterior(
            prior=study.model.prior,
            statistics=study.model.statistics,
            observation=study.target,
            flow=flow,
            architecture=method.architecture,
            amortised=method.rounds == 1,
            validity=self._validity(number),
        )

    def _validity(self, number: int) -> Validity | None:
        """Where simulations are valid, if not all are."""
        s, model = self.simulations, self.study.model
        if s.valid.all():
            return None
        seed = stream(self.study.seed, f"val{number}")
        folder = self._folder("validity", number)
        z = unbounded(model, s.theta.array)
        return learn_validity(z, s.valid, s.weight, seed=seed, checkpoint=folder)


def training_pairs(model: Model, simulations: Simulations) -> Pairs:
    """Valid simulations as (unbounded parameters, statistics, weight).

    Raises:
        ValueError: if too few are valid, or a statistic never varies.
    """
    kept = simulations[simulations.valid]
    if len(kept) < _FEWEST:
        raise ValueError(
            f"Expected at least {_FEWEST} valid simulations to learn from; got {len(kept)}: "
            f"{simulations.report()} Raise the number of simulations, or narrow the prior to where "
            "the model gives finite statistics."
        )
    constant = [c.name for c in kept.x.columns if np.ptp(kept.x[c.name]) == 0]
    if constant:
        raise ValueError(
            f"Expected statistics that vary from simulation to simulation; got "
            f"{', '.join(constant)} constant: leave them out of the model and the observation."
        )
    return Pairs(unbounded(model, kept.theta.array), kept.x.array, kept.weight)


def unbounded(model: Model, theta: np.ndarray) -> np.ndarray:
    """Parameters (n, d) in the prior's unbounded space, in chunks of one compiled shape."""
    size = 8_192
    inverse = jax.jit(jax.vmap(model.prior.bijection.inverse))
    padded = np.concatenate([theta, np.repeat(theta[:1], -len(theta) % size, axis=0)])
    chunks = [np.asarray(inverse(jnp.asarray(c))) for c in np.split(padded, len(padded) // size)]
    return np.concatenate(chunks)[: len(theta)]
