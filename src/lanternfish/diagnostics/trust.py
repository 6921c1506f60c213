"""``check_run``: can this run be trusted? All checks that are valid for it, within a budget.

| check | asks | valid for |
|---|---|---|
| support | do draws keep to the prior's bounds? | every posterior |
| ensemble | do densities trained apart agree? | ensembles; EPI with members |
| samples | how many independent samples are they worth? | weighted samples |
| chains | have Markov chains arrived? | likelihood estimation |
| rounds | did the last round still bring something? | several rounds |
| calibration, coverage, TARP | is the truth found as often as claimed? | any observation; rounds |
| local | is it right at this observation? | the same |
| observation | can the model do what was measured? | observations |
| prediction | does the posterior do it? | observations |
| valid | does it give statistics at all? | all |
| convergence, property | do circuits have the emergent property? | EPI |

Half of the budget goes into simulated truths, half into simulations of the posterior; all into the
latter where there are no truths to find. p-values are judged together (``core.checks``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lanternfish.core import EmergentProperty, Model, Posterior, Simulations, Table
from lanternfish.core.checks import Check, Checks, judged
from lanternfish.core.run import Run
from lanternfish.core.seeds import check_seed, stream
from lanternfish.diagnostics import accounts, fit, truths
from lanternfish.diagnostics.accounts import LeftOut
from lanternfish.diagnostics.batch import draws_of, opened
from lanternfish.diagnostics.calibration import thinned
from lanternfish.diagnostics.property_check import property_check
from lanternfish.simulation import simulate

_TRUTHS = 500  # at most: ranks of more are slow to judge and see little more
_FEWEST = 50  # valid truths
_LEAST = 200  # budget below which truths and predictions cannot both be had


def check_run(
    run: Run, model: Model | None, simulations: int = 1_000, seed: int = 0, *,
    executor=None, progress: Callable | bool | None = None,
) -> Checks:  # fmt: skip
    """Make every check that is valid for a run.

    Args:
        run: of any method.
        model: that was studied; may be left out with no simulations.
        simulations: extra ones that all checks together may take.
        seed: of the checks.
        executor, progress: as for ``lanternfish.simulate``.

    Raises:
        ValueError: if the budget or the seed is none, or the model is missing or another.
    """
    if isinstance(simulations, bool) or not isinstance(simulations, int | np.integer):
        raise ValueError(f"Expected simulations, a whole number; got {simulations!r}.")
    if simulations < 0:
        raise ValueError(f"Expected simulations of at least 0; got {simulations}.")
    check_seed(seed)
    _check_model(run, model, int(simulations))
    work = _Work(run, model, int(simulations), seed, executor, progress)
    for make in (_accounts, _by_property, _by_truths, _by_fit):
        make(work)
    order = {name: i for i, name in enumerate(_ORDER)}
    made = sorted(work.made, key=lambda check: order.get(check.name, len(order)))
    spent = sum(check.simulations for check in made)
    return Checks(judged(made), dict(work.left_out), spent, int(simulations))


_ORDER = (
    "observation", "prediction", "property", "convergence", "calibration", "coverage", "TARP",
    "local", "valid", "support", "ensemble", "samples", "chains", "rounds",
)  # fmt: skip


@dataclass
class _Work:
    """A run, the budget, and what was found so far."""

    run: Run
    model: Model | None
    budget: int
    seed: int
    executor: Any
    progress: Any

    def __post_init__(self) -> None:
        self.made: list[Check] = []
        self.left_out: dict[str, str] = {}
        self.truths: Simulations | None = None

    @property
    def posterior(self) -> Posterior:
        return self.run.posterior

    @property
    def is_property(self) -> bool:
        return isinstance(self.posterior.target, EmergentProperty)

    def simulate(self, purpose: str, n: int | None = None, theta=None) -> Simulations:
        assert self.model is not None  # checked with the budget
        return simulate(
            self.model, n, theta=theta, seed=stream(self.seed, f"check {purpose}"),
            executor=self.executor, progress=self.progress,
        )  # fmt: skip

    def add(self, name: str, make: Callable[[], Check | list[Check]], simulations: int = 0) -> None:
        """One check, timed; a sentence of why not where it cannot be made."""
        began = time.process_time()
        try:
            found = make()
        except ValueError as reason:
            self.left_out[name] = str(reason)
            return
        found = found if isinstance(found, list) else [found]
        seconds = (time.process_time() - began) / len(found)
        for check in found:
            self.made.append(
                replace(check, seconds=seconds, simulations=check.simulations + simulations)
            )
            simulations = 0

    def leave(self, why: str, *names: str) -> None:
        self.left_out |= dict.fromkeys(names, why)


def _check_model(run: Run, model: Model | None, budget: int) -> None:
    if model is None:
        if budget:
            raise ValueError(
                "Expected the model, because checks simulate; got a run that was loaded without "
                "it: run.check(model=...), Run.load(path, model=...), or simulations=0 for the "
                "checks that need none."
            )
        return
    names = tuple(c.name for c in run.posterior.parameters)
    if model.prior.names != names or model.statistics != tuple(run.posterior.statistics):
        raise ValueError(
            f"Expected the model that was studied, with {', '.join(names)[:80]}; got "
            f"{model.name} with {', '.join(model.prior.names)[:80]}."
        )


def _accounts(work: _Work) -> None:
    posterior, seed = work.posterior, work.seed
    work.add("support", lambda: accounts.support(posterior, seed))
    work.add("ensemble", lambda: accounts.ensemble(work.run, posterior, seed))
    work.add("samples", lambda: accounts.samples(posterior))
    work.add("chains", lambda: accounts.chains(posterior, seed))
    work.add("rounds", lambda: accounts.rounds(work.run))
    work.add("convergence", lambda: accounts.proven(work.run))


def _by_property(work: _Work) -> None:
    """Whether fresh simulations have the emergent property."""
    if not work.is_property:
        work.leave("the target is an observation, not a property", "property")
        return
    n = work.budget // 2
    if n < _FEWEST:
        work.leave(_poor(work, 2 * _FEWEST), "property", "valid")
        return
    assert work.model is not None
    checked = property_check(
        work.posterior, work.model, n=n, seed=stream(work.seed, "check property"),
        executor=work.executor, progress=work.progress,
    )  # fmt: skip
    finding = next(f for f in checked.finding["findings"] if f["name"] == "property")
    rows = checked.finding["statistics"]
    apart = [
        None if r["mean"] is None else (r["mean"] - r["wanted_mean"]) / r["wanted_sd"] for r in rows
    ]
    work.add("property", lambda: Check(
        "property", finding["passed"], finding["sentence"],
        "Circuits of this distribution do not have the property: train on with EPI(members=3), "
        "another seed, or ask for what the model can do.",
        {"statistics": rows},
        picture={"kind": "bars", "names": [r["name"] for r in rows], "values": apart,
                 "limit": None, "label": "mean, less what is wanted, over its deviation"},
    ), 2 * n)  # fmt: skip
    work.add("valid", lambda: fit.valid(checked.simulations, work.run.simulations))


def _by_truths(work: _Work) -> None:
    """Calibration, coverage, TARP and the local test."""
    names = ("calibration", "coverage", "TARP", "local")
    if work.is_property:
        work.leave("an emergent property has no truth to find", *names)
        return
    n = min(work.budget // 2, _TRUTHS)
    if work.budget < _LEAST:
        work.leave(_poor(work, _LEAST), *names)
        return
    try:
        posterior, found = _truths(work, n)
    except ValueError as reason:
        work.leave(str(reason), *names)
        return
    seed, alone = work.seed, work.posterior
    if found.draws.density is None:
        work.leave("the posterior has no density, so regions of it have no order", "coverage")
    work.add("calibration", lambda: truths.calibration(posterior, found, seed), n)
    work.add("TARP", lambda: truths.tarp(posterior, found, seed))
    work.add("local", lambda: truths.local(alone, found, seed))


def _truths(work: _Work, n: int) -> tuple[Posterior, truths.Truths]:
    """Truths, and draws of the posterior of each.

    Raises:
        ValueError: if there are none, or too few.
    """
    posterior, theta = work.posterior, None
    last = _last_round(work.run)
    if getattr(posterior, "amortised", True) is False:
        posterior = opened(posterior)
        if not len(last):
            raise LeftOut("the run holds no simulations, so where its last round was is not known")
        rng = np.random.default_rng(stream(work.seed, "check truths"))
        rows = rng.permutation(len(last))[:n]
        theta = last.theta[rows]
    else:
        _try_another(posterior)
    made = work.simulate("truths", None if theta is not None else n, theta)
    if theta is None:
        work.truths = made
    kept = made[thinned(made, work.seed)]
    if len(kept) < _FEWEST:
        raise LeftOut(
            f"of {n} simulated truths {len(kept)} are valid, and {_FEWEST} are needed: raise the "
            "budget"
        )
    drawn = draws_of(posterior, kept, truths.DRAWS, stream(work.seed, "check draws"))
    return posterior, truths.Truths(kept, drawn)


def _try_another(posterior: Posterior) -> None:
    """Whether the posterior holds for another observation than its own, before the work."""
    table = posterior.observation.table_for(posterior.statistics)
    x = np.where(np.isfinite(table.array[0]), table.array[0] * 1.01 + 0.01, table.array[0])
    from lanternfish.core import Observation

    try:
        posterior.at(Observation.from_array(x, posterior.statistics))
    except ValueError:
        opened(posterior)
        raise


def _last_round(run: Run) -> Simulations:
    entries = list(run.history.get("rounds", []))
    return run.simulations[-entries[-1]["simulations"] :] if entries else run.simulations


def _by_fit(work: _Work) -> None:
    """The observation among simulations of the prior, and among those of the posterior."""
    if work.is_property:
        work.leave("the target is a property, not an observation", "observation", "prediction")
        return
    entries = list(work.run.history.get("rounds", []))
    first = work.run.simulations[: entries[0]["simulations"]] if entries else work.run.simulations
    prior_draws = first if work.truths is None else first + work.truths
    if not len(prior_draws):
        work.leave("the run holds no simulations of the prior, and the budget brought none",
                   "observation")  # fmt: skip
    else:
        work.add("observation", lambda: fit.observation(work.posterior, prior_draws, work.seed))
    spent = sum(check.simulations for check in work.made)
    half = (work.budget - spent) // 2
    if half < _FEWEST // 2:
        work.leave(_poor(work, _FEWEST), "prediction", "valid")
        return
    drawn = work.posterior.sample(2 * half, seed=stream(work.seed, "check prediction"))
    inside = drawn.array[work.posterior.prior.contains(drawn)][:half]
    if len(inside) < _FEWEST // 2:
        work.leave("the posterior has hardly a draw inside the prior's bounds", "prediction",
                   "valid")  # fmt: skip
        return
    theta = Table(np.concatenate([inside, inside]), drawn.columns)
    twice = work.simulate("prediction", theta=theta)
    work.add("prediction", lambda: fit.prediction(work.posterior, twice, work.seed), len(twice))
    work.add("valid", lambda: fit.valid(twice, work.run.simulations))
    if work.made[-2].name != "prediction" and work.made[-1].name == "valid":
        work.made[-1] = replace(work.made[-1], simulations=len(twice))


def _poor(work: _Work, needed: int) -> str:
    return f"it needs a budget of at least {needed} simulations; got {work.budget}"
