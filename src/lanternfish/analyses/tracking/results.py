"""What tracking writes: positions, NWB, measures, pictures and the report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from lanternfish import __version__
from lanternfish.analyses.behaviour import measures, nwb, tables
from lanternfish.analyses.behaviour.labelled import UNSURE
from lanternfish.analyses.behaviour.poses import Poses
from lanternfish.analyses.tracking import arena, detection, identity, truth

if TYPE_CHECKING:
    from lanternfish.service.analyses import Job


def write_positions(
    job: Job, poses: Poses, software: tuple[str, str] = ("lanternfish", __version__)
) -> None:
    """Write `positions.csv` and NWB: what is kept of a job that ended early, too."""
    tables.write_poses(poses, job.output / "positions.csv")
    nwb.write_nwb(
        poses,
        job.output / "nwb",
        start=datetime.now(UTC),
        software=software,
        video=job.inputs["video"].name,
    )


def write_measures(job: Job, poses: Poses, background: np.ndarray) -> None:
    """Write tables and pictures of speed, occupancy, regions and proximity."""
    from lanternfish.analyses.behaviour import pictures

    outlines = {name: arena.outline(text) for name, text in job.settings.regions.items()}
    _tables(job, poses, outlines)
    if job.settings.arena:
        outlines = {"arena": arena.outline(job.settings.arena), **outlines}
    first = next(iter(_first_frame(job)), background)
    drawn = {
        "trajectories": lambda: pictures.trajectories(poses, first, outlines),
        "coverage": lambda: pictures.coverage(poses),
        "speed": lambda: pictures.speed(poses),
        "occupancy": lambda: pictures.occupancy(poses, job.settings.cell),
    }
    if len(poses.animals) > 1:
        drawn["proximity"] = lambda: pictures.proximity(poses)
    for number, (name, draw) in enumerate(drawn.items()):
        path = job.output / "figures" / f"{name}.png"
        pictures.save(draw(), path)
        job.picture(path)
        job.progress(0.6 + 0.06 * number, f"picture: {name}")


def _first_frame(job: Job):
    from lanternfish.analyses.tracking.reading import grey_frames

    for _, frame in grey_frames(job.inputs["video"]):
        yield frame
        return


def _tables(job: Job, poses: Poses, outlines: dict[str, np.ndarray]) -> None:
    centres, times = poses.centres, poses.times
    speed = measures.speeds(centres, times)
    weight = measures.durations(times)
    rows = []
    for a, name in enumerate(poses.animals):
        moving = speed[np.isfinite(speed[:, a]), a]
        typical = [float(np.mean(moving)), float(np.max(moving))] if len(moving) else ["", ""]
        way = float(np.nansum(np.linalg.norm(np.diff(centres[:, a], axis=0), axis=-1)))
        rows.append([name, float(poses.found[:, a].mean()), way, *typical])
    names = ["animal", "coverage", "distance_px", "mean_speed_px_per_s", "top_speed_px_per_s"]
    tables.write_columns(job.output / "summary.csv", names, rows)
    if outlines:
        rows = []
        for region, outline in outlines.items():
            inside = arena.contains(outline, centres)
            for a, name in enumerate(poses.animals):
                enters = int(np.sum(~inside[:-1, a] & inside[1:, a]))
                rows.append([region, name, float(weight[inside[:, a]].sum()), enters])
        names = ["region", "animal", "time_s", "entries"]
        tables.write_columns(job.output / "regions.csv", names, rows)
    if len(poses.animals) > 1:
        _proximity(job, poses, weight)


def _proximity(job: Job, poses: Poses, weight: np.ndarray) -> None:
    far = measures.distances(poses.centres)
    rows = []
    for n, (i, j) in enumerate(measures.pairs(len(poses.animals))):
        known = np.isfinite(far[:, n])
        middle = float(np.median(far[known, n])) if known.any() else ""
        close = known & (far[:, n] < job.settings.near)
        rows.append([poses.animals[i], poses.animals[j], middle, float(weight[close].sum())])
    names = ["animal", "other", "median_distance_px", "time_near_s"]
    tables.write_columns(job.output / "proximity.csv", names, rows)


def write_report(
    job: Job,
    poses: Poses,
    how: detection.Detector,
    found: identity.Identities,
    notes: list[str],
) -> None:
    """Write `report.md`."""
    assert poses.identity is not None  # tracking always states it
    unsure = float(np.mean(poses.found & (poses.identity < UNSURE)))
    lines = [
        "# Tracking",
        "",
        f"{len(poses.times)} frames at {poses.rate:.4g} a second, {len(poses.animals)} animals. "
        f"Threshold {how.threshold:.1f} grey levels, {how.smallest:.0f} to {how.largest:.0f} px.",
        "",
        f"Positions were found in {100 * poses.found.mean():.1f} % of animals and frames. "
        f"{len(found.mergers)} times animals touched; {found.swapped} tracks got another name "
        f"afterwards. Identity is unsure (under {UNSURE:g}) in {100 * unsure:.1f} %.",
        "",
        *(f"- {note}" for note in notes),
        *scored(job, poses),
    ]
    (job.output / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def scored(job: Job, poses: Poses) -> list[str]:
    """Lines of a report that compare with known positions, where there are any."""
    if "truth" not in job.inputs:
        return []
    known, _ = tables.read_positions(job.inputs["truth"])
    length = min(len(known), len(poses.times))
    got = truth.score(poses.centres[:length], known[:length])
    stated = "none"
    if poses.identity is not None:
        stated = f"{poses.identity[:length][poses.found[:length]].mean():.3f}"
    return [
        "",
        "## Against known positions",
        "",
        "| coverage | median error | offset x, y | lasting swaps | right name | stated |",
        "|---|---|---|---|---|---|",
        f"| {got.coverage:.3f} | {got.error:.2f} px "
        f"| {got.offset[0]:+.2f}, {got.offset[1]:+.2f} px "
        f"| {got.swaps} | {got.accuracy:.3f} | {stated} |",
    ]
