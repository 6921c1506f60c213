"""Tracking that keeps identities over many meetings, by idtracker.ai, as an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from lanternfish import __version__
from lanternfish.analyses import tracking
from lanternfish.analyses.identities.documentation import DOCUMENTATION
from lanternfish.service.analyses import (
    Analysis,
    Demo,
    Environment,
    Job,
    Problem,
)  # fmt: skip

HERE = Path(__file__).parent


class Settings(tracking.Shared):
    """Settings of tracking that keeps identities."""

    model_config = ConfigDict(extra="forbid")

    contrast: ClassVar[str] = "either"  # idtracker.ai takes what is darker or lighter
    animals: int = Field(2, ge=2, le=50, title="Animals", description="How many there are.")
    device: Literal["cpu", "gpu"] = Field(
        "cpu", title="Device", description="GPU: where there is one; also for the contrastive step."
    )


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the video's header, its first and last frames, the arena and the regions."""
    from lanternfish.analyses.tracking.request import problems_of

    return problems_of(settings, inputs)


def run(job: Job) -> None:
    """Let idtracker.ai track; compare with tracking by motion; measure, draw and write."""
    from lanternfish.analyses.identities.work import track

    track(job)


analysis = Analysis(
    name="identities",
    version=__version__,
    title="Tracking that keeps identities",
    summary="Positions of animals that meet often, named by what each looks like (idtracker.ai).",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.1038/s41592-018-0295-5",
    settings=Settings,
    inputs=tracking.analysis.inputs,
    outputs=tracking.analysis.outputs,
    run=run,
    code=("lanternfish.analyses.tracking", "lanternfish.analyses.behaviour",
          "lanternfish.analyses.guests"),
    validate=validate,
    suggest=tracking.suggest,
    demo=Demo(
        {"animals": 2, "regions": {"left half": "rectangle 0 0 110 170"}},
        tracking.analysis.demo.inputs if tracking.analysis.demo else {},
        "Two generated fish that meet, with known truth",
    ),
    environment=Environment(HERE / "requirements.txt", "3.11", gigabytes=1.8, minutes=5.0),
    cpu_seconds=12 * 3_600.0,
)  # fmt: skip
