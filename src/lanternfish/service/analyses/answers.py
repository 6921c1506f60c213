"""The child process behind `catalogue`: reads a question, prints the answer as its last line."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from lanternfish.service.analyses.definition import Problem
from lanternfish.service.analyses.manifest import Manifest, describe
from lanternfish.service.analyses.registry import load, names
from lanternfish.service.analyses.requests import check, read_inputs


def answer(question: dict[str, Any]) -> Any:
    """The answer to a question of `catalogue`."""
    if question["question"] == "manifests":
        return [_manifest(name).as_plain() for name in names()]
    if question["question"] == "suggest":
        return _suggested(question["name"], question["inputs"])
    try:
        problems, bound = check(load(question["name"]), question["settings"], question["inputs"])
    except Exception as error:
        text = f"The analysis could not look at it: {type(error).__name__}: {error}"
        problems, bound = [Problem("settings", None, text)], None
    plain = [{"field": p.field, "value": p.value, "expected": p.expected} for p in problems]
    return {"problems": plain, "cpu_seconds": bound}


def _suggested(name: str, given: dict[str, str]) -> dict[str, Any]:
    analysis = load(name)
    inputs, problems = read_inputs(analysis, given)
    if problems or analysis.suggest is None:
        why = " ".join(each.expected for each in problems)
        return {"values": {}, "words": why or f"{analysis.title} suggests no settings."}
    try:
        found = analysis.suggest(inputs)
    except Exception as error:
        text = str(error)
        plain = text if text.startswith("Expected") else f"{type(error).__name__}: {text}"
        return {"values": {}, "words": f"Nothing is suggested. {plain}"}
    return {"values": dict(found.values), "words": found.words}


def _manifest(name: str) -> Manifest:
    try:
        return describe(load(name))
    except Exception as error:
        return Manifest(name, title=name, error=f"{type(error).__name__}: {error}")


def main() -> None:
    question = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # what an import prints is no answer
        found = answer(question)
    print(json.dumps(found, default=repr))


if __name__ == "__main__":
    main()
