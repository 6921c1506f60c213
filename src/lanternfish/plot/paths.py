"""Paths between regimes: density, valid simulations, parameters and traces along them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lanternfish.core import Prior, Table, Traces
from lanternfish.plot import style
from lanternfish.plot.evolution import checked, write

_TALL = 0.16  # inches for each parameter


class Curve(Protocol):
    """``lanternfish.landscape.Path``, or anything with these."""

    @property
    def theta(self) -> Table:
        """Points, (m, d)."""
        ...

    @property
    def log_density(self) -> np.ndarray:
        """Shape (m,)."""
        ...

    @property
    def position(self) -> np.ndarray:
        """Length up to each point, shape (m,)."""
        ...


class Steps(Protocol):
    """``lanternfish.landscape.Walk``, or anything with these."""

    @property
    def distances(self) -> np.ndarray:
        """Shape (m,)."""
        ...

    @property
    def theta(self) -> Table:
        """Points, (m, d)."""
        ...

    @property
    def valid(self) -> Any:
        """Share of valid trials of each point, with ``value``, ``low`` and ``high``."""
        ...

    @property
    def traces(self) -> Traces | None:
        """One of each point."""
        ...


def path(
    path: Curve,
    walks: Steps | Mapping[str, Steps] | None = None,
    *,
    prior: Prior | None = None,
) -> Figure:
    """Log density, share of valid simulations and parameters along a path.

    Args:
        path: of ``landscape.path``.
        walks: of ``landscape.walk`` along it, or several by name, such as that along the orthogonal
            path: their shares are drawn over the share of each one's length.
        prior: parameters are drawn from its lower bound (light) to its upper one (dark); from the
            least to the greatest value along the path where left out.

    Raises:
        ValueError: if there are more walks than lines that can be told apart.
    """
    named = {} if walks is None else walks if isinstance(walks, Mapping) else {"valid": walks}
    if len(named) > len(style.SERIES):
        raise ValueError(f"Expected at most {len(style.SERIES)} walks; got {len(named)}.")
    d = len(path.theta.columns)
    tall = max(_TALL * d, 0.9)
    heights = [1.0, *([1.0] if named else []), tall]
    figure = style.new_figure(5.2, sum(heights) + 0.9)
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False).ravel()
    _draw_density(panels[0], path)
    if named:
        _draw_valid(panels[1], named)
    _draw_parameters(figure, panels[-1], path, prior)
    if len(named) > 1:
        looks = zip(named, style.SERIES, strict=False)
        style.legend(
            figure, {n: Line2D([], [], color=c, ls=s, lw=style.THICK) for n, (c, s) in looks}
        )
    return figure


def _draw_density(axes: Axes, path: Curve) -> None:
    style.tidy(axes)
    axes.plot(path.position, path.log_density, color=style.BLACK, lw=style.THICK)
    axes.margins(x=0)
    axes.set_ylabel("log density (nats)", fontsize=style.NORMAL)
    axes.tick_params(labelbottom=False)


def _draw_valid(axes: Axes, walks: Mapping[str, Steps]) -> None:
    style.tidy(axes)
    for walk, (colour, dashes) in zip(walks.values(), style.SERIES, strict=False):
        place = np.asarray(walk.distances) / max(float(walk.distances[-1]), 1e-300)
        found = np.array([(s.value, s.low, s.high) for s in walk.valid])
        axes.fill_between(place, found[:, 1], found[:, 2], color=colour, alpha=0.2, lw=0)
        axes.plot(
            place, found[:, 0], color=colour, ls=dashes, lw=style.THICK, marker="o", ms=2.5,
            clip_on=False, zorder=4,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.set_ylabel("valid", fontsize=style.NORMAL)
    axes.set_xticks([0, 0.5, 1], ["start", "share of the length", "end"])


def _draw_parameters(figure: Figure, axes: Axes, path: Curve, prior: Prior | None) -> None:
    array = path.theta.array
    low, high = array.min(axis=0), array.max(axis=0)
    if prior is not None:
        places = [prior.names.index(name) for name in path.theta.names]
        low = np.where(np.isfinite(prior.low[places]), prior.low[places], low)
        high = np.where(np.isfinite(prior.high[places]), prior.high[places], high)
    width = np.where(high > low, high - low, 1.0)
    unit = (array - low) / width
    edges = np.concatenate(
        [[0.0], (path.position[1:] + path.position[:-1]) / 2, path.position[-1:]]
    )
    mesh = axes.pcolormesh(
        edges, np.arange(len(low) + 1), unit.T, cmap=style.HEIGHT, vmin=0, vmax=1, rasterized=True
    )
    labels = [style.short_label(c) for c in path.theta.columns]
    axes.set_yticks(np.arange(len(low)) + 0.5, labels)
    axes.invert_yaxis()
    style.tidy(axes, keep=())
    axes.tick_params(axis="y", length=0, labelsize=style.SMALL)
    axes.set_xlabel("length along the path (prior sd)", fontsize=style.NORMAL)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"], fontsize=style.SMALL)
    bar.outline.set_visible(False)  # type: ignore[operator]


def animate_path(
    walk: Steps,
    path: str | os.PathLike,
    *,
    prior: Prior,
    window: tuple[float, float] | None = None,
    fps: float = 4.0,
    dpi: float = 110,
) -> str:
    """Write an animation of a walk: parameters, a trace, and the share of valid simulations.

    Args:
        walk: of ``landscape.walk(..., traces=True)``.
        path: a local path or fsspec URL that ends in ``.gif``, or in ``.mp4``, for which ffmpeg
            must be installed (a program of that name, or the package imageio-ffmpeg).
        prior: whose bounds end the axes of the parameters.
        window: first and last time of the traces to show.
        fps: frames a second; the last stays for two seconds.
        dpi: dots per inch.

    Returns:
        The path.

    Raises:
        ValueError: if there are no traces or none is finite, the ending is another, or a number is
            not above 0.
        RuntimeError: if ffmpeg is needed and not there.
    """
    path = checked(path, fps, dpi)
    if walk.traces is None:
        raise ValueError("Expected a walk with traces; got none: landscape.walk(..., traces=True).")
    return write(_Film(walk, walk.traces, prior, window), path, fps, dpi)


class _Film:
    """A figure that can show any point of a walk."""

    def __init__(self, walk: Steps, traces: Traces, prior: Prior, window) -> None:
        self.walk = walk
        time = np.asarray(traces.time, float)
        first, last = (time[0], time[-1]) if window is None else window
        self.inside = (time >= first) & (time <= last)
        if self.inside.sum() < 2:
            raise ValueError(f"Expected a window inside {time[0]:g} to {time[-1]:g}; got {window}.")
        self.values = np.asarray(traces.values, float)[:, :, self.inside]
        d = len(walk.theta.columns)
        self.figure = style.new_figure(7.2, max(0.16 * d, 2.6) + 0.5)
        halves: Any = self.figure.subfigures(1, 2, width_ratios=[1, 2])
        left, right = halves
        self._draw_parameters(left.subplots(), prior)
        top, bottom = right.subplots(2, 1, height_ratios=[3, 1])
        self._draw_traces(top, traces, time)
        _draw_valid(bottom, {"valid": walk})
        self.marker = bottom.axvline(0, color=style.VERMILLION, lw=style.THICK)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def __len__(self) -> int:
        return len(self.values)

    def _draw_parameters(self, axes: Axes, prior: Prior) -> None:
        array = self.walk.theta.array
        low = np.where(np.isfinite(prior.low), prior.low, array.min(axis=0))
        high = np.where(np.isfinite(prior.high), prior.high, array.max(axis=0))
        self.unit = (array - low) / np.where(high > low, high - low, 1.0)
        rows = np.arange(array.shape[1])
        style.tidy(axes, keep=())
        axes.hlines(rows, 0, 1, color=style.GREY, lw=style.HAIR)
        self.dots = axes.plot(self.unit[0], rows, "o", color=style.BLUE, ms=4)[0]
        axes.set_yticks(rows, [style.short_label(c) for c in self.walk.theta.columns])
        axes.tick_params(axis="y", length=0, labelsize=style.SMALL)
        axes.set(xlim=(-0.03, 1.03), ylim=(len(rows) - 0.5, -0.5))
        axes.set_xticks([0, 1], ["least", "most"])

    def _draw_traces(self, axes: Axes, traces: Traces, time: np.ndarray) -> None:
        style.tidy(axes, keep=("bottom",))
        known = self.values[np.isfinite(self.values)]
        if not known.size:
            raise ValueError(
                "Expected traces with finite values; got none in the window: look at other points "
                "of the path, or lower the model's time step."
            )
        low, high = known.min(), known.max()
        if low == high:
            low, high = low - 0.5, high + 0.5
        self.step = 1.1 * (high - low)
        colours = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
        self.lines = []
        for k in range(self.values.shape[1]):
            line = axes.plot(
                time[self.inside], self.values[0, k] - k * self.step, lw=0.7,
                color=colours[k % len(colours)],
            )  # fmt: skip
            self.lines.append(line[0])
        axes.set_ylim(low - (self.values.shape[1] - 1) * self.step, high)
        middles = (low + high) / 2 - self.step * np.arange(self.values.shape[1])
        axes.set_yticks(middles, list(traces.channels))
        axes.tick_params(axis="y", length=0, labelsize=style.NORMAL)
        axes.margins(x=0)
        axes.set_xlabel(f"time ({traces.time_unit})", fontsize=style.NORMAL)

    def show(self, i: int) -> None:
        """Draw point i in place of what is there."""
        self.dots.set_xdata(self.unit[i])
        for k, line in enumerate(self.lines):
            line.set_ydata(self.values[i, k] - k * self.step)
        share = self.walk.distances[i] / max(float(self.walk.distances[-1]), 1e-300)
        self.marker.set_xdata([share, share])
