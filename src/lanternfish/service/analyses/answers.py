"""The child process behind `catalogue`: reads a question, prints the answer as its last line."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from lanternfish.service.analyses.definition import Problem
from lanternfish.service.analyses.manifest import Manifest, describe
from lanternfish.service.analyses.registry import load, names
from lanternfish.service.analyses.requests import check


def answer(question: dict[str, Any]) -> Any:
    """The answer to a question of `catalogue`."""
    if question["question"] == "manifests":
        return [_manifest(name).as_plain() for name in names()]
    try:
        problems, bound = check(load(question["name"]), question["settings"], question["inputs"])
    except Exception as error:
        text = f"The analysis could not look at it: {type(error).__name__}: {error}"
        problems, bound = [Problem("settings", None, text)], None
    plain = [{"field": p.field, "value": p.value, "expected": p.expected} for p in problems]
    return {"problems": plain, "cpu_seconds": bound}


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
