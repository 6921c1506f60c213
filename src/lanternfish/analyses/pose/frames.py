"""Frames of a video that are worth labelling: those that differ most from each other.

Small grey pictures of frames spread over the video are put in groups by k-means; of each group the
frame nearest to its mean is taken. (As DeepLabCut proposes it: Nath et al., Nature Protocols 2019,
doi:10.1038/s41596-019-0176-0.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lanternfish import __version__
from lanternfish.analyses.pose.video import ENDINGS, VideoError, extract, look, read
from lanternfish.service.analyses import Analysis, Demo, Input, Job, Output, Problem

HERE = Path(__file__).parent
LOOKED_AT = 2_000  # frames whose thumbnails are compared, at most
THUMBNAIL = 32  # px wide

DOCUMENTATION = """\
# Frames to label

Takes frames from a video that differ from each other, so that few labels show a network all that
it will meet. The job's page has a button, *Label the frames*: it opens the labelling page.

**What goes in.** A video with a constant frame rate.

**What comes out.** The frames (PNG) and their list (`frames.json`). The labelling page saves what
you label as a data set of your group, which *Pose from a few labelled frames* trains with.

**Limits.** Frames are compared by their brightness at 32 pixels across: what moves little in a
large picture is not seen. Choose *evenly* then.
"""


class Settings(BaseModel):
    """Settings of the choice of frames."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(30, ge=2, le=500, title="Frames", description="Frames to label.")
    choice: Literal["different", "evenly"] = Field(
        "different", title="Choice", description="Frames that differ, or evenly over the video."
    )


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the video's header and packets."""
    try:
        clip = look(inputs["video"])
    except VideoError as error:
        return [Problem("inputs.video", inputs["video"].name, str(error))]
    if clip.frames < settings.count:
        text = f"Expected at most {clip.frames} frames, as the video has; got {settings.count}."
        return [Problem("count", settings.count, text)]
    return []


def choose(pictures, count: int, seed: int) -> list[int]:
    """Indices of `count` pictures, (n, pixels), that differ; in order."""
    import numpy as np
    from scipy.cluster.vq import kmeans2

    flat = np.asarray(pictures, float)
    if len(flat) <= count:
        return list(range(len(flat)))
    distinct, first = np.unique(flat, axis=0, return_index=True)
    found = set(map(int, first[:count])) if len(first) <= count else set()
    if not found:
        centres, group = kmeans2(distinct, count, minit="++", rng=seed)
        for k in np.unique(group):
            members = np.flatnonzero(group == k)
            gaps = ((distinct[members] - centres[k]) ** 2).sum(1)
            found.add(int(first[members[np.argmin(gaps)]]))
    for index in np.linspace(0, len(flat) - 1, 4 * count).round().astype(int):
        if len(found) == count:
            break
        found.add(int(index))  # groups that stayed empty
    return sorted(found)


def run(job: Job) -> None:
    """Choose the frames, and write them."""
    import numpy as np

    clip = look(job.inputs["video"])
    count = job.settings.count
    if job.settings.choice == "evenly":
        chosen = [int(n) for n in np.linspace(0, clip.frames - 1, count).round()]
    else:
        step = max(1, clip.frames // LOOKED_AT)
        small = []
        for number, picture in enumerate(read(clip, THUMBNAIL)):
            if number % step == 0:
                small.append(picture.ravel().copy())
            if number % 200 == 0:
                job.progress(0.8 * number / clip.frames, f"frame {number} of {clip.frames}")
        chosen = [step * index for index in choose(small, count, job.seed)]
    job.log(f"{len(chosen)} of {clip.frames} frames.")
    paths = extract(clip, chosen, job.output / "frames")
    with open(clip.path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    index = {
        "format": "lanternfish frames 1",
        "video": {**clip.plain(), "sha256": digest},
        "frames": [
            {"frame": number, "path": path.relative_to(job.output).as_posix()}
            for number, path in zip(chosen, paths, strict=True)
        ],
    }
    (job.output / "frames.json").write_text(json.dumps(index, indent=1) + "\n")
    job.progress(1.0, "done")


VIDEO = Input("video", "Video", "A job is started for each video.", ENDINGS)
analysis = Analysis(
    name="pose_frames",
    version=__version__,
    title="Frames to label",
    summary="Frames of a video that differ, and a page that labels keypoints on them.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.1038/s41596-019-0176-0",
    settings=Settings,
    inputs=(VIDEO,),
    outputs=(Output("frames.json", "List of frames", "data"), Output("frames/*", "Frames", "file")),
    run=run,
    code=("lanternfish.analyses.behaviour",),
    validate=validate,
    demo=Demo({"count": 10}, {"video": HERE / "demo" / "two_animals.mp4"}, "Two drawn animals"),
    cpu_seconds=1_800.0,
)
