"""Pose from a few labelled frames: train two networks, say how far off they are, predict a video.

sleap-nn does the work, in a process and an environment of its own (`sleap_child.py`,
`requirements.txt`); here are the checks, the split, the errors and the results.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lanternfish import __version__
from lanternfish.analyses.pose import models, results
from lanternfish.analyses.pose.brought import read_any
from lanternfish.analyses.pose.child import convert, watch
from lanternfish.analyses.pose.frames import HERE
from lanternfish.analyses.pose.labels import Labels, LabelsError, split
from lanternfish.analyses.pose.video import ENDINGS, Clip, VideoError, extract, look, read
from lanternfish.service.analyses import (
    Analysis,
    Demo,
    Environment,
    Input,
    Job,
    Output,
    Problem,
)  # fmt: skip

FEWEST = 8  # labelled frames
SOFTWARE = ("sleap-nn", "0.3.5")
IMPORTED = (".slp",)

DOCUMENTATION = """\
# Pose from a few labelled frames

Learns from some twenty to a hundred labelled frames where the keypoints of animals are, and finds
them in every frame of a video. Two networks of [SLEAP](https://sleap.ai) (sleap-nn): one finds the
animals, one the keypoints in a crop around each.

**What goes in.** A video with a constant frame rate, and labels of that video: what the labelling
page saves (start *Frames to label* first), a SLEAP file (.slp), COCO keypoints (.json) or
DeepLabCut's `CollectedData` (.csv). Of the last two the last number in an image's name is its
frame, and of several videos the folder named as the video is taken. Or a model: the `model.zip`
of an earlier job, to predict other videos without training again; tick all videos and choose the
model. Known positions, where you have them (the same formats), are used for scoring only.

**What comes out.** Positions with a confidence (`poses.csv`; NWB with ndx-pose, one file for each
animal), a labelled video, pictures, the model, and `report.md` with the error on labelled frames
that were held out: the networks never saw them, neither to learn nor to choose when to stop.

**Limits.** Names of animals follow whoever was nearest: after two touched, they may have changed.
The held-out error is that of a few frames like those that were labelled; where the animal looks
otherwise, it is larger. Confidence is the height of the network's peak, no probability. On the same
machine and one core the same seed gives the same positions; on others they differ slightly.

A killed job goes on after the last epoch; of a cancelled one `model.zip` keeps the best weights so
far, once both networks have finished an epoch. The environment (2.4 GB) is built once, on first
use.
"""


class Settings(BaseModel):
    """Settings of training and prediction."""

    model_config = ConfigDict(extra="forbid")

    animals: int = Field(
        1, ge=1, le=50, title="Animals", description="Animals in a frame, at most."
    )
    epochs: int = Field(
        60,
        ge=1,
        le=1_000,
        title="Epochs",
        description="Rounds of training of each network, at most.",
    )
    steps: int = Field(
        40, ge=5, le=2_000, title="Steps", description="Steps of four pictures in an epoch."
    )
    patience: int = Field(
        12, ge=1, le=200, title="Patience", description="Epochs without gain before it stops."
    )
    held_out: float = Field(
        0.15, gt=0, le=0.5, title="Held out",
        description="Share of the labelled frames that only tell the error.",
    )  # fmt: skip
    scale: float = Field(
        0.5, gt=0.05, le=1, title="Scale",
        description="The network that finds the animals sees the picture at this scale.",
    )  # fmt: skip
    sigma: float = Field(
        2.5, ge=0.5, le=20, title="Width of a peak",
        description="Of the map that the keypoint network learns; smaller is finer.",
        json_schema_extra={"unit": "px"},
    )  # fmt: skip
    threshold: float = Field(
        0.2, ge=0, le=1, title="Least confidence", description="Keypoints below it are left out."
    )
    device: Literal["cpu", "gpu", "auto"] = Field(
        "cpu", title="Device", description="GPU: where there is one."
    )
    video: bool = Field(True, title="Labelled video", description="Draw the labelled video.")


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the video's packets, the labels and the model."""
    given = [name for name in ("labels", "model") if name in inputs]
    if len(given) != 1:
        text = "Expected labels to train with, or a model of an earlier job: one of the two."
        return [Problem("inputs.labels", None, text)]
    try:
        clip = look(inputs["video"])
    except VideoError as error:
        return [Problem("inputs.video", inputs["video"].name, str(error))]
    found = []
    bones = {}
    for name in ("labels", "truth"):
        path = inputs.get(name)
        if path is None or is_foreign(path):
            continue
        try:
            labels = read_any(path, clip.path.name)
            bones[name] = labels.skeleton.keypoints
            check(labels, clip, settings.animals, FEWEST if name == "labels" else 1)
        except LabelsError as error:
            found.append(Problem(f"inputs.{name}", path.name, str(error)))
    if len(set(bones.values())) > 1:
        text = f"Expected known positions of {', '.join(bones['labels'])}, as the labels have."
        found.append(Problem("inputs.truth", ", ".join(bones["truth"]), text))
    if "model" in inputs:
        try:
            models.members(inputs["model"])
        except ValueError as error:
            found.append(Problem("inputs.model", inputs["model"].name, str(error)))
    return found


def is_foreign(path: Path) -> bool:
    """Whether labels are of another program."""
    return path.name.lower().endswith(IMPORTED)


def check(labels: Labels, clip: Clip, animals: int, fewest: int) -> None:
    """Whether labels fit a video.

    Raises:
        LabelsError: too few, frames or points outside, or more animals than said.
    """
    if len(labels.labelled) < fewest:
        raise LabelsError(
            f"Expected {fewest} labelled frames or more; got {len(labels.labelled)}: label more."
        )
    size = labels.video.get("width"), labels.video.get("height")
    if all(size) and size != (clip.width, clip.height):
        raise LabelsError(
            f"Expected labels of a video of {clip.width} x {clip.height} px; these are of one of "
            f"{size[0]} x {size[1]} px."
        )
    last = max(labels.frames)
    if last >= clip.frames:
        raise LabelsError(
            f"Expected frames 0 to {clip.frames - 1}, as the video has; frame {last} is labelled: "
            "these labels are of another video."
        )
    for frame, there in labels.frames.items():
        if len(there) > animals:
            raise LabelsError(
                f"Expected at most {animals} animals in a frame, as the settings say; frame "
                f"{frame} has {len(there)}: set Animals to {len(there)}."
            )
        for point in (p for animal in there for p in animal if p is not None):
            if not (-1 <= point[0] <= clip.width and -1 <= point[1] <= clip.height):
                raise LabelsError(
                    f"Expected points inside of {clip.width} x {clip.height} px; frame {frame} has "
                    f"one at {point[0]:.0f}, {point[1]:.0f}."
                )


def crop_of(labels: Labels) -> int:
    """Side of a crop around an animal, px: room for the largest one, turned in any way; of 16s."""
    import numpy as np

    points = labels.array(labels.labelled)
    with np.errstate(all="ignore"):
        low = np.where(np.isfinite(points), points, np.inf).min(2)
        high = np.where(np.isfinite(points), points, -np.inf).max(2)
    span = np.linalg.norm(high - low, axis=-1)
    return int(16 * np.ceil(max(48.0, 1.25 * span[np.isfinite(span)].max() + 16) / 16))


def run(job: Job) -> None:
    """Train, or take a model; predict; score; draw."""
    clip = look(job.inputs["video"])
    folder = job.checkpoint / "model"
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    if "model" in job.inputs:
        models.unpack(job.inputs["model"], folder)
    else:
        labels = _labels(job, "labels")
        check(labels, clip, job.settings.animals, FEWEST)
        parts += _learn(job, clip, labels, folder)
    points, score, told = _predict(job, folder, str(clip.path), job.checkpoint / "all.npz", 0.6)
    parts += _results(job, clip, points, score, told)
    results.report(job, f"Pose of animals in {clip.path.name}", parts)
    job.progress(1.0, "done")


def _labels(job: Job, name: str) -> Labels:
    path = job.inputs[name]
    if not is_foreign(path):
        return read_any(path, job.inputs["video"].name)
    return read_any(convert(job, path, job.checkpoint / f"{name}.json"))


def _learn(job: Job, clip: Clip, labels: Labels, folder: Path) -> list[str]:
    """Train both networks; the lines of the report on the held-out frames."""
    s = job.settings
    rest, held = split(labels.labelled, s.held_out, job.seed)
    train, stop = split(rest, 0.12, job.seed + 1)
    paths = extract(clip, labels.labelled, job.checkpoint / "frames", grey=True)
    images = {str(f): str(p) for f, p in zip(labels.labelled, paths, strict=True)}
    labels.write(job.checkpoint / "labels.json")
    job.log(f"{len(train)} frames to learn from, {len(stop)} to stop by, {len(held)} held out.")
    task = {"do": "train", "folder": str(folder), "labels": str(job.checkpoint / "labels.json")}
    task |= {"train": train, "held": stop, "images": images, "scale": s.scale, "sigma": s.sigma}
    task |= {"crop": crop_of(labels), "keypoints": list(labels.skeleton.keypoints)}
    task |= {
        "steps": s.steps,
        "epochs": dict.fromkeys(models.PARTS, s.epochs),
        "seed": job.seed % 2**31,
    }
    try:
        watch(job, {**task, "device": s.device, "patience": s.patience}, 0.0, 0.6)
    except BaseException:
        models.keep(job, folder)
        raise
    models.pack(folder, job.output / "model.zip")
    source = [images[str(f)] for f in held]
    found, _, _ = _predict(job, folder, source, job.checkpoint / "held.npz", 0.6)
    distances, hit, there = results.errors(found, labels.array(held))
    job.metric("held-out median error (px)", _median(distances), 0)
    return [f"## Labelled frames that were held out ({len(held)})",
            "\n".join(results.summary(distances, hit, there))]  # fmt: skip


def _predict(job: Job, folder: Path, source, out: Path, begin: float):
    """Positions and confidence of all frames of a video, or of pictures; and the skeleton."""
    import numpy as np

    if not out.is_file():
        task = {"do": "predict", "foreign": "model" in job.inputs, "source": source}
        task |= {
            "models": [str(folder / part) for part in models.PARTS],
            "out": str(out.with_stem("part")),
        }
        task |= {"animals": job.settings.animals, "threshold": job.settings.threshold}
        watch(job, {**task, "device": job.settings.device}, begin, 0.85)
        shutil.move(out.with_name("part.json"), out.with_suffix(".json"))
        shutil.move(out.with_name("part.npz"), out)
    with np.load(out, allow_pickle=False) as kept:
        return kept["points"], kept["score"], json.loads(out.with_suffix(".json").read_text())


def _results(job: Job, clip: Clip, points, score, told: dict) -> list[str]:
    """Write all that comes of positions; the lines of the report on them."""
    import numpy as np

    from lanternfish.analyses.behaviour.poses import Poses

    if not np.isfinite(points).any():
        raise ValueError(
            "Expected an animal in the video; the networks found none: train longer, label more "
            "frames, or lower the least confidence."
        )
    if len(points) != clip.frames:
        raise ValueError(f"Expected {clip.frames} frames; {len(points)} could be predicted.")
    places, sure = results.link(points, score, job.settings.animals)
    poses = Poses(
        places,
        sure,
        np.arange(clip.frames) / clip.fps,
        tuple(f"animal{n + 1}" for n in range(job.settings.animals)),
        tuple(told["keypoints"]),
        tuple((a, b) for a, b in told["edges"]),
        size=(clip.width, clip.height),
    )
    results.write_tables(job, poses, SOFTWARE, clip.path.name)
    results.write_pictures(job, poses, next(read(clip)))
    parts = ["## All frames", f"Animals found: {poses.found.mean():.1%} of {poses.found.size}."]
    if "truth" in job.inputs:
        truth = _labels(job, "truth")
        if truth.skeleton.keypoints != poses.keypoints:
            raise ValueError("Expected known positions of the same keypoints as the model's.")
        frames = sorted(truth.frames)
        table = results.summary(*results.errors(places[frames], truth.array(frames)))
        parts += ["## Against known positions", "\n".join(table)]
    if job.settings.video:
        results.write_video(job, poses, clip, 0.9)
    return parts


def _median(distances) -> float:
    import numpy as np

    return float(np.median(distances)) if len(distances) else float("nan")


LABELS = Input(
    "labels",
    "Labels",
    "What the labelling page saved; or labels of SLEAP, COCO (JSON) or DeepLabCut (CSV).",
    (".json", ".slp", ".csv"),
    required=False,
)
analysis = Analysis(
    name="pose",
    version=__version__,
    title="Pose from a few labelled frames",
    summary="Learns keypoints of animals from labelled frames and finds them in whole videos.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.1038/s41592-022-01426-1",
    settings=Settings,
    inputs=(
        Input("video", "Video", "A job is started for each video.", ENDINGS),
        LABELS,
        Input("model", "Model", "model.zip of an earlier job.", (".zip",), required=False),
        Input("truth", "Known positions", "For scoring only.", (".json",), required=False),
    ),
    outputs=(*results.OUTPUTS, Output("model.zip", "Model", "data", required=False, exact=False)),
    run=run,
    code=("lanternfish.analyses.behaviour", "lanternfish.analyses.guests"),
    validate=validate,
    demo=Demo(
        {"animals": 2, "epochs": 25},
        {
            "video": HERE / "demo" / "two_animals.mp4",
            "labels": HERE / "demo" / "labels.json",
            "truth": HERE / "demo" / "truth.json",
        },
        "Two drawn animals whose pose is known",
    ),
    environment=Environment(HERE / "requirements.txt", "3.11", gigabytes=2.4, minutes=9.0),
    cpu_seconds=lambda s: 1_800.0 + 4.0 * s.epochs * s.steps,
)
