"""The analyses of this server, as pages show them; strangers' code runs in child processes only.

Manifests of the last start are shown at once, while the packages are asked again in the background.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from lanternfish.service import analyses as an
from lanternfish.service import store as st
from lanternfish.service.analyses.headers import contradiction
from lanternfish.service.jobs import cost
from lanternfish.service.server import forms
from lanternfish.service.store import places
from lanternfish.service.store.identity import fingerprint

KEPT = "catalogue.json"
LOOKED_INTO = 3  # data sets of one click that the analysis itself looks into before they queue
FETCHED = 1 << 26  # bytes: larger contents of an object store are not fetched only to be checked
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """An input of an analysis."""

    name: str
    title: str
    help: str = ""
    endings: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Analysis:
    """An analysis as pages show it."""

    manifest: an.Manifest

    def __getattr__(self, name: str) -> Any:
        """name, version, title, summary, documentation, paper, schema, outputs, code, ..."""
        if name == "manifest":
            raise AttributeError(name)
        return getattr(self.manifest, name)

    @cached_property
    def inputs(self) -> tuple[Wanted, ...]:
        """What it takes; one job is started for each file of the first."""
        return tuple(
            Wanted(
                each["name"],
                each["title"],
                each.get("help", ""),
                tuple(each.get("suffixes", ())),
                each.get("required", True),
            )
            for each in self.manifest.inputs
        )

    @property
    def paper_address(self) -> str:
        """The paper as a link; "" where it is none."""
        paper = self.manifest.paper.strip()
        if paper.lower().startswith("https://"):
            return paper
        plain = paper.removeprefix("doi:").strip()
        return f"https://doi.org/{plain}" if plain.startswith("10.") else ""


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a request, by JSON pointer; and the bound on its CPU seconds."""

    errors: dict[str, str]
    cpu_seconds: float | None = None


