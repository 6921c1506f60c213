"""Labelled video that browsers play: H.264, yuv420p, with tails and names."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np

from lanternfish.analyses.behaviour.encoder import encoder
from lanternfish.analyses.behaviour.poses import Poses

COLOURS = (  # red, green, blue; colours that are told apart with any colour vision
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0),
    (86, 180, 233), (240, 228, 66), (120, 120, 120),
)  # fmt: skip
FULL = 2**24  # bytes free under which a disk is full
UNSURE = 0.9  # confidence of identity under which a name has a question mark


def colour(animal: int) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of an animal."""
    return COLOURS[animal % len(COLOURS)]


def draw(frame: np.ndarray, poses: Poses, index: int, tail: int = 30) -> None:
    """Draw animals into an RGB frame (height, width, 3), uint8, in place.

    Args:
        index: of the frame. tail: frames of the past that the tails show.
    """
    import cv2

    centres = poses.centres[max(0, index - tail) : index + 1]
    for a, name in enumerate(poses.animals):
        paint = colour(a)
        for line in _pieces(centres[:, a]):
            cv2.polylines(frame, [line], False, paint, 1, cv2.LINE_AA, 4)
        _skeleton(frame, poses, index, a)
        if np.isfinite(centres[-1, a]).all():
            sure = poses.identity is None or poses.identity[index, a] >= UNSURE
            x, y = np.round(centres[-1, a]).astype(int).tolist()
            text = name if sure else f"{name}?"
            cv2.putText(frame, text, (x + 7, y - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, paint, 1, 16)


def _skeleton(frame: np.ndarray, poses: Poses, index: int, a: int) -> None:
    import cv2

    points = poses.positions[index, a]
    there = np.isfinite(points).all(-1)
    whole = np.round(np.where(there[:, None], points, 0)).astype(int)
    for i, j in poses.edges:
        if there[i] and there[j]:
            cv2.line(frame, whole[i].tolist(), whole[j].tolist(), colour(a), 1, cv2.LINE_AA)
    for point in whole[there]:
        cv2.circle(frame, point.tolist(), 3, colour(a), 1, cv2.LINE_AA)


def _pieces(way: np.ndarray) -> list[np.ndarray]:
    """Stretches of a way without gaps, in sixteenths of a pixel."""
    gaps = np.flatnonzero(~np.isfinite(way).all(-1))
    parts = np.split(way, gaps)
    clean = [part[np.isfinite(part).all(-1)] for part in parts]
    return [np.round(part * 16).astype(np.int32) for part in clean if len(part) > 1]


class Writer:
    """Writes RGB frames as an H.264 file; use it in a `with` block.

    Raises:
        OSError: the disk is full, or the encoder ended.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        self._even = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._path = path
        options = ["-preset", "veryfast", "-crf", "23", "-movflags", "+faststart"]
        self._sink = encoder(path, self._even, rate, options=options)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._sink.close()

    def write(self, frame: np.ndarray) -> None:
        """Append a frame (height, width, 3), uint8, RGB."""
        width, height = self._even
        missing = ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0))
        if any(end for _, end in missing):
            frame = np.pad(frame, missing, mode="edge")
        try:
            self._sink.send(np.ascontiguousarray(frame))
        except OSError as error:
            free = shutil.disk_usage(self._path.parent).free
            number = errno.ENOSPC if free < FULL else error.errno or errno.EIO
            raise OSError(
                number,
                f"The labelled video could not be written on; {free / 1e6:.0f} MB of disk are "
                "free. What was written before it is kept",
            ) from error
