"""Whether a request fits an analysis: settings, inputs, and what the analysis itself says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lanternfish.service.analyses.definition import Analysis, Problem
from lanternfish.service.analyses.headers import contradiction


def read_settings(analysis: Analysis, values: Mapping[str, Any]) -> tuple[Any, list[Problem]]:
    """The settings model of plain values, or None and what is wrong with them."""
    problems = [
        Problem(name, values[name], f"Expected one of {', '.join(analysis.settings.model_fields)}.")
        for name in values
        if name not in _names(analysis)
    ]
    try:
        settings = analysis.settings.model_validate(dict(values))
    except ValidationError as error:
        problems += [_problem(each) for each in error.errors()]
        return None, problems
    return (None if problems else settings), problems


def read_inputs(
    analysis: Analysis, given: Mapping[str, str | Path]
) -> tuple[dict[str, Path], list[Problem]]:
    """Paths of the named inputs, and what is wrong with them."""
    known = {each.name: each for each in analysis.inputs}
    problems = [
        Problem(f"inputs.{name}", str(path), f"Expected inputs {', '.join(known) or 'none'}.")
        for name, path in given.items()
        if name not in known
    ]
    paths = {name: Path(path) for name, path in given.items() if name in known}
    for name, each in known.items():
        path = paths.get(name)
        if path is None:
            if each.required:
                problems.append(Problem(f"inputs.{name}", None, f"Expected {each.title}."))
            continue
        wrong = _wrong(path, each.suffixes)
        if wrong:
            problems.append(Problem(f"inputs.{name}", path.name, wrong))
    return paths, problems


def check(
    analysis: Analysis, values: Mapping[str, Any], given: Mapping[str, str | Path]
) -> tuple[list[Problem], float | None]:
    """All that is wrong with a request, and (where nothing is) the bound on its CPU seconds."""
    settings, problems = read_settings(analysis, values)
    paths, more = read_inputs(analysis, given)
    problems += more
    if not problems:
        problems = list(analysis.validate(settings, paths))
    if problems:
        return problems, None
    return [], analysis.bound(settings)


def _wrong(path: Path, suffixes: tuple[str, ...]) -> str:
    if not path.exists():
        return f"Expected a file at {path}; there is none."
    if suffixes and not path.name.lower().endswith(tuple(s.lower() for s in suffixes)):
        return f"Expected a file that ends in {' or '.join(suffixes)}; got {path.name}."
    return contradiction(path)


def _names(analysis: Analysis) -> set[str]:
    fields = analysis.settings.model_fields
    aliases = {each.alias for each in fields.values() if each.alias}
    return set(fields) | aliases


def _problem(error: Any) -> Problem:
    place = ".".join(str(part) for part in error["loc"]) or "settings"
    text = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    value = error.get("input")
    sentence = text if "Expected" in text else f"{text}; got {value!r:.80}"
    return Problem(place, _plain(value), f"{sentence}.")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)[:200]
