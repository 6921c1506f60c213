"""What the methods share: a study, the simulations of a round, and the pairs to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish import flows
from lanternfish.core import Column, Folder, Model, Observation, Posterior, Simulations, Status
from lanternfish.core.columns import known_by_column
from lanternfish.core.seeds import stream
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.training import Pairs
from lanternfish.inference.validity import Validity, learn_validity
from lanternfish.simulation import simulate

_FEWEST = 50  # valid simulations that a first posterior is worth building on
_WORTH = (0.05, 0.9)  # share of rows that lack statistics for which they are trained on


@dataclass(frozen=True)
class Study:
    """What a method is given: the model, its target and where and how to work."""

    model: Model
    target: Observation
    seed: int
    folder: Folder | None = None
    executor: Any = None
    tell: Callable[[Progress], None] = lambda progress: None

    def part(self, what: str, number: int) -> Folder | None:
        """Where a part of a round is kept, if anywhere."""
        return None if self.folder is None else self.folder / f"{what}/round-{number:02d}"


@dataclass(frozen=True)
class Fitted:
    """What a method hands back."""

    posterior: Posterior
    simulations: Simulations
    history: dict[str, list]


def check_budget(simulations: int, rounds: int, first_round: float | None) -> None:
    """Raise one sentence if a budget makes no rounds."""
    if rounds < 1:
        raise ValueError(f"Expected rounds of at least 1; got {rounds}.")
    if simulations < 10 * rounds:
        raise ValueError(
            f"Expected at least 10 simulations a round, {10 * rounds} in all; got {simulations}."
        )
    if first_round is not None and not 0 < first_round < 1:
        raise ValueError(f"Expected first_round between 0 and 1; got {first_round}.")


def split_budget(simulations: int, rounds: int, first_round: float | None) -> list[int]:
    """Simulations of each round; the first gets its share, the others equal ones."""
    if rounds == 1:
        return [simulations]
    first = round(simulations * (first_round or 1 / rounds))
    edges = np.linspace(first, simulations, rounds).round().astype(int)
    return [first, *np.diff(edges).tolist()]


def simulate_round(
    study: Study, place: tuple[int, int], budget: int, first: int, proposal=None
) -> Simulations:
    """The simulations of a round; ``place`` is its number and the number of rounds."""
    stage = Stage("simulate", *place)
    return simulate(
        study.model,
        budget,
        proposal=proposal,
        seed=study.seed,
        first=first,
        executor=study.executor,
        store=study.part("simulations", place[0]),
        progress=lambda event: study.tell(Progress.of_simulation(stage, event)),
    )


def round_history(curves: dict[str, list[float]], new: Simulations) -> dict:
    """Curves and counts of a round, for the run's history."""
    return {
        "train": curves["train"],
        "validation": curves["validation"],
        "best_epoch": int(curves["best_epoch"][0]),
        "simulations": len(new),
        "valid": int(new.valid.sum()),
        "valid_fraction": new.valid_fraction,
    }


def round_validity(study: Study, simulations: Simulations, number: int) -> Validity | None:
    """Where simulations are valid, if not all are."""
    if simulations.valid.all():
        return None
    z = unbounded(study.model, simulations.theta.array)
    return learn_validity(
        z, simulations.valid, simulations.weight,
        seed=stream(study.seed, f"val{number}"), checkpoint=study.part("validity", number),
    )  # fmt: skip


def layout_of(columns: Sequence[Column]) -> tuple[flows.Part, ...]:
    """What a flow is told of statistics: their kinds and shapes."""
    return tuple(flows.Part(c.kind, c.shape) for c in columns)


def training_pairs(model: Model, simulations: Simulations, masked: bool | None = False) -> Pairs:
    """Simulations as (unbounded parameters, statistics, weight): the valid ones.

    Args:
        masked: whether also those that lack some of their statistics, as NaN; None: where they are
            many, but not almost all (see ``worth_masking``).

    Raises:
        ValueError: if too few are valid, or a statistic never varies.
    """
    valid = int(simulations.valid.sum())
    if valid < _FEWEST:
        raise ValueError(
            f"Expected at least {_FEWEST} valid simulations to learn from; got {valid}: "
            f"{simulations.report()} Raise the number of simulations, or narrow the prior to where "
            "the model gives finite statistics."
        )
    partial = partly_known(simulations)
    if masked is None:
        masked = worth_masking(valid, int(partial.sum()))
    kept = simulations[simulations.valid | (partial & masked)]
    x = np.where(np.isfinite(kept.x.array), kept.x.array, np.nan)
    whole = kept.x[kept.valid]
    constant = [c.name for c in kept.x.columns if _never_varies(whole[c.name])]
    if constant:
        raise ValueError(
            f"Expected statistics that vary from simulation to simulation; got "
            f"{', '.join(constant)} constant: leave them out of the model and the observation."
        )
    return Pairs(unbounded(model, kept.theta.array), x, kept.weight)


def partly_known(simulations: Simulations) -> np.ndarray:
    """Rows that lack some statistics, but not all, (n,) of bool."""
    known = known_by_column(simulations.x.array, simulations.x.columns)
    return (simulations.status == Status.INVALID) & known.any(axis=1)


def worth_masking(valid: int, partial: int) -> bool:
    """Whether to train on rows that lack statistics: where they are 5 to 90 % of all rows.

    Leaving them out is right for an observation that lacks nothing: so few are not worth the
    indicators, and where almost all lack something, it is they that would be learned.
    """
    share = partial / max(valid + partial, 1)
    return _WORTH[0] <= share <= _WORTH[1]


def _never_varies(values: np.ndarray) -> bool:
    """Whether all rows of (n, *shape) are the same, absent trials excepted."""
    rows = values.reshape(len(values), -1)
    return bool(np.all((rows == rows[:1]) | np.isnan(rows)))


def unbounded(model: Model, theta: np.ndarray) -> np.ndarray:
    """Parameters (n, d) in the prior's unbounded space, in chunks of one compiled shape."""
    size = 8_192
    inverse = jax.jit(jax.vmap(model.prior.bijection.inverse))
    padded = np.concatenate([theta, np.repeat(theta[:1], -len(theta) % size, axis=0)])
    chunks = [np.asarray(inverse(jnp.asarray(c))) for c in np.split(padded, len(padded) // size)]
    return np.concatenate(chunks)[: len(theta)]
