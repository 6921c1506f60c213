"""Counts lines of a file, or to a number, slowly if asked; keeps what it has counted."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pydantic import BaseModel, Field

from lanternfish.service.analyses import Analysis, Demo, Input, Job, Output, Problem

HERE = Path(__file__).parent


class Settings(BaseModel):
    to: int = Field(3, ge=1, le=10_000, description="Count to this number.")
    pause: float = Field(
        0.0, ge=0, le=60, description="Pause between numbers.", json_schema_extra={"unit": "s"}
    )


def validate(settings: Settings, inputs: dict[str, Path]) -> list[Problem]:
    if "lines" in inputs and not inputs["lines"].read_bytes().strip():
        return [Problem("inputs.lines", "0 lines", "Expected a file with lines; it has none.")]
    return []


def run(job: Job) -> None:
    kept = job.checkpoint / "count.json"
    done = json.loads(kept.read_text()) if kept.exists() else []
    lines = job.inputs["lines"].read_text().splitlines() if "lines" in job.inputs else []
    job.log(f"Going on from {len(done)}, {len(lines)} lines, seed {job.seed}.")
    for number in range(len(done) + 1, job.settings.to + 1):
        time.sleep(job.settings.pause)
        done.append([number, job.attempt])
        fresh = kept.with_suffix(".new")
        fresh.write_text(json.dumps(done))
        fresh.replace(kept)
        job.progress(number / job.settings.to, f"at {number}")
        job.metric("count", number, number)
    sums = sum(number for number, _ in done) + job.seed
    (job.output / "count.csv").write_text(f"numbers,lines,sum\n{len(done)},{len(lines)},{sums}\n")
    job.log("Done.")


analysis = Analysis(
    name="count",
    version="1.0",
    title="Count",
    summary="Counts to a number, and the lines of a file.",
    documentation="# Count\n\nCounts to `to`, and adds the seed.",
    settings=Settings,
    inputs=(Input("lines", "A text file", suffixes=(".txt", ".csv"), required=False),),
    outputs=(Output("count.csv", "The count", "table"),),
    run=run,
    validate=validate,
    demo=Demo({"to": 2}, {"lines": HERE / "lines.txt"}),
    cpu_seconds=lambda settings: 5.0 + 0.1 * settings.to,
)
