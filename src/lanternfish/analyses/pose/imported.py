"""Results of DeepLabCut and SLEAP, in the same pictures, tables and NWB as our own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lanternfish import __version__
from lanternfish.analyses.pose import results
from lanternfish.analyses.pose.foreign import ForeignError, Found, read_foreign
from lanternfish.analyses.pose.frames import HERE
from lanternfish.analyses.pose.video import ENDINGS, Clip, VideoError, look, read
from lanternfish.service.analyses import Analysis, Demo, Input, Job, Problem

DOCUMENTATION = """\
# Results of DeepLabCut and SLEAP

Reads positions that another program found and gives the same pictures, tables, labelled video and
NWB as our own analyses.

**What goes in.** DeepLabCut's CSV or HDF5; SLEAP's files (.slp) or analysis files (.h5). And the
video, where you have it: it gives the frame rate, the size and the labelled video.

**Limits.** Of a SLEAP file with several videos the first is read. No pickled object is loaded: a
DeepLabCut HDF5 file whose column names are packed is refused; take its CSV.
"""


class Settings(BaseModel):
    """Settings of the import."""

    model_config = ConfigDict(extra="forbid")

    fps: float = Field(
        30.0, gt=0, le=100_000, title="Frame rate", description="Where no video is given.",
        json_schema_extra={"unit": "1/s"},
    )  # fmt: skip
    threshold: float = Field(
        0.0, ge=0, le=1, title="Least confidence", description="Keypoints below it are left out."
    )
    video: bool = Field(
        True, title="Labelled video", description="Draw it, where there is a video."
    )


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Read the file, and look at the video."""
    name = "results"
    try:
        found = read_foreign(inputs["results"])
        name = "video"
        if "video" in inputs:
            _fits(found, look(inputs["video"]))
    except (ForeignError, VideoError) as error:
        return [Problem(f"inputs.{name}", inputs[name].name, str(error))]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        text = (
            f"Expected results as DeepLabCut or SLEAP write them; {type(error).__name__}: {error}."
        )
        return [Problem(f"inputs.{name}", inputs[name].name, text)]
    return []


def _fits(found: Found, clip: Clip) -> None:
    if len(found.points) > clip.frames:
        raise ForeignError(
            f"Expected at most {clip.frames} frames, as the video has; the results have "
            f"{len(found.points)}: they are of another video."
        )


def run(job: Job) -> None:
    """Read, write, draw."""
    import numpy as np

    from lanternfish.analyses.behaviour.poses import Poses

    found = read_foreign(job.inputs["results"])
    clip = look(job.inputs["video"]) if "video" in job.inputs else None
    points, score = found.points.copy(), found.score
    points[score < job.settings.threshold] = np.nan
    if not np.isfinite(points).any():
        raise ValueError("Expected a position; every one is left out: lower the least confidence.")
    if clip is not None and len(points) < clip.frames:
        more = ((0, clip.frames - len(points)), (0, 0), (0, 0))
        points = np.pad(points, (*more, (0, 0)), constant_values=np.nan)
        score = np.pad(score, more)
    size = (clip.width, clip.height) if clip else _size(points)
    times = np.arange(len(points)) / (clip.fps if clip else job.settings.fps)
    poses = Poses(points, score, times, found.animals, found.keypoints, found.edges, size=size)
    job.progress(0.3, "writing")
    results.write_tables(job, poses, (found.program, "unknown"), clip.path.name if clip else "")
    results.write_pictures(job, poses, next(read(clip)) if clip else None)
    parts = [
        f"{len(points)} frames, {len(found.animals)} animals, {len(found.keypoints)} keypoints of "
        f"{found.program}. Animals found: {poses.found.mean():.1%}.",
    ]
    results.report(job, f"Results of {job.inputs['results'].name}", parts)
    if clip is not None and job.settings.video:
        results.write_video(job, poses, clip, 0.5)
    job.progress(1.0, "done")


def _size(points) -> tuple[int, int]:
    """A frame that holds all positions, where no video tells its size."""
    import numpy as np

    width, height = (int(np.nanmax(points[..., k])) + 2 for k in range(2))
    return width, height


analysis = Analysis(
    name="pose_import",
    version=__version__,
    title="Results of DeepLabCut and SLEAP",
    summary="Positions that another program found, in the same pictures, tables and NWB.",
    documentation=DOCUMENTATION,
    settings=Settings,
    inputs=(
        Input("results", "Results", "DeepLabCut CSV or HDF5, SLEAP .slp or analysis .h5.",
              (".csv", ".h5", ".slp")),
        Input("video", "Video", "Of these results.", ENDINGS, required=False),
    ),
    outputs=results.OUTPUTS,
    run=run,
    code=("lanternfish.analyses.behaviour",),
    validate=validate,
    demo=Demo(
        {},
        {"results": HERE / "demo" / "deeplabcut.csv", "video": HERE / "demo" / "two_animals.mp4"},
        "Two drawn animals, as DeepLabCut would tell of them",
    ),
    cpu_seconds=3_600.0,
)  # fmt: skip
