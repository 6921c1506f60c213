"""Programs of other people: each in a process and an environment of its own, talking by files.

A child says what it does in lines of JSON on its standard output that begin with `LANTERNFISH `.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lanternfish.service.analyses import Job

MARK = "LANTERNFISH "
TICK = 0.5  # seconds between two looks at a child


def python_with(job: Job, module: str, analysis: str) -> tuple[str, dict[str, str]]:
    """The Python that has a module, and variables for it: this one, or one that is built now.

    On the platform the whole job runs in the environment; from the command line it does not.
    """
    if importlib.util.find_spec(module) is not None:
        return sys.executable, {}
    from lanternfish.service.analyses import built, find_manifest
    from lanternfish.service.worker.environments import python_for

    return python_for(find_manifest(analysis), built.home() / built.FOLDER, job.log)


def attend(
    job: Job,
    program: tuple[str, dict[str, str]],
    script: Path,
    task: dict[str, Any],
    hear: Callable[[list[dict]], bool],
) -> None:
    """Do a task in a child, and hear what it says.

    Args:
        program: what `python_with` gives. script: what runs there: `script task.json`.
        hear: takes all that was said since the last call (often nothing), twice a second; returns
            whether the child has said that it is done.

    Raises:
        KeyboardInterrupt: the job was cancelled. RuntimeError: the child ended early; with the
            last line that it wrote.
    """
    python, variables = program
    file, log = job.checkpoint / "task.json", job.checkpoint / "child.log"
    file.write_text(json.dumps(task))
    with open(log, "wb") as sink:
        child = subprocess.Popen(
            [python, "-P", str(script), str(file)],
            stdout=sink, stderr=sink, stdin=subprocess.DEVNULL,
            env={**os.environ, **variables}, cwd=job.checkpoint,
        )  # fmt: skip
    place, done = 0, False
    try:
        while child.poll() is None:
            time.sleep(TICK)
            if job.cancelled:
                raise KeyboardInterrupt
            place, said = _said(log, place)
            done = hear(said) or done
        done = hear(_said(log, place)[1]) or done
    finally:
        child.kill()
        child.wait()
    if child.returncode or not done:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
        raise RuntimeError(f"{script.stem} ended early: {lines[-1].strip()[:500]}")


def _said(log: Path, place: int) -> tuple[int, list[dict]]:
    """What stands in a log from a place on, and where it ends."""
    found = []
    with open(log, "rb") as file:
        file.seek(place)
        for line in file:
            if not line.endswith(b"\n"):
                break
            place += len(line)
            text = line.decode(errors="replace")
            if text.startswith(MARK):
                found.append(json.loads(text.removeprefix(MARK)))
    return place, found
