"""idtracker.ai as a job: what it is told, its positions as poses, and a second opinion on names."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from lanternfish.analyses.behaviour.poses import Poses
from lanternfish.analyses.guests import attend, python_with
from lanternfish.analyses.identities import HERE
from lanternfish.analyses.tracking import linking, reading, results, truth, work

if TYPE_CHECKING:
    from lanternfish.service.analyses import Job

SCRIPT = HERE / "idtracker_child.py"
SOFTWARE = ("idtracker.ai", "6.0.14")
_BEGUN, _NAMED = 0.15, 0.6  # share of the whole that is done after motion, and after idtracker.ai


def track(job: Job) -> None:
    """Do the whole job.

    Raises:
        ValueError: nothing moves, or idtracker.ai found no animal or cannot use the video.
        RuntimeError: it ended early. OSError: the disk is full.
    """
    header = reading.read_header(job.inputs["video"])
    how, mask = work.detector(job, header)
    linker = linking.Linker(how, job.settings.animals)
    work.follow(job, header, how, linker, _BEGUN)
    motion, _ = work.sorted_by_animal(job, linker.tracks, header)
    positions = _named(job, how, mask)[: len(motion.times)]
    if len(positions) < len(motion.times):
        missing = len(motion.times) - len(positions)
        empty = np.full((missing, *positions.shape[1:]), np.nan)
        positions = np.concatenate([positions, empty])
    if not np.isfinite(positions).any():
        raise ValueError(
            "Expected animals that idtracker.ai can name; it named none: raise the smallest area, "
            "or check the number of animals."
        )
    poses = Poses(
        positions=positions[:, :, None],
        confidence=np.isfinite(positions[..., :1]).astype(float),
        times=motion.times,
        animals=motion.animals,
        size=motion.size,
    )
    results.write_positions(job, poses, SOFTWARE)
    results.write_measures(job, poses, how.background)
    _report(job, poses, motion)
    if job.settings.labelled_video:
        work.draw(job, poses)
    job.progress(1.0, "done")


def _named(job: Job, how, mask: np.ndarray) -> np.ndarray:
    """Positions by idtracker.ai, (frames, animals, 2), px."""
    out, folder = job.checkpoint / "named.npz", job.checkpoint / "idtracker"
    if not out.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
        folder.mkdir()
        limits = job.checkpoint / "mask.npy"
        np.save(limits, mask)
        task = {
            "video": str(job.inputs["video"]),
            "folder": str(folder),
            "out": str(folder / "out.npz"),
            "mask": "" if mask.all() else str(limits),
            "animals": job.settings.animals,
            "threshold": float(how.threshold),
            "smallest": float(how.smallest),
            "seed": job.seed,
            "device": job.settings.device,
        }
        listener = _Listener(job)
        try:
            attend(job, python_with(job, "idtrackerai", "identities"), SCRIPT, task, listener.hear)
        except RuntimeError:
            if not listener.refused:
                raise
            text = f"Expected a video that idtracker.ai can name animals in: {listener.refused}"
            raise ValueError(text) from None
        shutil.move(folder / "out.npz", out)
        shutil.rmtree(folder, ignore_errors=True)
    with np.load(out, allow_pickle=False) as kept:
        return kept["positions"]


class _Listener:
    """Tells a job what idtracker.ai says."""

    def __init__(self, job: Job) -> None:
        self.job, self.refused, self.done = job, "", False

    def hear(self, said: list[dict[str, Any]]) -> bool:
        for told in said:
            if "stage" in told:
                share = _BEGUN + (_NAMED - _BEGUN) * told["share"]
                self.job.progress(share, told["stage"])
                self.job.log(told["stage"])
            self.refused = told.get("refused", self.refused)
            self.done = self.done or "done" in told
        return self.done


def agreement(poses: Poses, motion: Poses) -> np.ndarray:
    """Whether both give the same names, (frames,): 1 or 0, NaN where motion cannot tell.

    Names are compared in frames in which both have all animals, and motion has each in a blob of
    its own; those of the first such frame are taken for the same.
    """
    nearest = truth.right(poses.centres, motion.centres)
    apart = np.isfinite(motion.centres[..., 0]) & (motion.confidence[..., 0] == 1)
    counted = apart.all(1) & (nearest >= 0).all(1)
    same = np.full(len(nearest), np.nan)
    if counted.any():
        first = nearest[np.flatnonzero(counted)[0]]
        same[counted] = (nearest[counted] == first).all(1)
    return same


def _report(job: Job, poses: Poses, motion: Poses) -> None:
    same = agreement(poses, motion)
    lines = [
        "# Tracking that keeps identities",
        "",
        f"{len(poses.times)} frames at {poses.rate:.4g} a second, {len(poses.animals)} animals, "
        f"named by {SOFTWARE[0]} {SOFTWARE[1]}. Positions were found in "
        f"{100 * poses.found.mean():.1f} % of animals and frames.",
        "",
        _agreed(same, poses.times),
        *results.scored(job, poses),
    ]
    (job.output / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _agreed(same: np.ndarray, times: np.ndarray) -> str:
    """In which share of frames names agree, and the longest stretches in which they do not."""
    counted = np.flatnonzero(np.isfinite(same))
    if not len(counted):
        return "Tracking by motion and size never has all animals apart: it is no second opinion."
    held = same[counted[np.maximum(np.searchsorted(counted, np.arange(len(same)), "right") - 1, 0)]]
    edges = np.flatnonzero(np.diff(np.r_[1, held, 1]))
    spans = sorted(zip(edges[::2], edges[1::2], strict=True), key=lambda s: s[0] - s[1])[:5]
    words = ", ".join(f"{times[a]:.1f} to {times[b - 1]:.1f} s" for a, b in sorted(spans))
    share = 100 * same[counted].mean()
    return (
        f"Tracking by motion and size gives the same names in {share:.1f} % of "
        f"the {len(counted)} frames in which all animals are apart"
        + (f"; they differ longest at {words}." if words else ".")
    )
