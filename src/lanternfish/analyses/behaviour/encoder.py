"""H.264 video that browsers play: libx264, yuv420p, one thread, the same bytes each time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_SAME = ("-pix_fmt", "yuv420p", "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact")


def encoder(
    path: Path, size: tuple[int, int], rate: float, kind: str = "rgb24", options: Sequence[str] = ()
) -> Generator[None, bytes | np.ndarray, None]:
    """Takes frames by `send`, bytes or uint8; `close` ends the video.

    Args:
        size: width and height, px; even, or made so by `options`.
        rate: frames a second.
        kind: of the frames: "rgb24" or "gray".
        options: of ffmpeg, beside those that make it the same each time.
    """
    import imageio_ffmpeg

    write: Any = imageio_ffmpeg.write_frames  # annotated by its defaults: whole numbers only
    sink = write(
        str(path),
        size,
        fps=rate,
        codec="libx264",
        macro_block_size=1,
        quality=None,
        pix_fmt_in=kind,
        output_params=[*options, *_SAME],
        ffmpeg_log_level="error",
    )
    sink.send(None)
    return sink
