"""Asking analyses from a process that must not import them: the server, and the worker.

Each question starts a child process, so that no package can break, block or slow the server. What
does not change (manifests) is asked once and kept until `refresh`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lanternfish.service.analyses.definition import Problem
from lanternfish.service.analyses.manifest import Manifest
from lanternfish.service.analyses.registry import UnknownAnalysisError

PATIENCE = 120.0  # seconds for an answer
_KEPT: dict[str, Manifest] = {}
_LOCK = threading.Lock()


def catalogue(*, refresh: bool = False) -> dict[str, Manifest]:
    """Manifests by name; an analysis that cannot be loaded has an `error`, and hides no other."""
    with _LOCK:
        if refresh or not _KEPT:
            found = _ask({"question": "manifests"})
            _KEPT.clear()
            _KEPT.update((each["name"], Manifest(**each)) for each in found)
        return dict(_KEPT)


def find_manifest(name: str) -> Manifest:
    """The manifest of one analysis.

    Raises:
        UnknownAnalysisError: there is none of this name.
    """
    known = catalogue()
    if name not in known:
        raise UnknownAnalysisError(
            f'Expected an analysis of {", ".join(sorted(known))}; got "{name}".'
        )
    return known[name]


def check_request(
    name: str, settings: Mapping[str, Any], inputs: Mapping[str, str | Path]
) -> tuple[list[Problem], float | None]:
    """Ask the analysis whether settings and inputs (paths) fit; and the bound in CPU seconds.

    Takes a second or two: `check_settings` is faster, and finds most mistakes first.
    """
    answer = _ask(
        {
            "question": "check",
            "name": name,
            "settings": dict(settings),
            "inputs": {key: str(path) for key, path in inputs.items()},
        }
    )
    return [Problem(**each) for each in answer["problems"]], answer["cpu_seconds"]


def suggest_settings(name: str, inputs: Mapping[str, str | Path]) -> tuple[dict[str, Any], str]:
    """Ask the analysis which settings the data suggest: values by name, and a sentence."""
    paths = {key: str(path) for key, path in inputs.items()}
    answer = _ask({"question": "suggest", "name": name, "inputs": paths})
    return answer["values"], answer["words"]


def _ask(question: dict[str, Any]) -> Any:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lanternfish.service.analyses.answers"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"Expected an answer in {PATIENCE:.0f} s; got none.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"An analysis could not be asked: {lines[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
