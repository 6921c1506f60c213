"""Results of a pose analysis: tables, NWB, pictures, labelled video, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.service.analyses import Job, Output

if TYPE_CHECKING:
    import numpy as np

    from lanternfish.analyses.behaviour.poses import Poses
    from lanternfish.analyses.pose.video import Clip

OUTPUTS = (
    Output("poses.csv", "Positions", "table"),
    Output("labelled.mp4", "Labelled video", "video", required=False),
    Output("figures/*.png", "Pictures", "picture", required=False),
    Output("nwb/*.nwb", "NWB (ndx-pose)", "data", exact=False),  # ids are drawn anew
    Output("report.md", "Report", "report"),
)
START = datetime(1970, 1, 1, tzinfo=UTC)  # said to be unknown


def errors(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Distances (px) to the truth, of animals matched frame by frame.

    In each frame animals are matched so that the sum of their mean distances is least (the
    Hungarian method).

    Args:
        found: (frames, animals, keypoints, 2). truth: the same, another number of animals.

    Returns:
        Errors, (matched keypoints,), px; keypoints of the truth that were found; that there are.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    distances, hit, there = [], 0, 0
    for guess, true in zip(found, truth, strict=True):
        there += int(np.isfinite(true).all(-1).sum())
        gap = np.linalg.norm(true[:, None] - guess[None], axis=-1)
        known = np.isfinite(gap)
        mean = np.where(known, gap, 0).sum(-1) / np.maximum(known.sum(-1), 1)
        cost = np.where(known.any(-1), mean, 1e6)
        for a, b in zip(*linear_sum_assignment(cost), strict=True):
            distances.append(gap[a, b][known[a, b]])
            hit += int(known[a, b].sum())
    flat = np.concatenate(distances) if distances else np.zeros(0)
    return flat, hit, there


def link(points: np.ndarray, score: np.ndarray, animals: int) -> tuple[np.ndarray, np.ndarray]:
    """Order the animals of each frame so that each stays near where it was.

    Names of animals that touch can change: these are no identities.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    frames, keypoints = points.shape[0], points.shape[2]
    places = np.full((frames, animals, keypoints, 2), np.nan)
    sure = np.zeros((frames, animals, keypoints))
    with np.errstate(all="ignore"):
        seen = np.asarray(np.isfinite(points).all(-1))
        total = np.where(seen[..., None], points, 0).sum(2)
        centres = total / np.maximum(seen.sum(2), 1)[..., None]
    last = np.full((animals, 2), np.nan)
    for t in range(frames):
        here = np.flatnonzero(seen[t].any(-1))[:animals]
        gap = np.linalg.norm(last[:, None] - centres[t, here][None], axis=-1)
        for a, k in zip(*linear_sum_assignment(np.nan_to_num(gap, nan=1e5)), strict=True):
            places[t, a], last[a] = points[t, here[k]], centres[t, here[k]]
            sure[t, a] = np.nan_to_num(np.clip(score[t, here[k]], 0, 1))
    return places, sure


def summary(distances: np.ndarray, hit: int, there: int) -> list[str]:
    """Lines of a table of errors."""
    import numpy as np

    if not len(distances):
        return [f"None of {there} keypoints was found."]
    half, most = np.percentile(distances, [50, 95])
    return [
        "| median error (px) | 95 % below (px) | keypoints found |",
        "|---|---|---|",
        f"| {half:.2f} | {most:.2f} | {hit} of {there} ({hit / max(there, 1):.1%}) |",
    ]


def write_tables(job: Job, poses: Poses, software: tuple[str, str], video: str) -> None:
    """CSV and NWB: what is read by other programs; first, as it costs least."""
    from lanternfish.analyses.behaviour.nwb import write_nwb
    from lanternfish.analyses.behaviour.tables import write_poses

    write_poses(poses, job.output / "poses.csv")
    (job.output / "nwb").mkdir(exist_ok=True)
    write_nwb(poses, job.output / "nwb", start=START, software=software, video=video)


def write_pictures(job: Job, poses: Poses, frame: np.ndarray | None) -> None:
    """Trajectories, speed, coverage, distances."""
    import numpy as np

    from lanternfish.analyses.behaviour import pictures

    width, height = poses.size
    ground = np.full((height, width), 255, np.uint8) if frame is None else frame
    made = {"trajectories": pictures.trajectories(poses, ground, {})}
    made |= {"speed": pictures.speed(poses), "coverage": pictures.coverage(poses)}
    if len(poses.animals) > 1:
        made["proximity"] = pictures.proximity(poses)
    for name, figure in made.items():
        path = job.output / "figures" / f"{name}.png"
        pictures.save(figure, path)
        job.picture(path)


def write_video(job: Job, poses: Poses, clip: Clip, begin: float) -> None:
    """The labelled video; `begin`: the job's progress before it."""
    import numpy as np

    from lanternfish.analyses.behaviour.labelled import Writer, draw
    from lanternfish.analyses.pose.video import read

    with Writer(job.output / "labelled.mp4", poses.size, clip.fps) as sink:
        for number, grey in enumerate(read(clip)):
            frame = np.repeat(grey[..., None], 3, axis=2)
            draw(frame, poses, number)
            sink.write(frame)
            if number % 100 == 0:
                share = begin + (1 - begin) * number / clip.frames
                job.progress(share, f"drawing frame {number} of {clip.frames}")


def report(job: Job, title: str, parts: Sequence[str]) -> None:
    """Write `report.md`."""
    text = "\n\n".join([f"# {title}", *parts])
    (Path(job.output) / "report.md").write_text(text + "\n", encoding="utf-8")
