"""Pictures of behaviour: ways over the first frame, speed, occupancy, coverage, proximity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lanternfish.analyses.behaviour import measures
from lanternfish.analyses.behaviour.labelled import UNSURE, colour
from lanternfish.analyses.behaviour.poses import Poses


def trajectories(poses: Poses, frame: np.ndarray, outlines: dict[str, np.ndarray]) -> Figure:
    """The way of each animal over a frame (height, width[, 3]); outlines: named, (points, 2)."""
    figure, axes = _new(6.0, 6.0 * frame.shape[0] / frame.shape[1] + 0.5)
    axes.imshow(frame, cmap="gray", alpha=0.7)
    for a, name in enumerate(poses.animals):
        axes.plot(*poses.centres[:, a].T, color=_paint(a), lw=0.8, label=name)
    for name, outline in outlines.items():
        closed = np.vstack([outline, outline[:1]])
        axes.plot(*closed.T, color="black", lw=0.8, ls="--")
        axes.annotate(name, outline[0], fontsize=7)
    axes.set(xlabel="x (px)", ylabel="y (px)")
    axes.set_xlim(-0.5, frame.shape[1] - 0.5)
    axes.set_ylim(frame.shape[0] - 0.5, -0.5)
    _legend(figure, axes, len(poses.animals))
    return figure


def speed(poses: Poses) -> Figure:
    """Speed of each animal over time, one row each."""
    values = measures.speeds(poses.centres, poses.times)
    rows = len(poses.animals)
    figure = _figure(7.0, 0.7 + 0.9 * rows)
    panels = np.ravel(figure.subplots(rows, 1, sharex=True, sharey=True, squeeze=False))
    for a, axes in enumerate(panels):
        axes.plot(poses.times, values[:, a], color=_paint(a), lw=0.7)
        axes.set_title(poses.animals[a], fontsize=8, loc="left")
    panels[0].set_ylim(bottom=0)
    figure.supylabel("speed (px/s)", fontsize=9)
    panels[-1].set_xlabel("time (s)")
    return figure


def occupancy(poses: Poses, cell: float) -> Figure:
    """Seconds of each animal in squares of side `cell` px."""
    grids = measures.occupancy(poses.centres, poses.times, poses.size, cell)
    across = min(4, len(grids))
    rows = -(-len(grids) // across)
    figure = _figure(3.0 * across + 0.8, 2.6 * rows + 0.3)
    panels = np.ravel(figure.subplots(rows, across, squeeze=False))
    width, height = poses.size
    for a, axes in enumerate(panels):
        if a >= len(grids):
            axes.set_axis_off()
            continue
        shown = axes.imshow(
            grids[a], extent=(0, width, height, 0), vmin=0, vmax=grids.max() or 1, cmap="magma"
        )
        axes.set_title(poses.animals[a], fontsize=8)
        axes.set(xlabel="x (px)", ylabel="y (px)")
    figure.colorbar(shown, ax=list(panels), label=f"time in {cell:.0f} px squares (s)")
    return figure


def coverage(poses: Poses) -> Figure:
    """Where each animal was found, and where its identity is unsure, over time."""
    state = poses.found.astype(float)
    if poses.identity is not None:
        state[poses.found & (poses.identity < UNSURE)] = 0.5
    figure, axes = _new(7.0, 0.9 + 0.3 * len(poses.animals))
    end = poses.times[-1] if len(poses.times) > 1 else 1.0
    axes.imshow(
        state.T,
        aspect="auto",
        interpolation="nearest",
        cmap="cividis",
        vmin=0,
        vmax=1,
        extent=(poses.times[0], end, len(poses.animals) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(poses.animals)), poses.animals)
    axes.set_xlabel("time (s)")
    axes.set_title("yellow: found; grey: identity unsure; dark: not found", fontsize=8, loc="left")
    return figure


def proximity(poses: Poses) -> Figure:
    """Distance between the animals of each pair over time."""
    figure, axes = _new(7.0, 2.4)
    values = measures.distances(poses.centres)
    both = measures.pairs(len(poses.animals))
    for n, (i, j) in enumerate(both):
        label = f"{poses.animals[i]} - {poses.animals[j]}"
        axes.plot(poses.times, values[:, n], color=_paint(n), lw=0.8, label=label)
    axes.set(xlabel="time (s)", ylabel="distance (px)")
    axes.set_ylim(bottom=0)
    _legend(figure, axes, len(both))
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, the same bytes for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _new(width: float, height: float):
    figure = _figure(width, height)
    return figure, figure.subplots()


def _legend(figure: Figure, axes, count: int) -> None:
    if 1 < count <= 10:
        figure.legend(loc="outside upper center", ncols=min(count, 5), fontsize=8, frameon=False)


def _paint(number: int) -> tuple[float, ...]:
    return tuple(part / 255 for part in colour(number))
