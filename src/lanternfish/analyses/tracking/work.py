"""Tracking as a job: background, detection and linking, identities, and all that is written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lanternfish.analyses.behaviour.poses import Poses
from lanternfish.analyses.tracking import arena, detection, identity, linking, reading

if TYPE_CHECKING:
    from lanternfish.service.analyses import Job

KEEP = 1_000  # frames between two checkpoints
_DETECTED, _DRAWN = 0.6, 0.9  # share of the whole that is done after these stages


def track(job: Job) -> None:
    """Do the whole job; what was tracked before an end by cancelling or failing is written, too.

    Raises:
        ValueError: nothing moves, or no animal was found in any frame.
        OSError: the disk is full.
    """
    from lanternfish.analyses.tracking import results

    header = reading.read_header(job.inputs["video"])
    how, _ = detector(job, header)
    linker = linking.Linker(how, job.settings.animals)
    try:
        follow(job, header, how, linker)
    except (KeyboardInterrupt, OSError):
        if len(linker.tracks) > 1:
            job.log(f"Ended after {len(linker.tracks)} of {header.frames} frames: these are kept.")
            poses, _ = sorted_by_animal(job, linker.tracks, header)
            with contextlib.suppress(OSError):  # a full disk: the first error is the one to tell
                results.write_positions(job, poses)
        raise
    poses, found = sorted_by_animal(job, linker.tracks, header)
    if not poses.found.any():
        results.write_positions(job, poses)
        raise ValueError(
            f"Expected animals of {how.smallest:.0f} to {how.largest:.0f} px; none was found in "
            f"{len(poses.times)} frames: lower the threshold ({how.threshold:.0f}) or the "
            "smallest area."
        )
    results.write_positions(job, poses)
    notes = _notes(job, header, linker.tracks, poses)
    for note in notes:
        job.log(note)
    results.write_measures(job, poses, how.background)
    results.write_report(job, poses, how, found, notes)
    if job.settings.labelled_video:
        draw(job, poses)
    job.progress(1.0, "done")


def sorted_by_animal(
    job: Job, tracks: linking.Tracks, header: reading.Header
) -> tuple[Poses, identity.Identities]:
    """Decide on identities; poses of one keypoint, the centre.

    The confidence of a position is 1 while an animal is alone in its blob, 0.5 in a merged one,
    0 where it was not found.
    """
    arrays = tracks.arrays()
    found = identity.resolve(arrays)
    centres = np.take_along_axis(arrays["positions"], found.order[..., None], 1)
    states = np.take_along_axis(arrays["states"], found.order, 1)
    confidence = np.choose(states, [0.0, 0.5, 1.0])
    poses = Poses(
        positions=centres[:, :, None],
        confidence=confidence[..., None],
        times=_increasing(arrays["times"], header.rate),
        animals=tuple(f"animal {n + 1}" for n in range(job.settings.animals)),
        identity=np.where(states == linking.LOST, 0.0, found.confidence),
        size=(header.width, header.height),
    )
    return poses, found


def detector(job: Job, header: reading.Header) -> tuple[detection.Detector, np.ndarray]:
    """How animals are told from the background, and the arena as a mask, (height, width)."""
    settings = job.settings
    job.progress(0.0, "background")
    mask = np.ones((header.height, header.width), bool)
    if "mask" in job.inputs:
        mask = arena.read_mask(job.inputs["mask"], header.width, header.height)
    elif settings.arena:
        mask = arena.mask_of(arena.outline(settings.arena), header.width, header.height)
    frames = reading.sample(job.inputs["video"], header.frames, detection.SAMPLES)
    how = detection.suggest(frames, mask, settings.animals, settings.contrast, settings.threshold)
    changed = {
        "smallest": settings.smallest or how.smallest,
        "largest": settings.largest or how.largest,
    }
    how = detection.Detector(**{**vars(how), **changed})
    job.log(
        f"Threshold {how.threshold:.1f} grey levels; an animal has {how.smallest:.0f} to "
        f"{how.largest:.0f} px."
    )
    return how, mask


def follow(
    job: Job, header, how: detection.Detector, linker: linking.Linker, end: float = _DETECTED
) -> None:
    """Give all frames to the linker; progress goes to `end`. Goes on after the last checkpoint."""
    kept = job.checkpoint / "tracks.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as state:
            linker.restore(dict(state))
        job.log(f"Going on after {len(linker.tracks)} frames.")
    path, start = job.inputs["video"], len(linker.tracks)
    for number, (time, frame) in enumerate(reading.grey_frames(path, start), start + 1):
        linker.add(time, detection.detect(frame, how))
        if number % 50 == 0:
            text = f"detecting: frame {number} of {header.frames}"
            job.progress(end * min(1.0, number / header.frames), text)
        if number % KEEP == 0:
            _save(kept, linker.state())
        if job.cancelled:
            raise KeyboardInterrupt
    if not len(linker.tracks):
        raise ValueError(f"Expected frames in {path.name}; none can be decoded.")
    _save(kept, linker.state())


def _save(path: Path, state: dict[str, np.ndarray]) -> None:
    fresh = path.with_suffix(".new.npz")
    arrays: dict[str, Any] = dict(state)
    np.savez(fresh, **arrays)
    os.replace(fresh, path)


def _notes(job: Job, header, tracks: linking.Tracks, poses: Poses) -> list[str]:
    """Sentences about what a reader must know."""
    notes = []
    length = len(poses.times)
    last = tracks.times[-1]
    if not reading.is_whole(length, last, header.frames, header.rate):
        notes.append(
            f"The header tells of {header.frames} frames; {length} could be decoded: the video is "
            "damaged or cut off, and results end there."
        )
    if not poses.is_regular():
        notes.append(
            "Frames are not equally far from each other: speeds and times follow the time stamps."
        )
    more = float(np.mean(np.array(tracks.extra) > 0))
    if more > 0.02:
        notes.append(
            f"In {100 * more:.0f} % of the frames there were more blobs of an animal's size than "
            f"the {job.settings.animals} animals: raise the number of animals or the threshold, or "
            "leave reflections out of the arena."
        )
    for a, name in enumerate(poses.animals):
        if not poses.found[:, a].any():
            notes.append(f"{name} was found in no frame: lower the number of animals?")
    return notes


def _increasing(times: np.ndarray, rate: float) -> np.ndarray:
    """Time stamps; where they do not increase (damaged files), those of the frame rate."""
    if len(times) < 2 or np.all(np.diff(times) > 0):
        return times
    return np.arange(len(times)) / (rate if rate > 0 else 25.0)


def draw(job: Job, poses: Poses) -> None:
    """Write the labelled video."""
    from lanternfish.analyses.behaviour import labelled

    rate = poses.rate if np.isfinite(poses.rate) else 25.0
    total = len(poses.times)
    with labelled.Writer(job.output / "labelled.mp4", poses.size, rate) as video:
        for number, (_, frame) in enumerate(reading.colour_frames(job.inputs["video"])):
            if number >= total:
                break
            picture = np.ascontiguousarray(frame[..., ::-1])
            labelled.draw(picture, poses, number, job.settings.tail)
            video.write(picture)
            if number % 50 == 0:
                done = _DRAWN + (1 - _DRAWN) * number / total
                job.progress(done, f"drawing: frame {number} of {total}")
            if job.cancelled:
                raise KeyboardInterrupt
