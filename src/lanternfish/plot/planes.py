"""A statistic over the plane of two parameters, beside the posterior that should follow it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lanternfish.core import Column, Prior, Table
from lanternfish.plot import arrows as directions
from lanternfish.plot import inputs, style
from lanternfish.plot.scales import Scale, scale_of

_SHADES = LinearSegmentedColormap.from_list(
    "statistic", ["#FFFFFF", "#DCDCDC", "#9A9A9A", "#6E6E6E"]
)
_LEVELS = 12  # shades of the statistic
_TAIL = 0.01  # of the grid's values beyond each end of the shades
_MOST = 2_000  # samples that are drawn


def contours(
    theta: Table,
    x: Table,
    *,
    target: tuple[float, float] | None = None,
    samples: Table | None = None,
    mode=None,
    arrows=None,
    prior: Prior | None = None,
) -> Figure:
    """Shades of a statistic over two parameters, with the target's contour and the samples.

    Args:
        theta: a full grid of two parameters, a table (n, 2) in any order.
        x: the statistic at each point, a table (n, 1); NaN where there is none.
        target: mean and standard deviation of the statistic, in its unit: contours at the mean and
            one and two standard deviations from it.
        samples: of the posterior, a table that has the two parameters.
        mode: one point, by name or in order.
        arrows: changes of the parameters from the mode, as for ``landscape``.
        prior: makes the axis of a log-uniform or log-normal parameter logarithmic.

    Raises:
        ValueError, TypeError: if the points are no full grid of two parameters, or shapes or names
            do not fit.
    """
    grid, values = _grid(theta, x)
    point = inputs.as_point(mode, theta, "mode")
    changes = inputs.as_arrows(arrows, theta)
    if len(changes) and point is None:
        raise ValueError("Expected a mode, where arrows start; got arrows alone.")
    dots = None
    if samples is not None:
        dots = inputs.chosen(inputs.as_samples(samples), theta.names).array[:_MOST]
    prior = inputs.prior_of(theta, prior, theta)
    scales = [
        _ended(scale_of([ends], prior, c.name, "samples"), ends)
        for ends, c in zip(grid, theta.columns, strict=True)
    ]
    figure = style.new_figure(4.3, 3.6)
    axes = figure.add_subplot()
    style.tidy(axes, keep=("left", "bottom", "right", "top"))
    shades = _shade(axes, scales, grid, values)
    if target is not None:
        _draw_target(axes, scales, grid, values, _target(target))
    if dots is not None:
        _draw_samples(axes, scales, dots)
    if point is not None:
        directions.draw(axes, scales, point, directions.STRETCH * changes)
        look = {"mfc": "white", "mec": style.BLACK, "mew": 0.6}
        place = [float(s.to_unit(v)) for s, v in zip(scales, point, strict=True)]
        axes.plot(*place, ls="", marker="*", ms=8, zorder=9, **look)
    _label(figure, axes, scales, theta.columns)
    _bar(figure, axes, shades, x.columns[0])
    missing = bool(np.isnan(values).any())
    _legend(figure, target, dots is not None, point is not None, len(changes), missing)
    return figure


def _grid(theta: Table, x: Table) -> tuple[list[np.ndarray], np.ndarray]:
    """Values of the two parameters, and the statistic, rows along the second of them."""
    for what, table in (("theta", theta), ("x", x)):
        if not isinstance(table, Table):
            raise TypeError(f"Expected {what} as a Table; got {type(table).__name__}.")
    if len(theta.columns) != 2 or x.array.shape[1] != 1:
        raise ValueError(
            "Expected theta of two parameters and x of one statistic, such as table[['a', 'b']]; "
            f"got {len(theta.columns)} and {x.array.shape[1]}."
        )
    first, i = np.unique(theta.array[:, 0], return_inverse=True)
    second, j = np.unique(theta.array[:, 1], return_inverse=True)
    values = np.full((len(second), len(first)), np.nan)
    full = len(theta) == len(x) == values.size and len(set(zip(i, j, strict=True))) == values.size
    if not full or min(values.shape) < 2:
        raise ValueError(
            "Expected every pair of values of the two parameters once, two values or more of each, "
            f"and as many statistics; got {len(theta)} points on {len(first)} x {len(second)} "
            f"values and {len(x)} statistics."
        )
    values[j, i] = np.where(np.isfinite(x.array[:, 0]), x.array[:, 0], np.nan)
    if np.isnan(values).all():
        raise ValueError("Expected a statistic that is finite somewhere on the grid; got none.")
    return [first, second], values


def _ended(scale: Scale, ends: np.ndarray) -> Scale:
    """The axis from the first to the last value of the grid."""
    return Scale(float(ends[0]), float(ends[-1]), scale.log and ends[0] > 0)


def _target(target) -> tuple[float, float]:
    pair = np.asarray(target, np.float64)
    if pair.shape != (2,) or not np.isfinite(pair).all() or pair[1] < 0:
        raise ValueError(f"Expected a target's mean and standard deviation; got {target!r}.")
    return float(pair[0]), float(pair[1])


def _places(scales: list[Scale], grid: list[np.ndarray]) -> list[np.ndarray]:
    return [s.to_unit(v) for s, v in zip(scales, grid, strict=True)]


def _shade(axes: Axes, scales: list[Scale], grid: list, values: np.ndarray) -> QuadContourSet:
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [_TAIL, 1 - _TAIL])
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    levels = MaxNLocator(_LEVELS).tick_values(low, high)
    look: dict[str, Any] = {"cmap": _SHADES, "extend": "both", "zorder": 1}
    axes.set_facecolor("white")
    if np.isnan(values).any():
        axes.patch.set(hatch="////", edgecolor="#C4C4C4", lw=0)
    masked = np.ma.masked_invalid(values)
    return axes.contourf(*_places(scales, grid), masked, levels=levels, **look)


def _draw_target(axes: Axes, scales: list[Scale], grid: list, values: np.ndarray, target) -> None:
    mean, sd = target
    known = values[np.isfinite(values)]
    levels = sorted({mean, mean - sd, mean + sd, mean - 2 * sd, mean + 2 * sd})
    levels = [v for v in levels if known.min() < v < known.max()]
    looks = {0: ("-", 1.8), 1: ((0, (5, 1.5)), 1.2), 2: ((0, (1, 1.2)), 1.2)}
    away = [0 if v == mean else round(abs(v - mean) / sd) for v in levels]
    if levels:
        axes.contour(
            *_places(scales, grid),
            np.ma.masked_invalid(values),
            levels=levels,
            colors=style.GREEN,
            linestyles=[looks[a][0] for a in away],
            linewidths=[looks[a][1] for a in away],
            zorder=4,
        )


def _draw_samples(axes: Axes, scales: list[Scale], dots: np.ndarray) -> None:
    x, y = (s.to_unit(dots[:, i]) for i, s in enumerate(scales))
    seen = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
    look: dict[str, Any] = {"color": style.BLUE, "alpha": 0.7, "lw": 0, "rasterized": True}
    axes.scatter(x[seen], y[seen], s=5, zorder=3, **look)


def _label(figure: Figure, axes: Axes, scales: list[Scale], columns: tuple[Column, ...]) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    style.set_ticks(axes, scales[0], 5, 0.65 * figure.get_figwidth())
    places, texts = scales[1].ticks(5)
    axes.set_yticks(places, texts)
    axes.set_xlabel(style.axis_label(columns[0]), fontsize=style.NORMAL, labelpad=2)
    axes.set_ylabel(style.axis_label(columns[1]), fontsize=style.NORMAL, labelpad=2)


def _bar(figure: Figure, axes: Axes, shades: QuadContourSet, column: Column) -> None:
    bar = figure.colorbar(shades, ax=axes, fraction=0.05, pad=0.02, aspect=28)
    bar.outline.set_linewidth(style.HAIR)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=style.SMALL, width=style.HAIR, length=2)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6))
    bar.set_label(style.axis_label(column), fontsize=style.NORMAL)


def _legend(figure: Figure, target, samples: bool, mode: bool, arrows: int, missing: bool) -> None:
    shown: dict = {}
    if target is not None:
        shown["target"] = Line2D([], [], color=style.GREEN, lw=1.8)
        if target[1]:
            dashed = {"color": style.GREEN, "lw": 1.2}
            shown["± 1 sd"] = Line2D([], [], ls=(0, (5, 1.5)), **dashed)
            shown["± 2 sd"] = Line2D([], [], ls=(0, (1, 1.2)), **dashed)
    if samples:
        shown["samples"] = Line2D([], [], color=style.BLUE, ls="", marker=".", ms=5)
    if mode:
        look = {"mfc": "white", "mec": style.BLACK, "mew": 0.6}
        shown["mode"] = Line2D([], [], ls="", marker="*", ms=8, **look)
    shown |= directions.handles(arrows)
    if missing:
        shown["no value"] = Patch(fc="white", ec="#C4C4C4", hatch="////", lw=0)
    if shown:
        rows = 1 + (len(shown) > 5)
        figure.legend(
            list(shown.values()),
            list(shown),
            loc="outside upper center",
            ncols=-(-len(shown) // rows),
            fontsize=style.SMALL,
            frameon=False,
            handlelength=1.8,
            columnspacing=1.2,
        )
