"""How a distribution changed over an optimisation, as an animation: one frame for each epoch.

Every frame is a pair plot on the same axes, so that what moves is the distribution. The curve in
the corner, where one is given, says how far the optimisation is.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lanternfish.core import Folder, Prior, Table
from lanternfish.plot import inputs, style
from lanternfish.plot.mosaic import Mosaic
from lanternfish.plot.pairs import draw_diagonal, draw_pairs
from lanternfish.plot.scales import scale_of

FORMATS = ("gif", "mp4")
_HOLD = 2.0  # s for which the last frame stays
_NO_DITHER: Any = 0  # Pillow's Dither.NONE
_EVEN = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]  # video codecs take even sizes alone


def animate(
    samples: Sequence[Table],
    path: str | os.PathLike,
    *,
    epochs: Sequence[int] | np.ndarray | None = None,
    entropy=None,
    prior: Prior | None = None,
    names: Sequence[str] | None = None,
    limits: str = "prior",
    fps: float = 4.0,
    dpi: float = 110,
) -> str:
    """Write an animation of the samples of each epoch to a local path or fsspec URL.

    Args:
        samples: a table for each epoch, all of the same parameters.
        path: ends in ``.gif``, or in ``.mp4``, for which ffmpeg must be installed (a program of
            that name, or the package imageio-ffmpeg).
        epochs: the number of each, shown in its frame; from 1 where left out.
        entropy: of each epoch, in nats, shape (epochs,); drawn in the corner.
        prior, names, limits: as for ``pair``; "samples" stands for the samples of all epochs.
        fps: frames a second; the last stays for two seconds.
        dpi: dots per inch.

    Returns:
        The path.

    Raises:
        ValueError, TypeError: if the ending is another, lengths or names do not fit, or samples are
            not finite.
        RuntimeError: if ffmpeg is needed and not there.
    """
    path = checked(path, fps, dpi)
    return write(_Film(samples, epochs, entropy, prior, names, limits), path, fps, dpi)


def checked(path: str | os.PathLike, fps: float, dpi: float) -> str:
    """The path of a film, if it and its frame rate can be had.

    Raises:
        ValueError: if the ending is another, or a number is not above 0.
    """
    path = os.fspath(path)
    if path.rpartition(".")[2].lower() not in FORMATS or "." not in os.path.basename(path):
        raise ValueError(f"Expected a path that ends in .gif or .mp4; got {path!r}.")
    for name, value in (("fps", fps), ("dpi", dpi)):
        if not 0 < value < np.inf:
            raise ValueError(f"Expected {name} above 0; got {value}.")
    return path


def write(film: Film, path: str, fps: float, dpi: float) -> str:
    """A film to a local path or fsspec URL, whole or absent."""
    with style.LOCK:
        data = gif(film, fps, dpi) if path.lower().endswith(".gif") else mp4(film, fps, dpi)
    cut = path.rfind("/") + 1
    Folder(path[:cut] or ".").write(path[cut:], data)
    return path


class Film(Protocol):
    """A figure that can show any of its frames."""

    figure: Figure

    def __len__(self) -> int:
        """How many frames there are."""
        ...

    def show(self, i: int) -> None:
        """Draw frame i in place of what is there."""
        ...


def gif(film: Film, fps: float, dpi: float) -> bytes:
    """A film as GIF: each frame has its own palette, in which rare colours keep their place."""
    from PIL import Image

    frames = []
    for i in range(len(film)):
        film.show(i)
        buffer = io.BytesIO()
        film.figure.savefig(buffer, format="png", dpi=dpi)
        frame = Image.open(buffer).convert("RGB")
        frames.append(frame.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=_NO_DITHER))
    durations = [1000 / fps] * (len(frames) - 1) + [1000 * _HOLD]
    found = io.BytesIO()
    frames[0].save(
        found, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
    )
    return found.getvalue()


def mp4(film: Film, fps: float, dpi: float) -> bytes:
    """A film as MP4, by ffmpeg."""
    from matplotlib.animation import FFMpegWriter

    settings: Any = {"animation.ffmpeg_path": _ffmpeg()}
    with matplotlib.rc_context(settings), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "film.mp4"
        writer = FFMpegWriter(fps=fps, extra_args=_EVEN)  # type: ignore[arg-type]
        with writer.saving(film.figure, str(file), dpi):
            for i in range(len(film)):
                film.show(i)
                writer.grab_frame()
            for _ in range(round(_HOLD * fps)):
                writer.grab_frame()
        return file.read_bytes()


def _ffmpeg() -> str:
    """The program: one that is installed, or the one that imageio-ffmpeg ships."""
    found = shutil.which(matplotlib.rcParams["animation.ffmpeg_path"])
    if found is not None:
        return found
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise RuntimeError(
            "Expected ffmpeg, which writes .mp4; got a machine without it: install it "
            "(pip install imageio-ffmpeg), or give a path that ends in .gif."
        ) from None


class _Film:
    """A figure that can show any of the epochs."""

    def __init__(self, samples, epochs, entropy, prior, names, limits) -> None:
        inputs.check_limits(limits)
        self.tables = _tables(samples, names)
        self.prior = inputs.prior_of(self.tables[0], prior, self.tables[0])
        self.epochs = _numbers(epochs, len(self.tables), "epochs")
        self.entropy = None if entropy is None else _numbers(entropy, len(self.tables), "entropy")
        columns = self.tables[0].columns
        scales = [
            scale_of([t.array[:, i] for t in self.tables], prior, c.name, limits)
            for i, c in enumerate(columns)
        ]
        self.mosaic = Mosaic(columns, scales)
        self.figure, self.axes = self.mosaic.blank()
        self.mosaic.label(self.figure, self.axes, diagonal=True)
        self.title, self.dot = _corner(self.mosaic, self.figure, self.axes, self)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # the same places in every frame
        self.kept = set(self.axes.get_children())

    def __len__(self) -> int:
        return len(self.tables)

    def show(self, i: int) -> None:
        """Draw epoch i in place of what is there."""
        for artist in set(self.axes.get_children()) - self.kept:
            artist.remove()
        unit = {"samples": self.mosaic.to_unit(self.tables[i].array)}
        draw_pairs(self.mosaic, self.axes, unit)
        draw_diagonal(self.mosaic, self.axes, unit, self.prior)
        self.title.set_text(f"epoch {self.epochs[i]:,.0f}")
        if self.dot is not None and self.entropy is not None:
            self.dot.set_data([self.epochs[i]], [self.entropy[i]])


def _tables(samples, names: Sequence[str] | None) -> list[Table]:
    if isinstance(samples, Table) or not isinstance(samples, Sequence) or not len(samples):
        got = "none" if isinstance(samples, Sequence) else type(samples).__name__
        raise ValueError(f"Expected a list of tables, one for each epoch; got {got}.")
    tables = [inputs.chosen(inputs.as_samples(t), names) for t in samples]
    for i, table in enumerate(tables):
        if table.names != tables[0].names:
            raise ValueError(
                f"Expected {', '.join(tables[0].names)} in every epoch; "
                f"got {', '.join(table.names)} in epoch {i + 1}."
            )
    return tables


def _numbers(values, n: int, what: str) -> np.ndarray:
    """One number for each epoch; 1 to n where there is none."""
    found = np.arange(1, n + 1) if values is None else np.asarray(values, np.float64)
    if found.shape != (n,):
        raise ValueError(
            f"Expected {what} of shape ({n},), as there are tables; got {found.shape}."
        )
    return found


def _corner(mosaic: Mosaic, figure: Figure, axes: Axes, film: _Film) -> tuple[Any, Any]:
    """The epoch's number, and the curve of the entropy with its dot, above the diagonal."""
    d, inch = mosaic.d, 1 / mosaic.inches
    widest = f"epoch {film.epochs.max():,.0f}"
    if d == 1:
        return axes.set_title(widest, fontsize=style.LARGE, loc="left"), None
    end = d - 1 + mosaic.side
    font = style.LARGE if figure.get_figwidth() < 9 else 1.5 * style.LARGE
    wide = min(end - 1.15, max(0.82, 1.9 * inch * font / style.LARGE))
    spot = (end - wide, end - 0.02)
    title = axes.text(*spot, widest, fontsize=font, ha="left", va="top")
    if film.entropy is None:
        return title, None
    line = font / 72 * inch
    tall = min(0.62, 0.62 * wide)
    box = axes.inset_axes(
        (end - wide, end - 3.3 * line - tall, wide, tall), transform=axes.transData
    )
    style.tidy(box)
    box.plot(film.epochs, film.entropy, color=style.BLACK, lw=style.THIN)
    dot = box.plot(film.epochs[:1], film.entropy[:1], color=style.VERMILLION, marker="o", ms=4)[0]
    dot.set(zorder=5, clip_on=False)
    box.set_title("entropy (nats)", fontsize=0.8 * font, loc="left", pad=3)
    box.set_xlabel("epoch", fontsize=0.8 * font, labelpad=1)
    box.tick_params(labelsize=0.72 * font)
    box.locator_params(nbins=3)
    return title, dot
