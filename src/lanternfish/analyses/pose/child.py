"""Starts the process of sleap-nn, follows what it says, and ends it when the job ends."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lanternfish.analyses.guests import attend, python_with
from lanternfish.analyses.pose.labels import FORMAT
from lanternfish.service.analyses import Job

SCRIPT = Path(__file__).with_name("sleap_child.py")


def watch(job: Job, task: dict[str, Any], begin: float, end: float) -> None:
    """Do a task in the child; its progress goes from `begin` to `end` of the job's.

    Raises:
        ValueError: a file that it was given cannot be used.
        RuntimeError: it failed; with the last line of what it said.
    """
    listener = _Listener(job, task, begin, end)
    try:
        attend(job, python_with(job, "sleap_nn", "pose"), SCRIPT, task, listener.listen)
    except RuntimeError:
        if not listener.refused:
            raise
    if listener.refused:
        raise ValueError(listener.refused)


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

    def __init__(self, job: Job, task: dict, begin: float, end: float) -> None:
        self.job, self.task = job, task
        self.begin, self.end = begin, end
        self.done, self.stage = False, task["do"]
        self.refused = ""
        self.rows: dict[str, int] = {}

    def listen(self, said: list[dict]) -> bool:
        for told in said:
            self._hear(told)
        if self.task["do"] == "train":
            for number, part in enumerate(self.task["epochs"]):
                self._losses(part, number)
        return self.done

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
