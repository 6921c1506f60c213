"""Pictures of a calcium movie: numbered regions on two images, dF/F with spikes, motion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from lanternfish.analyses.calcium.regions import Motion, Regions, outline

ROWS = 30  # traces in the picture
HEIGHT = 1.0  # dF/F of a row, where cells are quiet


def stretched(image: np.ndarray) -> np.ndarray:
    """An image as 8 bits, between its 1st and 99.7th percentile."""
    low, high = np.nanpercentile(image, [1, 99.7])
    shown = (np.nan_to_num(image) - low) / max(float(high - low), 1e-9)
    return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def save_image(image: np.ndarray, path: Path) -> None:
    """One pixel of the movie is one pixel of the PNG."""
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, stretched(image), cmap="gray", vmin=0, vmax=255)


def numbered(regions: Regions, cells: np.ndarray) -> Figure:
    """Mean and correlation image with contours; those that are no cells are thin and grey."""
    height, width = regions.size
    figure = Figure(figsize=(11, 11 / 2 * height / width + 0.5), layout="constrained")
    lines = [outline(regions.mask(k)) for k in range(len(regions))]
    for axes, (name, image) in zip(
        figure.subplots(1, 2),
        {"mean": regions.motion.mean, regions.related: regions.correlation}.items(),
        strict=True,
    ):
        axes.imshow(stretched(image), cmap="gray")
        for k, line in enumerate(lines):
            if not len(line):
                continue
            style = {"color": "#ffb000", "lw": 1.0} if cells[k] else {"color": "0.6", "lw": 0.4}
            axes.plot(*line.T, **style)
            if cells[k]:
                spot = regions.pixels[k].mean(0)
                words = axes.text(
                    spot[1], spot[0], str(k + 1), color="white", fontsize=8, ha="center",
                    va="center",
                )  # fmt: skip
                words.set_path_effects([withStroke(linewidth=2, foreground="black")])
        axes.set_title(name, fontsize=9)
        axes.set(xlabel="x (px)", ylabel="y (px)")
    return figure


def traces(changes: np.ndarray, regions: Regions, chosen: Sequence[int]) -> Figure:
    """Stacked dF/F of chosen regions, with spikes under each; the first thirty."""
    shown = list(chosen)[:ROWS]
    figure = Figure(figsize=(9, 1.2 + 0.34 * max(len(shown), 2)), layout="constrained")
    axes = figure.subplots()
    times = np.arange(regions.frames) / regions.rate
    step = max(HEIGHT, float(np.percentile(changes[shown], 99))) if shown else HEIGHT
    for row, k in enumerate(shown):
        axes.plot(times, changes[k] - row * step, color="#1b6ca8", lw=0.6)
        top = float(regions.spikes[k].max()) or 1.0
        fires = regions.spikes[k] > 0.05 * top
        tall = 0.22 * step * regions.spikes[k][fires] / top
        axes.vlines(
            times[fires], -row * step - 0.28 * step, -row * step - 0.28 * step + tall,
            color="#c2410c", lw=0.6,
        )  # fmt: skip
    axes.set_yticks([-row * step for row in range(len(shown))], [str(k + 1) for k in shown])
    axes.set(xlabel="time (s)", ylabel="region")
    axes.set_xlim(0, max(times[-1], 1e-9))
    axes.plot(
        [times[-1]] * 2, [0.1 * step, 0.1 * step + HEIGHT], color="black", lw=2, clip_on=False
    )
    axes.set_title(
        f"dF/F (blue; the black bar is {HEIGHT:g}) and deconvolved spikes (orange, relative)",
        fontsize=8, loc="left",
    )  # fmt: skip
    return figure


def motion(found: Motion, rate: float) -> Figure:
    """Shifts of each frame, and the largest of its parts."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    times = np.arange(len(found.shifts)) / rate
    axes.plot(times, found.shifts[:, 0], lw=0.7, color="#1b6ca8", label="y")
    axes.plot(times, found.shifts[:, 1], lw=0.7, color="#c2410c", label="x")
    if found.local is not None:
        most = found.local.max(axis=1)
        axes.plot(times, most, lw=0.5, color="0.6", label="largest of a part, beside that")
    axes.set(xlabel="time (s)", ylabel="shift (px)")
    figure.legend(fontsize=8, loc="outside upper right", ncols=3)
    return figure
