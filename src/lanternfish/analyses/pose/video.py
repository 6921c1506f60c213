"""Frames of a video, through the ffmpeg program that imageio-ffmpeg ships, as a child process.

Frames are counted as the decoder gives them, from 0, none dropped or doubled.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.analyses.behaviour import program_stream
from lanternfish.analyses.behaviour.encoder import encoder

if TYPE_CHECKING:
    import numpy as np

ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv")
PATIENCE = 100.0  # seconds to look at a header and packets


class VideoError(ValueError):
    """A video that cannot be used; the text says what was expected, and what to do."""


@dataclass(frozen=True)
class Clip:
    """What a video says of itself: frames (count), width, height (px), fps (1/s)."""

    path: Path
    frames: int
    width: int
    height: int
    fps: float

    def plain(self) -> dict:
        """For JSON."""
        return {
            "name": self.path.name,
            "frames": self.frames,
            "width": self.width,
            "height": self.height,
            "fps": self.fps,
        }


def ffmpeg() -> str:
    """The program."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def look(path: Path) -> Clip:
    """Count the frames, and check that the video can be used; decodes one frame only.

    Raises:
        VideoError: it is no video, is cut off, has one frame, a changing frame rate or a rotation.
    """
    stamps = ["-fflags", "+genpts"]  # program streams leave some out
    told = _ask([*stamps, "-i", str(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"])
    if told.returncode or not told.stdout:
        raise VideoError(f"Expected a video that can be read; {path.name} cannot: {_last(told)}")
    if program_stream.is_cut_off(path):
        raise VideoError(
            f"Expected a whole video; {path.name} ends in the middle of a picture: it was cut off: "
            f"copy it again, or write what there is anew (ffmpeg -i {path.name} whole.mp4)."
        )
    base, size, times = _packets(told.stdout)
    if len(times) < 2:
        raise VideoError(f"Expected a video of two frames or more; {path.name} has {len(times)}.")
    first = _ask(["-i", str(path), "-map", "0:v:0", "-frames:v", "1", "-f", "null", "-"])
    if first.returncode or re.search(r"rotation of -?(?!0\.00)\d", told.stderr):
        if first.returncode:
            raise VideoError(
                f"Expected a video whose frames can be decoded; {path.name} cannot: {_last(first)}"
            )
        raise VideoError(
            f"Expected a video without a rotation mark; {path.name} has one: write it upright "
            f"(ffmpeg -i {path.name} upright.mp4)."
        )
    steps = [b - a for a, b in itertools.pairwise(times)]
    usual = sorted(steps)[len(steps) // 2]
    rate = (len(times) - 1) / ((times[-1] - times[0]) * base) if times[-1] > times[0] else 0.0
    if usual <= 0 or max(steps) > 1.5 * usual + 1 or min(steps) < 0.5 * usual - 1:
        raise VideoError(
            f"Expected a constant frame rate; the frames of {path.name} are {min(steps) * base:.3g}"
            f" to {max(steps) * base:.3g} s apart: write it anew "
            f"(ffmpeg -i {path.name} -r {max(1, round(rate))} constant.mp4)."
        )
    return Clip(path, len(times), *size, round(rate, 6))


def read(clip: Clip, width: int | None = None) -> Iterator[np.ndarray]:
    """Every frame, grey, uint8, shape (height, width), in order; `width`: scaled to it.

    Raises:
        VideoError: the video ends before its last frame.
    """
    import numpy as np

    shape = (clip.height, clip.width)
    scale = []
    if width is not None and width < clip.width:
        shape = (max(2, round(clip.height * width / clip.width)), width)
        scale = ["-vf", f"scale={shape[1]}:{shape[0]}:flags=area"]
    command = [ffmpeg(), "-v", "error", "-nostdin", "-noautorotate", "-i", str(clip.path)]
    command += ["-map", "0:v:0", *scale, "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    bulk, count = shape[0] * shape[1], 0
    try:
        while len(data := child.stdout.read(bulk)) == bulk:
            count += 1
            yield np.frombuffer(data, np.uint8).reshape(shape)
    finally:
        child.stdout.close()
        child.kill()
        child.wait()
    if count < clip.frames:
        raise VideoError(
            f"Expected {clip.frames} frames in {clip.path.name}; only {count} can be decoded: the "
            "file is damaged after them."
        )


def extract(clip: Clip, frames: Sequence[int], folder: Path, grey: bool = False) -> list[Path]:
    """Write some frames as PNG files named by their number; returns their paths, in order.

    Raises:
        VideoError: one of them cannot be decoded.
    """
    wanted = sorted(set(frames))
    if not wanted:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / ".select"
    script.write_text("select='" + "+".join(f"eq(n\\,{n})" for n in wanted) + "'")
    command = [ffmpeg(), "-v", "error", "-nostdin", "-noautorotate", "-i", str(clip.path)]
    command += ["-map", "0:v:0", "-/filter:v", str(script), "-fps_mode", "passthrough"]
    command += ["-frames:v", str(len(wanted)), "-pix_fmt", "gray" if grey else "rgb24"]
    done = subprocess.run(
        [*command, "-y", str(folder / "part%06d.png")], capture_output=True, text=True, check=False
    )
    script.unlink()
    made = sorted(folder.glob("part*.png"))
    if len(made) < len(wanted):
        raise VideoError(
            f"Expected {len(wanted)} frames of {clip.path.name}; {len(made)} could be decoded: "
            f"{_last(done)}"
        )
    paths = [folder / f"{number:06d}.png" for number in wanted]
    for old, new in zip(made, paths, strict=True):
        old.replace(new)
    return paths


def write(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    """Write frames (uint8, (height, width) or (height, width, 3)) as H.264 that browsers play."""
    first = next(frames)
    kind = "gray" if first.ndim == 2 else "rgb24"
    size = (first.shape[1], first.shape[0])
    pad = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]
    writer = encoder(path, size, fps, kind, ["-crf", "18", *pad])
    writer.send(first.tobytes())
    for frame in frames:
        writer.send(frame.tobytes())
    writer.close()


def _ask(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [ffmpeg(), "-hide_banner", "-nostdin", "-v", "info", "-nostats", *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise VideoError(f"Expected to read the video within {PATIENCE:.0f} s.") from None


def _packets(text: str) -> tuple[float, tuple[int, int], list[int]]:
    """Seconds of a tick, (width, height), and the times of the frames in ticks, in order."""
    tick = re.search(r"#tb 0: (\d+)/(\d+)", text)
    size = re.search(r"#dimensions 0: (\d+)x(\d+)", text)
    if tick is None or size is None:
        raise VideoError("Expected a video stream; the file has none.")
    times = [int(line.split(",")[2]) for line in text.splitlines() if line[:1] not in ("#", "")]
    base = int(tick[1]) / int(tick[2])
    return base, (int(size[1]), int(size[2])), sorted(times)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return (lines[-1][:200] if lines else "no frames") + "."
