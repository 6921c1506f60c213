"""Starts the process of sleap-nn, follows what it says, and ends it when the job ends."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lanternfish.analyses.pose.labels import FORMAT
from lanternfish.service.analyses import Job

SCRIPT = Path(__file__).with_name("sleap_child.py")
MARK = "LANTERNFISH "


def python(job: Job) -> tuple[str, dict[str, str]]:
    """The Python that has sleap-nn, and variables for it: this one, or one that is built now.

    On the platform the whole job runs in the environment; from the command line it does not.
    """
    if importlib.util.find_spec("sleap_nn") is not None:
        return sys.executable, {}
    from lanternfish.service.analyses import find_manifest
    from lanternfish.service.worker.environments import python_for

    home = Path(os.environ.get("LANTERNFISH_FOLDER", "~/.local/share/lanternfish")).expanduser()
    return python_for(find_manifest("pose"), home / "environments", job.log)


def watch(job: Job, task: dict[str, Any], begin: float, end: float) -> None:
    """Do a task in the child; its progress goes from `begin` to `end` of the job's.

    Raises:
        ValueError: a file that it was given cannot be used.
        RuntimeError: it failed; with the last line of what it said.
    """
    program, variables = python(job)
    file, log = job.checkpoint / "task.json", job.checkpoint / "child.log"
    file.write_text(json.dumps(task))
    with open(log, "wb") as sink:
        child = subprocess.Popen(
            [program, "-P", str(SCRIPT), str(file)],
            stdout=sink, stderr=sink, stdin=subprocess.DEVNULL,
            env={**os.environ, **variables}, cwd=job.checkpoint,
        )  # fmt: skip
    listener = _Listener(job, task, log, begin, end)
    try:
        while child.poll() is None:
            time.sleep(0.5)
            listener.listen()
        listener.listen()
    finally:
        child.kill()
        child.wait()
    if listener.refused:
        raise ValueError(listener.refused)
    if child.returncode or not listener.done:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
        raise RuntimeError(f"sleap-nn ended early: {lines[-1].strip()[:500]}")


def convert(job: Job, source: Path, out: Path) -> Path:
    """Labels of SLEAP as a file of ours."""
    link = job.checkpoint / f"given-{source.name}"
    link.unlink(missing_ok=True)
    link.symlink_to(source.resolve())
    task = {"do": "convert", "source": str(link), "out": str(out), "format": FORMAT}
    watch(job, task, 0.0, 0.02)
    return out


class _Listener:
    """Tells a job what the child says and logs."""

    def __init__(self, job: Job, task: dict, log: Path, begin: float, end: float) -> None:
        self.job, self.task, self.log = job, task, log
        self.begin, self.end = begin, end
        self.place, self.done, self.stage = 0, False, task["do"]
        self.refused = ""
        self.rows: dict[str, int] = {}

    def listen(self) -> None:
        with open(self.log, "rb") as file:
            file.seek(self.place)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.place += len(line)
                text = line.decode(errors="replace")
                if text.startswith(MARK):
                    self._hear(json.loads(text.removeprefix(MARK)))
        if self.task["do"] == "train":
            for number, part in enumerate(self.task["epochs"]):
                self._losses(part, number)

    def _hear(self, told: dict) -> None:
        if "stage" in told:
            self.stage = told["stage"]
            self.job.log(self.stage)
        elif "predicted" in told:
            share = self.begin + (self.end - self.begin) * told["predicted"]
            self.job.progress(share, f"predicting, {told['predicted']:.0%} of the frames")
        self.refused = told.get("refused", self.refused)
        self.done = self.done or "done" in told

    def _losses(self, part: str, number: int) -> None:
        path = Path(self.task["folder"]) / part / "training_log.csv"
        if not path.is_file():
            return
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows[self.rows.get(part, 0) :]:
            step = self.rows[part] = self.rows.get(part, 0) + 1
            for name, label in (("train_loss", "loss"), ("val_loss", "loss of frames not learnt")):
                value = next((row[k] for k in (name, name.replace("_", "/")) if row.get(k)), None)
                if value:
                    self.job.metric(f"{part}: {label}", float(value), step)
            share = (number + step / self.task["epochs"][part]) / len(self.task["epochs"])
            self.job.progress(
                self.begin + (self.end - self.begin) * share, f"{self.stage}, epoch {step}"
            )
