"""A look at the model before EPI trains: what can be told is told here, in one sentence.

A few thousand simulations from the prior show statistics that never vary, parameters without finite
statistics, means that nothing comes near, whether the simulator has gradients, and whether the same
parameters give the same statistics again.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lanternfish.core import Simulations
from lanternfish.core.columns import spans
from lanternfish.core.seeds import stream
from lanternfish.inference.epi.dual import Spread, spread
from lanternfish.inference.epi.problem import Problem, work
from lanternfish.inference.rounds import Study
from lanternfish.simulation import simulate

SIZE = 2_000
_FEWEST = 50  # valid simulations
_POINTS = 64  # where gradients and noise are looked at
_APART = 2**39  # number of the first simulation that looks for noise
_COSTLY = 10_000  # numbers in one simulation; what is dearer is remembered (``memory``)
_NOISE = 1e-3  # of the property's standard deviation; less is rounding
_LITTLE = 0.05  # of it; less changes weights by less than the tolerance


@dataclass(frozen=True)
class Pilot:
    """What the pilot showed: where the loop starts, gradients, noise, and notes."""

    simulations: Simulations
    spread: Spread
    path: bool
    noise: float
    costly: bool
    notes: tuple[str, ...]

    @property
    def noisy(self) -> bool:
        """Whether the same parameters give other statistics again."""
        return self.noise > _NOISE

    @property
    def weighed(self) -> bool:
        """Whether noise is so little that E exp(eta . T) is as good as exp(eta . E T)."""
        return self.noise < _LITTLE


def fly(study: Study, problem: Problem, gradient: str) -> Pilot:
    """Simulate from the prior, and look.

    Raises:
        ValueError: if too few simulations are valid, a statistic never varies, gradients are asked
            for that do not exist, or the base measure has no density.
    """
    if problem.base == "prior" and not study.model.prior.has_density:
        raise ValueError(
            "Expected a prior with a density for base='prior'; got a law without one: "
            "use base='uniform', or a law that has a density."
        )
    place = None if study.folder is None else study.folder / "simulations" / "pilot"
    sims = simulate(
        study.model, SIZE, seed=study.seed, executor=study.executor, store=place, progress=False
    )
    _check_valid(sims)
    columns = dict(zip(study.model.statistics, spans(study.model.statistics), strict=True))
    names = {span.start: c.name for c, span in columns.items()}
    x = sims.x.array[:, list(problem.places)]
    x = x[np.isfinite(x).all(axis=1)]
    wanted = [names[place] for place in problem.places]
    flat = [name for name, column in zip(wanted, x.T, strict=True) if np.ptp(column) == 0]
    if flat:
        raise ValueError(
            f"Expected statistics that vary with the parameters; got {', '.join(flat)} constant "
            f"over {len(x):,} simulations of the prior: no distribution changes them, so leave "
            "them out of the property."
        )
    notes = [note for note in map(_far, wanted, x.T, study.target.values()) if note]
    found = problem.features(jnp.asarray(x[:, None], jnp.float32))
    path = gradient not in ("score", "learned") and problem.simulation is not None
    if gradient == "path" and problem.simulation is None:
        raise ValueError(
            "Expected a JaxSimulator for gradient='path'; got "
            f"{type(study.model.simulator).__name__}: use gradient='auto', which does without."
        )
    without = _without_gradient(problem, study.seed, wanted) if path else []
    if without and gradient == "path":
        raise ValueError(
            f"Expected statistics with a gradient for gradient='path'; got none for "
            f"{', '.join(without)}: use gradient='auto', which does without."
        )
    if without:
        notes.append(
            f"{', '.join(without)} has no gradient with respect to any parameter: the score "
            "function is used for all statistics."
        )
    start = spread(found.u, found.square, jnp.asarray(found.valid, jnp.float32))
    return Pilot(
        sims,
        start,
        path and not without,
        _noise(study, problem),
        work(problem) * problem.trials > _COSTLY,
        tuple(notes),
    )


def _noise(study: Study, problem: Problem) -> float:
    """The largest noise of a statistic, root mean square in units of the property's spread."""
    drawn = study.model.prior.sample(SIZE, seed=stream(study.seed, "noise"))  # compiled already
    theta = drawn.array[:_POINTS]
    sims = simulate(
        study.model, theta=np.repeat(theta, 2, axis=0), seed=study.seed, first=_APART,
        executor=study.executor, progress=False,
    )  # fmt: skip
    x = sims.x.array[:, list(problem.places)].reshape(_POINTS, 2, -1)
    apart = (x[:, 0] - x[:, 1])[np.isfinite(x).all(axis=(1, 2))] / np.asarray(problem.sd)
    if not len(apart):
        return 0.0
    return float(np.sqrt((apart**2).mean(axis=0) / 2 / problem.trials).max())


def _check_valid(sims: Simulations) -> None:
    valid = int(sims.valid.sum())
    if valid < _FEWEST:
        raise ValueError(
            f"Expected at least {_FEWEST} valid simulations of the prior; got {valid}: "
            f"{sims.report()} Narrow the prior to where the model gives finite statistics."
        )


def _far(name: str, values: np.ndarray, wanted) -> str | None:
    """A sentence where no simulation of the prior comes within two standard deviations."""
    nearest = values[np.argmin(np.abs(values - wanted.mean))]
    if abs(nearest - wanted.mean) <= 2 * wanted.sd:
        return None
    return (
        f"Of {len(values):,} simulations of the prior none has {name} nearer to {wanted.mean:.5g} "
        f"than {nearest:.5g}; perhaps no parameters reach the property: check its units, or widen "
        "the prior."
    )


def _without_gradient(problem: Problem, seed: int, names: list[str]) -> list[str]:
    """Statistics whose gradient is 0, or not finite, wherever we look."""

    @jax.jit
    def slopes(key):
        theta = problem.parameters(jr.normal(key, (len(problem.prior), _POINTS)))[0]

        def value(theta):
            return problem.simulate(theta, key)[:, 0]

        pull = jax.vjp(value, theta)[1]
        one = jnp.eye(problem.constraints)
        return jnp.stack([pull(jnp.broadcast_to(row, (_POINTS, len(row))))[0] for row in one])

    size = np.asarray(slopes(jr.key(seed % 2**32)))
    good = np.isfinite(size).all(axis=2) & (np.abs(size).max(axis=2) > 0)
    return [name for name, share in zip(names, good.mean(axis=1), strict=True) if share == 0]
