"""What methods that learn from simulations share: budget, rounds, density, training.

A method is frozen hyperparameters; ``fit`` runs the rounds of a study (``Rounds``), and in each
round simulates, learns where simulations are valid, and trains.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar

import numpy as np

from lanternfish import flows
from lanternfish.core import Folder, Simulations
from lanternfish.core.seeds import stream
from lanternfish.inference.budget import affordable
from lanternfish.inference.learned import learned, too_little
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.rounds import Study, far_off
from lanternfish.inference.training import Training, train_together
from lanternfish.inference.unbounded import to_unbounded
from lanternfish.inference.validity import Validity, learn_validity
from lanternfish.simulation import simulate
from lanternfish.simulation.store import shard_name

_SIMULATIONS = 10_000


@dataclass(frozen=True)
class SequentialMethod:
    """A budget over rounds, a density and its training.

    Args:
        simulations: budget over all rounds; 10,000 where neither this nor minutes are given.
        minutes: budget in wall time instead, about: a pilot decides how many simulations fit.
        rounds: how many; the first simulates from the prior.
        density: a kind of ``flows.Architecture`` by name, or an architecture.
        training: settings of the training loop.
        first_round: share of the budget that the first of several rounds gets.
    """

    simulations: int | None = None
    rounds: int = 1
    density: str | flows.Architecture | None = None
    training: Training = field(default_factory=Training)
    first_round: float | None = None
    minutes: float | None = None

    name: ClassVar[str]
    layers: ClassVar[int] = 5  # of a density that is given by name

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"Expected rounds of at least 1; got {self.rounds}.")
        if self.minutes is None and self.simulations is None:
            object.__setattr__(self, "simulations", _SIMULATIONS)
        if self.minutes is not None:
            if self.simulations is not None:
                raise ValueError(
                    f"Expected simulations or minutes; got both, {self.simulations} and "
                    f"{self.minutes}: leave one out."
                )
            if not self.minutes > 0:
                raise ValueError(f"Expected minutes above 0; got {self.minutes}.")
        elif (self.simulations or 0) < 10 * self.rounds:
            raise ValueError(
                f"Expected at least 10 simulations a round, {10 * self.rounds} in all; "
                f"got {self.simulations}."
            )
        if self.first_round is not None and not 0 < self.first_round < 1:
            raise ValueError(f"Expected first_round between 0 and 1; got {self.first_round}.")
        self.architecture  # noqa: B018  (names an unknown density at once)

    @property
    def architecture(self) -> flows.Architecture | None:
        """What the density is made of, where the user named one."""
        if self.density is None or isinstance(self.density, flows.Architecture):
            return self.density
        return flows.Architecture(kind=self.density, layers=self.layers)  # type: ignore[arg-type]

    def budgets(self, simulations: int) -> list[int]:
        """So many simulations over the rounds: the first gets its share, the others equal ones."""
        if self.rounds == 1:
            return [simulations]
        first = round(simulations * (self.first_round or 1 / self.rounds))
        edges = np.linspace(first, simulations, self.rounds).round().astype(int)
        return [first, *np.diff(edges).tolist()]

    def planned(self, study: Study) -> list[int]:
        """Simulations of each round of a study; those that are given are the first round's."""
        if study.given is not None and self.rounds == 1:
            return [len(study.given)]
        total = self.simulations
        if self.minutes is not None:
            total = affordable(study, self.minutes, self.rounds)
        assert total is not None  # see __post_init__
        if study.given is None:
            return self.budgets(total)
        edges = np.linspace(0, total, self.rounds).round().astype(int)
        return [len(study.given), *np.diff(edges).tolist()]

    def describe(self) -> dict:
        """Hyperparameters, for the paper trail."""
        return {"name": self.name, **asdict(replace(self, density=self.architecture))}