@dataclass
class Catalogue:
    """The analyses, found in the background; `folder` keeps what was found last."""

    folder: Path
    store: st.Store
    known: dict[str, an.Manifest] = field(default_factory=dict)
    fresh: threading.Event = field(default_factory=threading.Event)
    problem: str = ""
    verdicts: OrderedDict[str, Verdict] = field(default_factory=OrderedDict)

    def begin(self) -> None:
        """Show what was known at the last start; ask again in the background."""
        try:
            told = json.loads((self.folder / KEPT).read_text())
            self.known = {each["name"]: an.Manifest(**each) for each in told}
        except (OSError, ValueError, TypeError, KeyError):
            self.known = {}
        threading.Thread(target=self.refresh, daemon=True, name="catalogue").start()

    def refresh(self) -> None:
        """Ask all packages anew."""
        try:
            self.known = an.catalogue(refresh=True)
            self.problem = ""
            self._keep()
        except Exception as error:  # a broken installation: pages say so
            _log.exception("analyses could not be asked")
            self.problem = str(error)
        finally:
            self.verdicts.clear()
            self.fresh.set()

    def _keep(self) -> None:
        place = self.folder / KEPT
        temporary = place.with_suffix(".new")
        temporary.write_text(json.dumps([each.as_plain() for each in self.known.values()]))
        os.replace(temporary, place)

    def all(self) -> list[Analysis]:
        """Those that can be used, by title."""
        found = [Analysis(each) for each in self.known.values() if not each.error]
        return sorted(found, key=lambda each: each.title)

    def broken(self) -> dict[str, str]:
        """Those that cannot be used, and why."""
        found = {name: each.error for name, each in self.known.items() if each.error}
        return found | ({"": self.problem} if self.problem else {})

    def get(self, name: str) -> Analysis | None:
        """One that can be used."""
        if name not in self.known:
            self.fresh.wait(60)
        found = self.known.get(name)
        return Analysis(found) if found is not None and not found.error else None

    def check(self, analysis: Analysis, settings: Mapping[str, Any]) -> dict[str, str]:
        """Compare settings with the schema, at once: a sentence for each pointer."""
        problems = an.check_settings(analysis.manifest, settings)
        return {pointer(p.field): self._sentence(analysis, p) for p in problems}

    def _sentence(self, analysis: Analysis, problem: an.Problem) -> str:
        schema = forms.at(analysis.schema, pointer(problem.field))
        wanted = forms.wanted_in_words(analysis.schema, schema) if schema else ""
        if not wanted:
            return problem.expected
        shown = problem.value if isinstance(problem.value, str) else json.dumps(problem.value)
        return f"Expected {wanted}; got {shown[:80]}."

    def examine(
        self, analysis: Analysis, settings: Mapping[str, Any], runs: tuple[dict[str, str], ...]
    ) -> Verdict:
        """Let the analysis look at settings and data (in a child process); remembered a while."""
        self.fresh.wait(60)
        errors: dict[str, str] = {}
        bound: float | None = None
        for run in runs[:LOOKED_INTO]:
            verdict = self._examined(analysis, settings, run)
            errors |= verdict.errors
            bound = max(filter(None, (bound, verdict.cpu_seconds)), default=None)
            if errors:
                break
        return Verdict(errors, bound)

    def _examined(
        self, analysis: Analysis, settings: Mapping[str, Any], run: dict[str, str]
    ) -> Verdict:
        key = fingerprint([analysis.name, analysis.code, settings, run])
        if key in self.verdicts:
            return self.verdicts[key]
        with self._folder() as folder:
            paths = self._laid_out(run, Path(folder))
            problems, bound = an.check_request(analysis.name, settings, paths)
        errors = {pointer(p.field): p.expected for p in problems}
        if len(paths) < len(run):  # contents that were not fetched are not missing
            errors = {p: s for p, s in errors.items() if not p.startswith("/inputs/")}
        verdict = self.verdicts[key] = Verdict(errors, bound)
        while len(self.verdicts) > 500:
            self.verdicts.popitem(last=False)
        return verdict

    def suggested(self, analysis: Analysis, run: dict[str, str]) -> tuple[dict[str, Any], str]:
        """Settings that a set of inputs suggests, and a sentence (in a child process)."""
        self.fresh.wait(60)
        with self._folder() as folder:
            return an.suggest_settings(analysis.name, self._laid_out(run, Path(folder)))

    def _laid_out(self, run: dict[str, str], folder: Path) -> dict[str, Path]:
        """The inputs as files of their names: links where they lie on this machine."""
        paths = {}
        for name, dataset in run.items():
            row = st.find_dataset(self.store, dataset)
            if row is None:
                continue
            if row.location is not None and places.is_bucket(row.location):
                continue
            if row.location is not None:
                if os.path.realpath(row.location) == row.location:  # no link since
                    paths[name] = Path(row.location)
                continue
            inside = folder / name
            inside.mkdir()
            place = inside / row.name
            if self.store.blobs.remote is None:
                _link(self.store.blobs.place(row.sha256), place)
            elif row.size <= FETCHED:
                self.store.blobs.fetch(row.sha256, place)
            else:
                continue
            paths[name] = place
        return paths

    def contradicted(self, row: Row) -> str:
        """A sentence where a data set's first bytes contradict its name."""
        if self.store.blobs.remote is not None or row.location is not None:
            return ""
        with self._folder() as folder:
            place = Path(folder) / row.name
            _link(self.store.blobs.place(row.sha256), place)
            return contradiction(place)

    def _folder(self) -> tempfile.TemporaryDirectory:
        """A folder on the disk of the blobs, so that they can be linked."""
        checks = self.folder / "checks"
        checks.mkdir(exist_ok=True)
        return tempfile.TemporaryDirectory(dir=checks)

    def demo_inputs(self, analysis: Analysis, group: str, user: str) -> dict[str, str]:
        """The demo's data as data sets of the group, made where they are not there yet."""
        from lanternfish.service.store import pages

        found = {}
        for name, each in (analysis.demo or {}).get("inputs", {}).items():
            sha256, size = self.store.blobs.put(each["path"])
            row = pages.same_content(self.store, group, sha256, each["filename"])
            if row is None:
                row = st.add_dataset(self.store, group, user, each["filename"], size, sha256)
            found[name] = row.id
        return found


def _link(content: str, place: Path) -> None:
    """The content under its name: a hard link, because who follows a soft one loses the name."""
    try:
        os.link(content, place)
    except OSError:  # another disk, or one without links
        shutil.copyfile(content, place)


def reserve(cpu_seconds: float | None) -> int:
    """Micro-units that a job reserves of its group's budget."""
    return cost(cpu_seconds or 0.0)


def pointer(place: str) -> str:
    """JSON pointer of a problem's place: "training.epochs" is "/training/epochs"."""
    if place in ("", "settings"):
        return ""
    return "".join(f"/{part}" for part in place.split("."))
