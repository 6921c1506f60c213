"""``infer``: one verb. A model, a target and a method give a run."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import time
from typing import Protocol

from lanternfish.core import (
    EmergentProperty,
    Folder,
    Model,
    Observation,
    PropertyRange,
    Simulations,
)
from lanternfish.core.run import Run
from lanternfish.core.seeds import check_seed
from lanternfish.inference.given import check_given, digest
from lanternfish.inference.npe import NPE
from lanternfish.inference.progress import Listener, listening
from lanternfish.inference.rounds import Fitted, Study

_CLOCK = "clock.json"


class Method(Protocol):
    """Frozen hyperparameters and budget, and how to spend it on a study."""

    def fit(self, study: Study) -> Fitted: ...
    def describe(self) -> dict: ...


def infer(
    model: Model,
    target: Observation | EmergentProperty,
    method: Method | None = None,
    *,
    simulations: Simulations | None = None,
    executor=None,
    seed: int = 0,
    store: str | os.PathLike | None = None,
    progress: Listener | bool | None = None,
) -> Run:
    """Find the parameters that make the model meet the target.

    Args:
        model: prior, simulator and statistics.
        target: an ``Observation`` with a value for each statistic of the model, or an
            ``EmergentProperty`` of some of them, or a ``PropertyRange`` for EPI.
        method: such as ``NPE(...)``; by default ``NPE()`` for an observation, ``EPI()`` for a
            property.
        simulations: some that are there already, with parameters from the prior (see
            ``Simulations.of``): they are the first round. One round learns from them alone; further
            rounds spend the method's budget.
        executor: any ``concurrent.futures.Executor`` for the simulations.
        seed: the same seed gives the same run.
        store: a folder or fsspec URL; simulations, training and the run are kept there as they
            come, and the same call goes on from what it holds.
        progress: None for a bar where somebody looks, False for none, or a function of
            ``inference.progress.Progress``.

    Raises:
        ValueError: if names of target and model differ, or the store belongs to another study.
    """
    if method is None:
        method = _usual(target)
    check_seed(seed)
    _check(model, target, method)
    folder = None if store is None else Folder(os.fspath(store))
    study_card = _card(model, target, method, seed)
    if simulations is not None:
        if not hasattr(method, "rounds"):
            raise ValueError(
                f"Expected simulations for a method that learns in rounds, such as NPE; got them "
                f"for {method!r:.40}: leave them out."
            )
        check_given(model, simulations)
        study_card["simulations"] = digest(simulations)
    if folder is not None:
        _claim(folder, study_card)
    clock = _Clock(folder)
    with listening(progress) as tell, clock:
        fitted = method.fit(Study(model, target, seed, folder, executor, tell, simulations))
    run = Run(
        posterior=fitted.posterior,
        simulations=fitted.simulations,
        history=fitted.history,
        checks=fitted.checks,
        model=study_card["model"],
        method=study_card["method"],
        target=target,
        seed=seed,
        provenance={**clock.account, **_surroundings()},
    )
    if folder is not None:
        run.save(folder.url)
    return run


def _check(model, target, method) -> None:
    if not isinstance(model, Model):
        raise TypeError(f"Expected a Model; got {model!r}.")
    if not hasattr(method, "fit"):
        raise TypeError(f"Expected a method such as NPE(simulations=10_000); got {method!r}.")
    wanted = getattr(method, "target", Observation)
    if not isinstance(target, wanted):
        name = getattr(method, "name", type(method).__name__)
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        expected = " or an ".join(kind.__name__ for kind in kinds)
        raise TypeError(
            f"Expected an {expected} as target of {name}; got {target!r}{_instead(target)}."
        )
    if isinstance(target, PropertyRange) and not _is_epi(method):
        raise TypeError(
            f"Expected EPI for a range of properties; got {type(method).__name__}: give it one "
            "property, such as the range's .middle."
        )
    target.check(model.statistics)


def _usual(target) -> Method:
    """The method of a target for which none was named."""
    if not isinstance(target, EmergentProperty):
        return NPE()
    from lanternfish.inference.epi import EPI  # slow to import

    return EPI()


def _is_epi(method) -> bool:
    from lanternfish.inference.epi import EPI  # slow to import

    return isinstance(method, EPI)


def _instead(target) -> str:
    """Which method the target is for."""
    if isinstance(target, EmergentProperty):
        return ": a mean and standard deviation are for EPI, values that were measured for NPE"
    if isinstance(target, Observation):
        return ": values that were measured are for NPE, a mean and standard deviation for EPI"
    return ""


def _card(model, target, method, seed) -> dict:
    """What makes a study this study: another card is another study."""
    return {
        "model": model.describe(),
        "target": target.as_plain(),
        "target_name": target.name,
        "method": method.describe(),
        "seed": seed,
    }


def _claim(folder: Folder, card: dict) -> None:
    """Write the card, or compare it with the one that stands there."""
    if not folder.exists("study.json"):
        folder.write_json("study.json", card)
        return
    stored = folder.read_json("study.json")
    differing = [key for key in card if _plain(stored.get(key)) != _plain(card[key])]
    if differing:
        raise ValueError(
            f"Expected the study that {folder.url} was begun with; got another "
            f"{' and '.join(differing)}: give another folder, or the same study."
        )


def _plain(value):
    """As JSON would give it back: tuples as lists. What is None counts as left out.

    So a card that was written before a setting existed is still that of the same study.
    """
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


class _Clock:
    """When a study was begun, and the seconds that all calls have spent on it."""

    def __init__(self, folder: Folder | None) -> None:
        self._folder, self._started = folder, time.monotonic()
        began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.account = {"began": began, "seconds": 0.0}
        if folder is not None and folder.exists(_CLOCK):
            self.account = folder.read_json(_CLOCK)

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *raised) -> None:
        self.account["seconds"] += round(time.monotonic() - self._started, 1)
        if self._folder is not None:
            with contextlib.suppress(OSError):  # an account is not worth a second error
                self._folder.write_json(_CLOCK, self.account)


def _surroundings() -> dict:
    packages = ("lanternfish", "jax", "equinox", "optax", "flowjax", "numpy", "numba")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
