"""Calcium imaging as an analysis of the platform: cells, dF/F and spikes of a movie, by suite2p."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lanternfish import __version__
from lanternfish.analyses.calcium.documentation import DOCUMENTATION
from lanternfish.service.analyses import (
    Analysis,
    Demo,
    Environment,
    Input,
    Job,
    Output,
    Problem,
)  # fmt: skip

HERE = Path(__file__).parent


def _unit(name: str) -> dict[str, Any]:
    return {"unit": name}


class About(BaseModel):
    """What NWB says of the animal and the recording; which nothing computes with."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field("", max_length=100, title="Animal", description="Its name, for NWB.")
    species: str = Field(
        "", max_length=100, title="Species", description="Latin name, as Mus musculus, for NWB."
    )
    sex: Literal["U", "F", "M", "O"] = Field("U", title="Sex", description="For NWB; U: unknown.")
    age: str = Field(
        "", pattern=r"^(P[0-9].*)?$", title="Age", description="As P90D, 90 days, for NWB."
    )
    indicator: str = Field(
        "", max_length=100, title="Indicator", description="As GCaMP6f, for NWB."
    )
    place: str = Field("", max_length=200, title="Brain area", description="As VISp, for NWB.")
    excitation: float = Field(
        920.0, gt=100, lt=3_000, title="Excitation", description="For NWB.",
        json_schema_extra=_unit("nm"),
    )  # fmt: skip
    recorded: str = Field(
        "", title="Recorded", description="Date and time, as 2026-03-01T14:30, for NWB."
    )

    @field_validator("recorded")
    @classmethod
    def _date(cls, value: str) -> str:
        try:
            if value:
                datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("Expected a date as 2026-03-01T14:30") from None
        return value


class Filters(About):
    """Which regions are taken for cells."""

    snr: float = Field(
        0.4, ge=-1, le=1, title="Least snr",
        description="Of a region taken for a cell: how smooth its trace is, 1 at most.",
    )  # fmt: skip
    skew: float = Field(
        0.8, ge=-10, le=100, title="Least skew",
        description="Likewise: skewness of its trace.",
    )  # fmt: skip
    compactness: float = Field(
        1.2, ge=1, le=100, title="Greatest compactness",
        description="Likewise: 1 is a disc, larger is less compact.",
    )  # fmt: skip
    neuropil: float = Field(
        0.7, ge=0, le=1.5, title="Share of neuropil",
        description="What part of the brightness around a region is in the region, too.",
    )  # fmt: skip


class Settings(Filters):
    """Settings of calcium imaging."""

    rate: float = Field(
        0.0, ge=0, le=10_000, title="Frame rate",
        description="Frames a second of this plane; 0: as the file says, divided by Planes.",
        json_schema_extra=_unit("1/s"),
    )  # fmt: skip
    planes: int = Field(
        1, ge=1, le=1_000, title="Planes",
        description="Of a scanner whose frame rate they share; this movie is one of them. 1: as "
        "the file says.",
    )  # fmt: skip
    tau: float = Field(
        0.7, gt=0, le=10, title="Decay of the indicator",
        description="About 0.4 for GCaMP8f, 0.7 for GCaMP6f, 1 for GCaMP6m, 1.3 for GCaMP6s.",
        json_schema_extra=_unit("s"),
    )  # fmt: skip
    diameter: float = Field(
        0.0, ge=0, le=200, title="Diameter of cells",
        description="The next of 6, 12, 24 and 48 px is looked for; 0: what the movie suggests.",
        json_schema_extra=_unit("px"),
    )  # fmt: skip
    threshold: float = Field(
        0.5, gt=0, le=20, title="Threshold",
        description="Of finding regions, relative to what suite2p suggests; lower finds more.",
    )  # fmt: skip
    registration: bool = Field(
        True, title="Registration", description="Whether motion of the frame is taken away."
    )
    nonrigid: bool = Field(
        True, title="Parts of the frame", description="Whether parts may move differently."
    )
    largest_shift: float = Field(
        0.1, gt=0, le=0.5, title="Largest shift",
        description="Of a frame, as a share of its longer side.",
    )  # fmt: skip
    dataset: str = Field(
        "", max_length=300, title="Dataset",
        description="Its path within HDF5 or NWB; empty: the only one.",
    )  # fmt: skip
    order: Literal["auto", "frames_first", "frames_last"] = Field(
        "auto", title="Axis order", description="Which axis counts frames; auto: the first."
    )
    saturation: float = Field(
        0.01, ge=0, le=1, title="Saturated pixels",
        description="Share of pixels at the top of the range that is put up with.",
    )  # fmt: skip


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the movie's header, a few of its frames, its rate, and known cells."""
    from lanternfish.analyses.calcium.request import problems_of

    return problems_of(settings, inputs)


def run(job: Job) -> None:
    """Convert, run suite2p, write."""
    from lanternfish.analyses.calcium.work import process

    process(job)


OUTPUTS = (
    Output("report.md", "Report", "report"),
    Output("regions.csv", "Regions", "table"),
    Output("dff.csv", "dF/F of cells", "table", required=False),
    Output("spikes.csv", "Deconvolved spikes of cells", "table", required=False),
    Output("shifts.csv", "Motion", "table", required=False),
    Output("calcium.nwb", "NWB", "data", exact=False),  # ids are drawn anew
    Output("figures/*.png", "Pictures", "picture"),
    Output("images/*.png", "Images without contours", "picture"),
    Output("regions.json", "What the page of regions reads", "data"),
    Output("traces.f32", "Traces that the page of regions reads", "data"),
)
analysis = Analysis(
    name="calcium",
    version=__version__,
    title="Calcium imaging",
    summary="Cells, their dF/F and spikes in a movie of calcium imaging.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.1101/061507",
    settings=Settings,
    inputs=(
        Input("movie", "Movie", "A job is started for each movie.",
              (".tif", ".tiff", ".h5", ".hdf5", ".nwb")),
        Input("truth", "Known cells", "For scoring only: HDF5 with masks and traces.",
              (".h5", ".hdf5"), required=False),
    ),
    outputs=OUTPUTS,
    run=run,
    code=("lanternfish.analyses.behaviour.pictures", "lanternfish.analyses.guests"),
    validate=validate,
    demo=Demo(
        {},
        {"movie": HERE / "demo" / "cells.h5", "truth": HERE / "demo" / "cells.truth.h5"},
        "Twelve generated cells whose traces are known",
    ),
    environment=Environment(HERE / "requirements.txt", "3.11", gigabytes=1.6, minutes=5.0),
    cpu_seconds=4 * 3_600.0,
)  # fmt: skip
