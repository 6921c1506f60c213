"""Statistics along a direction of the parameters: what a perturbation test simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lanternfish.core import Column, Table
from lanternfish.plot import inputs, style

_DOTS = 15  # distances up to which each has a dot


class Walk(Protocol):
    """What is drawn: ``lanternfish.landscape.Perturbation``, or anything with these."""

    @property
    def distances(self) -> np.ndarray:
        """Shape (m,)."""
        ...

    @property
    def mean(self) -> Table:
        """Of the trials of each distance, (m, k); NaN where there is none."""
        ...

    @property
    def sd(self) -> Table:
        """Over the trials of each distance, (m, k)."""
        ...


def perturbation(
    walks: Walk | Mapping[str, Walk],
    *,
    target: Mapping[str, tuple[float, float]] | None = None,
    names: Sequence[str] | None = None,
    unit: str = "widths of the prior",
) -> Figure:
    """Mean of each statistic against the distance, with a band of one standard deviation.

    Args:
        walks: a result of ``landscape.perturb``, or several by the names of their directions.
        target: mean and standard deviation of statistics by name; that of the first walk where left
            out, if it has one.
        names: statistics to show, in order; all where left out.
        unit: of the distance.

    Raises:
        ValueError: if there is no walk, statistics differ between walks, or shapes do not fit.
    """
    drawn = _checked(walks, names)
    first = next(iter(drawn.values()))
    goal = getattr(next(iter(_by_name(walks).values())), "target", {}) if target is None else target
    goal = _targets(goal, first[1].names)
    columns = first[1].columns
    rows, across = style.grid_shape(len(columns), 3)
    figure = style.new_figure(max(3.4, 2.5 * across), 2.0 * rows + 0.5)
    panels = figure.subplots(rows, across, squeeze=False, sharex=True).ravel()
    for i, (axes, column) in enumerate(zip(panels, columns, strict=False)):
        for walk, look in zip(drawn.values(), style.SERIES, strict=False):
            _draw(axes, walk, column, look)
        if column.name in goal:
            _draw_target(axes, *goal[column.name])
        _finish(axes, column, bottom=i + across >= len(columns), unit=unit)
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    _legend(figure, list(drawn), bool(goal))
    return figure


def _by_name(walks) -> Mapping[str, Walk]:
    return walks if isinstance(walks, Mapping) else {"mean": walks}


def _checked(walks, names: Sequence[str] | None) -> dict[str, tuple[np.ndarray, Table, Table]]:
    """Distances in order, means and standard deviations, by the name of each walk."""
    found = {}
    most = len(style.SERIES)
    given = _by_name(walks)
    if not 1 <= len(given) <= most:
        raise ValueError(f"Expected one to {most} walks; got {len(given)}.")
    for name, walk in given.items():
        missing = [part for part in ("distances", "mean", "sd") if not hasattr(walk, part)]
        if missing:
            raise ValueError(
                f"Expected a walk with distances, mean and sd; got one without "
                f"{', '.join(missing)}: {type(walk).__name__}."
            )
        distances = np.asarray(walk.distances, np.float64)
        mean, sd = (inputs.chosen(t, names) for t in (walk.mean, walk.sd))
        if distances.shape != (len(mean),) or len(mean) != len(sd) or not len(mean):
            raise ValueError(
                "Expected a mean and a standard deviation for each distance; got "
                f"{distances.size}, {len(mean)} and {len(sd)} of them."
            )
        order = np.argsort(distances, kind="stable")
        found[name] = distances[order], mean[order], sd[order]
    kinds = {mean.names for _, mean, _ in found.values()}
    if len(kinds) > 1:
        raise ValueError("Expected the same statistics in each walk; got others: give names.")
    return found


def _targets(target, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    found = {}
    for name, value in (target or {}).items():
        pair = np.atleast_1d(np.asarray(value, np.float64))
        if pair.shape not in ((1,), (2,)) or not np.isfinite(pair).all():
            raise ValueError(
                f"Expected a number, or mean and standard deviation, for {name}; got {value!r:.80}."
            )
        if name in names:
            found[name] = float(pair[0]), float(pair[1]) if len(pair) > 1 else 0.0
    return found


def _draw(axes: Axes, walk: tuple, column: Column, look: tuple) -> None:
    distances, mean, sd = walk
    colour, dashes = look
    middle, spread = mean[column.name], np.nan_to_num(sd[column.name])
    known = np.isfinite(middle)
    band = {"color": colour, "alpha": 0.2, "lw": 0, "zorder": 2}
    axes.fill_between(distances, middle - spread, middle + spread, where=known, **band)
    marker = {"marker": "o", "ms": 2.8} if len(distances) <= _DOTS else {}
    axes.plot(distances, middle, color=colour, ls=dashes, lw=style.THICK, zorder=4, **marker)


def _draw_target(axes: Axes, mean: float, sd: float) -> None:
    look: Any = {"color": style.BLACK, "zorder": 1}
    if sd:
        axes.axhspan(mean - sd, mean + sd, alpha=0.1, lw=0, **look)
    axes.axhline(mean, lw=style.THIN, ls=(0, (5, 2)), **look)


def _finish(axes: Axes, column: Column, bottom: bool, unit: str) -> None:
    style.tidy(axes)
    axes.axvline(0, color=style.GREY, lw=style.HAIR, zorder=0)
    axes.margins(x=0.02, y=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel(style.axis_label(column), fontsize=style.NORMAL, labelpad=2)
    axes.tick_params(labelbottom=bottom)
    if bottom:
        text = f"distance ({style.unit_text(unit)})" if unit else "distance"
        axes.set_xlabel(text, fontsize=style.NORMAL, labelpad=2)


def _legend(figure: Figure, names: list[str], target: bool) -> None:
    handles: dict = {}
    for name, (colour, dashes) in zip(names, style.SERIES, strict=False):
        handles[name] = Line2D([], [], color=colour, ls=dashes, lw=style.THICK)
    handles["± 1 sd of trials"] = Patch(color=style.GREY, alpha=0.4, lw=0)
    if target:
        handles["target"] = Line2D([], [], color=style.BLACK, ls=(0, (5, 2)), lw=style.THIN)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=3 if len(handles) > 4 or figure.get_figwidth() < 4 else len(handles),
        columnspacing=1.2,
        handlelength=1.8,
        fontsize=style.SMALL,
        frameon=False,
    )
