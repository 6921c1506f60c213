"""Reading a video: its header, its frames with their times, from any frame on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lanternfish.analyses.behaviour import program_stream

CONVERT = "convert it with `ffmpeg -i VIDEO -c:v libx264 -pix_fmt yuv420p NEW.mp4`"

LOOKED_AT = 200  # frames at the beginning whose times are looked at


class VideoError(ValueError):
    """The video cannot be read."""


@dataclass(frozen=True)
class Header:
    """What a video says of itself.

    Attributes:
        frames: by its header, or its duration; width, height: px; rate: frames a second.
        regular: whether the first frames are equally far from each other.
        whole: whether the last frame that the header tells of can be read, and a stream without
            a header does not end in the middle of a picture.
    """

    frames: int
    width: int
    height: int
    rate: float
    regular: bool
    whole: bool


def read_header(path: Path) -> Header:
    """Look at the header, the first frames and the last.

    Raises:
        VideoError: in one sentence what is wrong.
    """
    import cv2

    video = _open(path)
    try:
        frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = float(video.get(cv2.CAP_PROP_FPS))
        there, first = video.read()
        if not there:
            raise VideoError(
                f"Expected frames in {path.name}; none can be decoded: it is empty, damaged, or "
                f"its codec is missing here: {CONVERT}."
            )
        times = [video.get(cv2.CAP_PROP_POS_MSEC)]
        while len(times) < LOOKED_AT and video.grab():
            times.append(video.get(cv2.CAP_PROP_POS_MSEC))
        whole = True
        if len(times) == LOOKED_AT and frames > LOOKED_AT:
            video.set(cv2.CAP_PROP_POS_FRAMES, max(frames - 2, 0))
            whole = bool(video.grab())
        elif frames > 0:  # all were read
            whole = is_whole(len(times), times[-1] / 1_000, frames, rate)
            frames = len(times) if whole else frames
    finally:
        video.release()
    whole = whole and not program_stream.is_cut_off(path)
    steps = np.diff(times)
    middle = float(np.median(steps)) if len(steps) else 0.0
    regular = bool(len(steps) == 0 or np.all(np.abs(steps - middle) <= 0.25 * middle + 1.01))
    height, width = first.shape[:2]
    return Header(max(frames, len(times)), width, height, rate, regular, whole)


def is_whole(count: int, last: float, frames: int, rate: float) -> bool:
    """Whether `count` frames, the last at `last` s, are all that a header tells of.

    Many formats tell a duration only, and where the frame rate changes that gives another number
    of frames than there are: then the time of the last frame decides.
    """
    return count >= frames - 1 or (rate > 0 and last >= (frames - 2.5) / rate)


def grey_frames(path: Path, start: int = 0) -> Iterator[tuple[float, np.ndarray]]:
    """Time (s) and grey picture (height, width), uint8, of each frame from `start` on."""
    import cv2

    for time, frame in colour_frames(path, start):
        yield time, cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def colour_frames(path: Path, start: int = 0) -> Iterator[tuple[float, np.ndarray]]:
    """Time (s) and picture (height, width, 3), uint8, blue green red, of each frame from `start`.

    Frames before `start` are decoded and left out, as seeking is inexact in many formats.
    """
    import cv2

    video = _open(path)
    try:
        for _ in range(start):
            if not video.grab():
                return
        while True:
            there, frame = video.read()
            if not there:
                return
            yield video.get(cv2.CAP_PROP_POS_MSEC) / 1_000, frame
    finally:
        video.release()


def sample(path: Path, frames: int, wanted: int) -> np.ndarray:
    """Grey pictures spread over the video, (up to `wanted`, height, width)."""
    import cv2

    video = _open(path)
    found = []
    try:
        for index in np.unique(np.linspace(0, max(frames - 1, 0), wanted).astype(int)):
            video.set(cv2.CAP_PROP_POS_FRAMES, int(index))
            there, frame = video.read()
            if there:
                found.append(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    finally:
        video.release()
    if not found:
        raise VideoError(f"Expected frames in {path.name}; none can be decoded: {CONVERT}.")
    return np.stack(found)


def _open(path: Path):
    import cv2

    cv2.setNumThreads(1)  # a job takes one core: several jobs run beside each other
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not video.isOpened():
        size = path.stat().st_size
        raise VideoError(
            f"Expected a video; {path.name} ({size} bytes) cannot be opened: it is empty, damaged, "
            f"cut off, or its codec is missing here: copy it again, or {CONVERT}."
        )
    return video