class Rounds:
    """The rounds of one study: what was simulated so far, and how training went."""

    def __init__(self, method: SequentialMethod, study: Study) -> None:
        self.study = study
        self.training = method.training
        self.budgets = method.planned(study)
        self.simulations = Simulations.empty(study.model.parameters, study.model.statistics)
        self.history: list[dict] = []

    @property
    def over(self) -> bool:
        """Whether the whole budget is spent."""
        return len(self.history) == len(self.budgets)

    def spend_the_rest(self) -> None:
        """Make one last round of all that are left."""
        done = len(self.history)
        self.budgets[done:] = [sum(self.budgets[done:])]

    def simulate(self, number: int, proposal=None) -> None:
        """Simulate a round, from the prior or from proposals, and add it to the history."""
        new = self._given(number)
        if new is None:
            new = self._simulated(number, proposal)
        self.simulations = self.simulations + new
        self.history.append({
            "simulations": len(new),
            "valid": int(new.valid.sum()),
            "valid_fraction": new.valid_fraction,
            "train": [],
            "validation": [],
            "best_epoch": 0,
        })  # fmt: skip

    def _given(self, number: int) -> Simulations | None:
        """Those that are there already and stand for the first round; kept like a shard of it."""
        given, part = self.study.given, self._part("simulations", number)
        if number > 1 or given is None:
            return None
        if part is not None and not part.exists(shard_name(0)):
            part.write_arrays(shard_name(0), given.arrays())
        return given

    def _simulated(self, number: int, proposal) -> Simulations:
        study, stage = self.study, self.stage("simulate", number)
        return simulate(
            study.model,
            self.budgets[number - 1],
            proposal=proposal,
            seed=study.seed,
            first=len(self.simulations),
            executor=study.executor,
            store=self._part("simulations", number),
            progress=lambda event: study.tell(Progress.of_simulation(stage, event)),
        )

    def train(
        self, number: int, members: Sequence[flows.ConditionalFlow], pairs: Pairs, *,
        held: np.ndarray | None = None, settings: Training | None = None,
    ):  # fmt: skip
        """Fit flows of one structure, tell of it, and add the first one's curves to the history.

        Args:
            held: which pairs are held out, (n,) of bool; see ``train_together``.
            settings: other ones than the method's.

        Returns:
            The flow, or the ensemble of several.
        """
        study, stage = self.study, self.stage("train", number)
        fitted, curves = train_together(
            members, pairs, settings or self.training, held=held,
            seeds=self.member_seeds(number, len(members)),
            checkpoint=self._part("training", number),
            tell=lambda epoch: study.tell(Progress.of_training(stage, epoch)),
        )  # fmt: skip
        self.history[-1].update(
            train=curves[0]["train"],
            validation=curves[0]["validation"],
            best_epoch=int(curves[0]["best_epoch"][0]),
        )
        return fitted[0] if len(fitted) == 1 else flows.Ensemble(fitted)

    def member_seeds(self, number: int, members: int) -> list[int]:
        """The seed of each member of a round; the first is that of a flow by itself."""
        seed = self.seed("fit", number)
        return [seed, *(stream(seed, f"member{i}") for i in range(1, members))]

    def validity(self, number: int) -> Validity | None:
        """Where simulations of all rounds so far are valid, if not all are."""
        sims, stage = self.simulations, self.stage("screen", number)
        if sims.valid.all():
            return None
        return learn_validity(
            to_unbounded(self.study.model.prior, sims.theta.array), sims.valid, sims.weight,
            seed=self.seed("val", number), checkpoint=self._part("validity", number),
            tell=lambda epoch: self.study.tell(Progress.of_training(stage, epoch)),
        )  # fmt: skip

    def say_if_far(self) -> None:
        """Warn, and note, that the target lies far outside of the first round's simulations."""
        far = far_off(self.study.target, self.simulations)
        if far is not None:
            self.history[0]["far"] = far
            warnings.warn(far, stacklevel=4)

    def say_if_little(self, pairs: Pairs, held: np.ndarray) -> None:
        """Note what the first round learned, and warn where that is not told from nothing.

        Args:
            held: rows of pairs that were held out.
        """
        entry, prior = self.history[0], self.study.model.prior
        if not (prior.has_density and entry["validation"]):
            return
        entry["learned"] = learned(prior, pairs, held, float(np.nanmin(entry["validation"])))
        little = too_little(entry["learned"], pairs, len(held))
        if little is not None:
            entry["little"] = little
            warnings.warn(little, stacklevel=4)

    def stage(self, what: str, number: int) -> Stage:
        """The name of a part of a round, for progress."""
        return Stage(what, number, len(self.budgets))

    def seed(self, what: str, number: int) -> int:
        """The seed of a part of a round."""
        return stream(self.study.seed, f"{what}{number}")

    def _part(self, what: str, number: int) -> Folder | None:
        """Where a part of a round is kept, if anywhere."""
        folder = self.study.folder
        return None if folder is None else folder / f"{what}/round-{number:02d}"
