"""Tracking of animals in video without labels, as an analysis of the platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lanternfish import __version__
from lanternfish.analyses.tracking.documentation import DOCUMENTATION
from lanternfish.service.analyses import (
    Analysis,
    Demo,
    Input,
    Job,
    Output,
    Problem,
    Suggestion,
)  # fmt: skip

HERE = Path(__file__).parent


class Shared(BaseModel):
    """What all ways of tracking are told."""

    animals: int = Field(1, ge=1, le=50, title="Animals", description="How many there are.")
    arena: str = Field(
        "",
        max_length=2_000,
        title="Arena",
        description="rectangle x y width height, circle x y radius, or polygon x1 y1 x2 y2 ... "
        "in px; empty: the whole frame, or the mask image.",
    )
    regions: dict[str, str] = Field(
        default_factory=dict,
        title="Regions",
        description="Named shapes, written as the arena is; the time in each is counted.",
    )
    threshold: float = Field(
        0.0,
        ge=0,
        le=255,
        title="Threshold",
        description="Difference from the background, grey levels; 0: suggested from the video.",
    )
    smallest: float = Field(
        0.0,
        ge=0,
        title="Smallest area",
        description="Of one animal; 0: suggested from the video.",
        json_schema_extra={"unit": "px²"},
    )
    largest: float = Field(
        0.0,
        ge=0,
        title="Largest area",
        description="Of one animal; 0: suggested from the video.",
        json_schema_extra={"unit": "px²"},
    )
    near: float = Field(
        50.0,
        gt=0,
        title="Near",
        description="Distance under which two animals count as near each other.",
        json_schema_extra={"unit": "px"},
    )
    cell: float = Field(
        20.0,
        ge=2,
        title="Square of the occupancy map",
        description="Side of the squares in which time is summed.",
        json_schema_extra={"unit": "px"},
    )
    tail: int = Field(
        30,
        ge=0,
        le=1_000,
        title="Tail",
        description="Length of the tails in the labelled video.",
        json_schema_extra={"unit": "frames"},
    )
    labelled_video: bool = Field(
        True, title="Labelled video", description="Whether a video with names is made."
    )


class Settings(Shared):
    """Settings of tracking."""

    model_config = ConfigDict(extra="forbid")

    contrast: Literal["either", "dark", "light"] = Field(
        "either",
        title="Contrast",
        description="Whether animals are darker or lighter than the background.",
    )


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the video's header, its first and last frames, the arena and the regions."""
    from lanternfish.analyses.tracking.request import problems_of

    return problems_of(settings, inputs)


def suggest(inputs: Mapping[str, Path]) -> Suggestion:
    """Arena, number of animals and their sizes, as the video shows them."""
    from lanternfish.analyses.tracking import suggesting

    return suggesting.suggest(inputs)


def run(job: Job) -> None:
    """Track, decide on identities, measure, draw and write."""
    from lanternfish.analyses.tracking.work import track

    track(job)


analysis = Analysis(
    name="tracking",
    version=__version__,
    title="Tracking without labels",
    summary="Positions of one or several animals in a video, and how sure their identities are.",
    documentation=DOCUMENTATION,
    settings=Settings,
    inputs=(
        Input(
            "video",
            "Video",
            "From a fixed camera.",
            (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".wmv", ".webm"),
        ),
        Input(
            "mask",
            "Arena mask",
            "A picture as large as the video, white where animals may be.",
            (".png", ".tif", ".tiff", ".bmp"),
            required=False,
        ),
        Input(
            "truth",
            "Known positions",
            "CSV with frame, animal, x_px, y_px: tracking is scored against it.",
            (".csv",),
            required=False,
        ),
    ),
    outputs=(
        Output("labelled.mp4", "Labelled video", "video", required=False, exact=False),
        Output("report.md", "Report", "report"),
        Output("positions.csv", "Positions", "table"),
        Output("summary.csv", "Distance, speed, coverage of each animal", "table"),
        Output("regions.csv", "Time in regions", "table", required=False),
        Output("proximity.csv", "Distance of each pair", "table", required=False),
        Output("nwb/*.nwb", "NWB, one file for each animal", "data", exact=False),
        Output("figures/*.png", "Pictures", "picture"),
    ),
    run=run,
    code=("lanternfish.analyses.behaviour",),
    validate=validate,
    suggest=suggest,
    demo=Demo(
        {"animals": 2, "regions": {"left half": "rectangle 0 0 110 170"}},
        {"video": HERE / "demo" / "fish.mp4", "truth": HERE / "demo" / "fish.csv"},
        "Two generated fish that meet, with known truth",
    ),
    cpu_seconds=4 * 3_600.0,
)
