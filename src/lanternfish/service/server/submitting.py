"""From what a user chose to submissions: settings checked, one job for each set of inputs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from lanternfish.service import store as st
from lanternfish.service.server.catalogue import Analysis, reserve
from lanternfish.service.server.errors import Mistake
from lanternfish.service.server.platform import Platform, platform_of

MOST = 1_000  # jobs of one click


@dataclass(frozen=True)
class Wish:
    """What a user asks for: an analysis, settings, and for each job the data set of each input."""

    analysis: str
    settings: dict[str, Any]
    runs: tuple[dict[str, str], ...] = ({},)
    seed: int = 0
    title: str = ""
    key: str | None = None
    parent: str | None = None
    relation: str = "duplicate"
    minutes: float | None = None
    known: bool = False  # the package's own demo: it need not be looked at first


def analysis_of(platform: Platform, name: str) -> Analysis:
    found = platform.catalogue.get(name)
    if found is None:
        raise st.NotFoundError(
            f"Expected the name of an analysis of this server; got {name[:100]!r}."
        )
    return found


def submit(request: Request, group: str, wish: Wish) -> list:
    """Check and queue; returns the rows of the jobs.

    Raises:
        Mistake: settings or inputs that the analysis does not take, a sentence for each.
    """
    platform, actor = platform_of(request), request.state.actor
    analysis = analysis_of(platform, wish.analysis)
    _refuse_code(platform, analysis)
    settings = {**analysis.defaults, **wish.settings}
    errors = platform.catalogue.check(analysis, settings)
    errors |= input_errors(platform, analysis, group, wish.runs)
    if not 1 <= len(wish.runs) <= MOST:
        errors["/inputs"] = f"Expected 1 to {MOST} jobs; got {len(wish.runs)}."
    verdict = None
    if not errors and not wish.known:
        verdict = platform.catalogue.examine(analysis, settings, wish.runs)
        errors = verdict.errors
    if errors:
        told = "; ".join(f"{p or 'settings'}: {s}" for p, s in list(errors.items())[:5])
        raise Mistake(f"Some settings or inputs are not what the analysis takes. {told}", errors)
    st.check_storage(platform.store, group, 1)
    seconds = _shorter(analysis.seconds, wish.minutes)
    bound = verdict.cpu_seconds if verdict else analysis.cpu_seconds
    asked = [
        st.Submission(
            group=group,
            user=actor.id,
            analysis=analysis.name,
            version=analysis.version,
            code=analysis.code,
            settings=settings,
            seed=wish.seed,
            inputs=tuple(st.Input(name, dataset) for name, dataset in run.items()),
            key=f"{wish.key}:{i}"[:100] if wish.key and len(wish.runs) > 1 else wish.key,
            title=wish.title or analysis.title,
            reserve=reserve(bound),
            seconds=seconds,
            memory=analysis.memory,
            parent=wish.parent,
            relation=wish.relation if wish.parent else None,
        )
        for i, run in enumerate(wish.runs)
    ]
    return st.submit_all(platform.store, asked)


def input_errors(
    platform: Platform, analysis: Analysis, group: str, runs: tuple[dict[str, str], ...]
) -> dict[str, str]:
    """A sentence for each input that is missing, unknown or not of its kind."""
    errors: dict[str, str] = {}
    known = {each.name: each for each in analysis.inputs}
    for run in runs:
        for name in set(run) - set(known):
            words = ", ".join(known) or "none"
            errors[f"/inputs/{name}"] = f"Expected inputs of {words}; got {name[:60]!r}."
        for each in analysis.inputs:
            sentence = _one_input(platform, each, group, run.get(each.name))
            if sentence:
                errors.setdefault(f"/inputs/{each.name}", sentence)
    return errors


def _one_input(platform: Platform, each, group: str, dataset: str | None) -> str:
    if not dataset:
        return (
            f"Expected a data set for {each.title}; choose or upload one." if each.required else ""
        )
    row = st.find_dataset(platform.store, dataset)
    if row is None or row.deleted is not None or row.group_id != group:
        return "Expected a data set of this group; it is not there (any more)."
    if each.endings and not row.name.lower().endswith(tuple(e.lower() for e in each.endings)):
        return f"Expected a file that ends in {', '.join(each.endings)}; got {row.name}."
    return platform.catalogue.contradicted(row)


def _shorter(seconds: float | None, minutes: float | None) -> float | None:
    given = None if minutes is None else 60.0 * minutes
    return min((each for each in (seconds, given) if each is not None), default=None)


def _refuse_code(platform: Platform, analysis: Analysis) -> None:
    """Settings or inputs that hold code run on a personal server, or in a sandbox, only."""
    if (
        analysis.arbitrary_code
        and not platform.configuration.personal
        and not shutil.which("bwrap")
    ):
        raise Mistake(
            f"{analysis.title} can run code of its user, which a shared server does only in a "
            "sandbox; this one has none (bubblewrap).",
            status=403,
        )
