"""Results of suite2p, as a folder or a zip of it, in the same pictures, page, tables and NWB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from lanternfish import __version__
from lanternfish.analyses.calcium import HERE, OUTPUTS, Filters
from lanternfish.service.analyses import Analysis, Demo, Input, Job, Output, Problem

DIFFERS = 0.02  # of the frame rate
DOCUMENTATION = """\
# Results of suite2p

Reads regions and traces that suite2p found elsewhere, and gives the page of regions, pictures,
tables and NWB that *Calcium imaging* gives.

**What goes in.** A folder of suite2p, or a zip of it: `stat.npy`, `F.npy`, and where they are
there `Fneu.npy`, `spks.npy`, `iscell.npy`, `ops.npy` (since version 1.0 also `settings.npy`,
`db.npy`, `reg_outputs.npy`, `detect_outputs.npy`). Of several planes choose one with Plane.
Known cells (HDF5 with `masks` and `traces`) are used for scoring only.

**Which regions are cells.** Those that are marked in `iscell.npy`, by suite2p's classifier or by
who looked through them; or, as you choose, those that pass the filters.

**What is shown.** dF/F is computed from `F.npy` and `Fneu.npy` as in *Calcium imaging*. The second
image is suite2p's own map (Vcorr), which is no correlation with neighbours. Measures that an older
version did not keep are computed: from the traces less 0.7 of the neuropil, and from the pixels.

**Safety.** `stat.npy` and `ops.npy` hold pickles, which can run a program when they are loaded.
They are not loaded: a reader of our own takes arrays, numbers and text out of them, and refuses a
file that holds anything else.

**Limits.** One plane and one channel; the movie is not read.
"""


class Settings(Filters):
    """Settings of the import."""

    rate: float = Field(
        0.0, ge=0, le=10_000, title="Frame rate",
        description="Frames a second of this plane; 0: as ops.npy says.",
        json_schema_extra={"unit": "1/s"},
    )  # fmt: skip
    plane: int = Field(
        -1, ge=-1, le=1_000, title="Plane",
        description="2 stands for the folder plane2; -1: the only one that is there.",
    )  # fmt: skip
    cells: Literal["marked", "filters"] = Field(
        "marked", title="Cells",
        description="Regions that are marked in iscell.npy, or those that pass the filters.",
    )  # fmt: skip


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Read the files, and compare the frame rate and known cells."""
    from lanternfish.analyses.calcium.foreign import ForeignError, read_plane
    from lanternfish.analyses.calcium.request import Shape, of_truth

    name = inputs["results"].name
    try:
        found = read_plane(inputs["results"], settings.plane).regions
    except ForeignError as error:
        field = "plane" if "set Plane" in str(error) else "inputs.results"
        return [Problem(field, name, str(error))]
    if not settings.rate and not found.rate:
        text = "Expected the frame rate, as the files do not say it: set it in the form."
        return [Problem("rate", 0.0, text)]
    if settings.rate and found.rate and abs(settings.rate / found.rate - 1) > DIFFERS:
        text = (
            f"Expected {found.rate:g} frames a second, as the files say, or 0; got "
            f"{settings.rate:g}: set what is right."
        )
        return [Problem("rate", settings.rate, text)]
    if "truth" in inputs:
        return of_truth(inputs["truth"], Shape(found.frames, *found.size))
    return []


def run(job: Job) -> None:
    """Read, compute dF/F, write."""
    from dataclasses import replace

    from lanternfish.analyses.calcium import results
    from lanternfish.analyses.calcium.foreign import read_plane

    s = job.settings
    job.progress(0.05, "reading the results")
    found = read_plane(job.inputs["results"], s.plane)
    regions = replace(found.regions, rate=float(s.rate or found.regions.rate))
    job.progress(0.3, f"{len(regions)} regions")
    marked = regions.classified[:, 0] > 0 if s.cells == "marked" else None
    results.write(job, regions, found.program, marked)
    job.progress(1.0, "done")


analysis = Analysis(
    name="calcium_import",
    version=__version__,
    title="Results of suite2p",
    summary="Regions and traces that suite2p found elsewhere, in the same page, pictures and NWB.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.1101/061507",
    settings=Settings,
    inputs=(
        Input("results", "Results", "A folder of suite2p (suite2p or plane0), or a zip of it."),
        Input("truth", "Known cells", "For scoring only: HDF5 with masks and traces.",
              (".h5", ".hdf5"), required=False),
    ),
    outputs=tuple(
        Output(o.path, o.title, o.kind, o.required and o.path != "images/*.png", o.exact)
        for o in OUTPUTS
    ),
    run=run,
    code=("lanternfish.analyses.behaviour.pictures",),
    validate=validate,
    demo=Demo(
        {},
        {"results": HERE / "demo" / "suite2p.zip", "truth": HERE / "demo" / "suite2p.truth.h5"},
        "Eight generated cells, as suite2p would tell of them",
    ),
    cpu_seconds=3_600.0,
)  # fmt: skip
