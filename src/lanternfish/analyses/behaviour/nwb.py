"""Poses as NWB with ndx-pose: one file for each animal, as an NWB file has one subject."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from lanternfish.analyses.behaviour.poses import Poses


def write_nwb(
    poses: Poses,
    folder: Path,
    *,
    start: datetime,
    software: tuple[str, str],
    video: str = "",
    species: str = "",
) -> list[Path]:
    """Write `ANIMAL.nwb` for each animal into a folder; returns the paths.

    Args:
        start: of the session, with a time zone. software: name and version of what tracked.
        video: file name of the video. species: Latin name, where it is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write_one(poses, a, folder / f"{_plain(name)}.nwb", start, software, video, species)
        for a, name in enumerate(poses.animals)
    ]


def _write_one(poses, a, path, start, software, video, species) -> Path:
    import pynwb
    from ndx_pose import PoseEstimation, Skeleton, Skeletons

    classes: Any = pynwb  # made from a schema when it is imported: unknown to a type checker

    name = poses.animals[a]
    file = classes.NWBFile(
        session_description=f"Positions of {name} in {video or 'a video'}",
        identifier=f"{video}:{name}",
        session_start_time=start,
    )
    file.subject = classes.file.Subject(subject_id=_plain(name), species=species or None)
    skeleton = Skeleton(
        name=f"{_plain(name)}_skeleton",
        nodes=list(poses.keypoints),
        edges=np.asarray(poses.edges, np.uint8).reshape(-1, 2),
        subject=file.subject,
    )
    clock = (
        {"rate": poses.rate, "starting_time": float(poses.times[0])}
        if poses.is_regular() and len(poses.times) > 1
        else {"timestamps": np.asarray(poses.times, np.float64)}
    )
    about = {"source_video": _movie(file, poses, video)} if video else {}
    estimate = PoseEstimation(
        name="PoseEstimation",
        pose_estimation_series=[_series(poses, a, k, clock) for k in range(len(poses.keypoints))],
        description="Positions of keypoints in the video",
        source_software=software[0],
        source_software_version=software[1],
        skeleton=skeleton,
        **about,
    )
    room = file.create_processing_module("behavior", "Positions of an animal in video")
    room.add(Skeletons(skeletons=[skeleton]))
    room.add(estimate)
    if poses.identity is not None:
        room.add(_identity(poses, a, clock))
    with classes.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def _movie(file, poses, video):
    import pynwb

    movie = pynwb.image.ImageSeries(
        name="video",
        description="The video that was tracked",
        external_file=[video],
        starting_frame=[0],
        format="external",
        unit="n.a.",
        dimension=np.array(poses.size),
        timestamps=np.asarray(poses.times, np.float64),
    )
    file.add_acquisition(movie)
    return movie


def _series(poses, a, k, clock):
    from ndx_pose import PoseEstimationSeries

    return PoseEstimationSeries(
        name=poses.keypoints[k],
        description=f"Position of the {poses.keypoints[k]}",
        data=np.asarray(poses.positions[:, a, k], np.float64),
        unit="pixels",
        reference_frame="(0, 0) is the centre of the upper left pixel; x to the right, y down",
        confidence=np.asarray(poses.confidence[:, a, k], np.float64),
        confidence_definition="Probability that the position is that of an animal",
        **clock,
    )


def _identity(poses, a, clock):
    import pynwb

    return pynwb.TimeSeries(
        name="identity_confidence",
        description="Probability that this is the animal that had the name in the first frame",
        data=np.asarray(poses.identity[:, a], np.float64),
        unit="probability",
        **clock,
    )


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "animal"
