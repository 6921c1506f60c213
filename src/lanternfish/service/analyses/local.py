"""The same `run` without a platform: `lanternfish analysis run`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lanternfish.service.analyses.definition import Analysis, Output, Problem
from lanternfish.service.analyses.job import Job
from lanternfish.service.analyses.registry import code_hash, sources
from lanternfish.service.analyses.requests import check, read_inputs, read_settings


class RequestError(ValueError):
    """Settings or inputs do not fit; `problems` tells all."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(each) for each in problems))


def run_here(
    analysis: Analysis,
    values: Mapping[str, Any],
    given: Mapping[str, str | Path],
    out: Path,
    *,
    seed: int = 0,
    tell: Callable[[dict], None] = lambda message: None,
) -> dict[str, str]:
    """Run an analysis in this process; returns path and SHA-256 of every result in `out`.

    Interrupted, the same call goes on from `out/.checkpoint`.

    Args:
        values: plain values of the settings. given: path of the file for each named input.
        tell: called with each event: {"kind": "progress" | "metric" | "picture", "data": {...}}.

    Raises:
        RequestError: settings or inputs do not fit.
        FileNotFoundError: a required output is missing at the end.
    """
    problems, _ = check(analysis, values, given)
    if problems:
        raise RequestError(problems)
    out = out.absolute()  # as the worker gives it; paths of results may be given relative to it
    card = {"analysis": analysis.name, "version": analysis.version, "settings": dict(values)}
    card |= {"seed": seed, "code": code_hash(sources(analysis))}
    card |= {"inputs": {name: _sha256(Path(path)) for name, path in given.items()}}
    checkpoint = out / ".checkpoint"
    attempt = _claim(checkpoint, card)
    job = Job(
        inputs=read_inputs(analysis, given)[0],
        settings=read_settings(analysis, values)[0],
        seed=seed,
        output=out,
        checkpoint=checkpoint / "work",
        attempt=attempt,
        tell=tell,
    )
    job.checkpoint.mkdir(exist_ok=True)
    analysis.run(job)
    found = results(out)
    missing = missing_outputs([(o.path, o.required) for o in analysis.outputs], found)
    if missing:
        raise FileNotFoundError(f"Expected {', '.join(missing)} in {out}; the analysis made none.")
    return {path: _sha256(out / path) for path in found}


def results(folder: Path) -> list[str]:
    """Paths of the results in an output folder; links and hidden files are none."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def missing_outputs(wanted: Iterable[tuple[str, bool]], found: Sequence[str]) -> list[str]:
    """Required outputs, of (path or pattern, required), that are not among the results."""
    return [
        pattern
        for pattern, required in wanted
        if required and not any(_fits(path, pattern) for path in found)
    ]


def is_exact(path: str, outputs: Sequence[Output]) -> bool:
    """Whether a result has the same bytes each time: what the first output that fits says."""
    return next((each.exact for each in outputs if _fits(path, each.path)), True)


def kind_of(path: str, outputs: list[tuple[str, str]]) -> str:
    """Kind of a result: as the analysis declares it (path or pattern, kind), or by its ending."""
    for pattern, kind in outputs:
        if _fits(path, pattern):
            return kind
    suffix = Path(path).suffix.lower()
    return _BY_SUFFIX.get(suffix, "file")


_BY_SUFFIX = {
    **dict.fromkeys((".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp"), "picture"),
    **dict.fromkeys((".csv", ".tsv"), "table"),
    **dict.fromkeys((".md", ".html", ".txt", ".pdf"), "report"),
    **dict.fromkeys((".mp4", ".webm", ".avi"), "video"),
}


def _fits(path: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(path, pattern)


def _claim(folder: Path, card: dict[str, Any]) -> int:
    """Begin or go on: the count of this attempt."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "request.json"
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if {**kept, "attempt": 0} != {**json.loads(json.dumps(card)), "attempt": 0}:
            raise ValueError(
                f"Expected the request that {folder.parent} was begun with; got another: give "
                "another folder."
            )
        attempt = int(kept["attempt"]) + 1
    else:
        attempt = 1
    file.write_text(json.dumps({**card, "attempt": attempt}), encoding="utf-8")
    return attempt


def _sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the list of its files and their SHA-256."""
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        lines = [f"{_sha256(each)}  {each.relative_to(path).as_posix()}\n" for each in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
