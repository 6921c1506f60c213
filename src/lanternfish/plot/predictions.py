"""Predictive check: each statistic of the predictions beside its measured value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lanternfish.core import Column, EmergentProperty, Observation, Table
from lanternfish.core.summaries import in_numbers
from lanternfish.plot import densities, inputs, style
from lanternfish.plot.scales import Scale, number_text

_TAIL = 0.02  # of the predictions beyond each end of an axis
_FAR = 0.5  # of the width of 90 % of them, how far beyond it an axis goes
_FEW = 30  # predictions below which each is drawn


def predictive(
    x: Table,
    observation: Observation | EmergentProperty,
    *,
    columns: Sequence[str] | None = None,
) -> Figure:
    """The distribution of each predicted statistic, on an axis in its unit, and what was measured.

    Bars hold 50 and 90 % of the predictions. Predictions without a value (NaN) are counted above
    the panels and left out of them. Of arrays the mean and standard deviation of each channel are
    drawn.

    Args:
        x: predicted statistics (n, k), for example of simulations of posterior samples.
        observation: the measured values, or a property, whose wanted means are drawn with their
            standard deviations; a statistic without one is drawn alone.
        columns: names of the statistics to show, in order; all where left out.

    Raises:
        ValueError, TypeError: if names are unknown, or there is no prediction.
    """
    if not isinstance(x, Table):
        raise TypeError(f"Expected predictions as a Table; got {type(x).__name__}.")
    if not len(x):
        raise ValueError("Expected at least one prediction; got none.")
    table = inputs.chosen(x, columns)
    unknown = [name for name in observation if name not in x.names]
    if unknown:
        raise ValueError(
            f"Expected an observation of {', '.join(x.names)}; got {', '.join(unknown)} too."
        )
    wanted = observation if isinstance(observation, EmergentProperty) else {}
    values: dict[str, Any] = {n: m.mean for n, m in wanted.items()} if wanted else dict(observation)
    measured = {c.name: values[c.name] for c in table.columns if c.name in values}
    if any(c.is_array for c in table.columns):
        known = [c for c in table.columns if c.name in measured]
        if measured:
            summaries = in_numbers(Observation(**measured).table_for(known))
            measured = {name: float(summaries[name][0]) for name in summaries.names}
        table = in_numbers(table)
    k = len(table.columns)
    rows, across = style.grid_shape(k, 1 if k <= 2 else 2 if k <= 8 else 3)
    figure = style.new_figure(max(3.4, 2.5 * across), 0.98 * rows + 0.5)
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for axes, column in zip(panels, table.columns, strict=False):
        sd = wanted[column.name].sd if column.name in wanted else None
        scale = _draw(axes, table[column.name], measured.get(column.name), column, sd)
        style.set_ticks(axes, scale, 4, figure.get_figwidth() / across - 0.2)
    for axes in panels[k:]:
        axes.set_visible(False)
    _head(figure, table, "wanted" if wanted else "measured")
    return figure


def _draw(
    axes: Axes, values: np.ndarray, measured: float | None, column: Column, sd: float | None
) -> Scale:
    """One panel; returns its axis. With sd, what was measured is what was wanted, plus or minus."""
    style.tidy(axes, keep=("bottom",))
    axes.set(xlim=(0, 1), ylim=(-0.42, 1.05), yticks=[])
    known = values[np.isfinite(values)]
    held = [] if measured is None else [measured] if sd is None else [measured - sd, measured + sd]
    scale = _scale(known, held)
    if len(known):
        _draw_known(axes, scale.to_unit(known))
    else:
        axes.text(0.5, 0.5, "no prediction has a value", ha="center", fontsize=style.SMALL)
    text = style.axis_label(column)
    if measured is not None:
        place = float(scale.to_unit(measured))
        axes.axvline(place, color=style.VERMILLION, lw=style.THICK, zorder=5)
        told = "measured"
        if sd is not None:
            ends = scale.to_unit(np.array([measured - sd, measured + sd]))
            axes.axvspan(*ends, color=style.VERMILLION, alpha=0.15, lw=0, zorder=0)
            told = f"± {number_text(sd)} wanted"
        text = f"{text}: {number_text(measured)} {told}"
    axes.set_title(text, fontsize=style.SMALL + 0.5, loc="left", pad=2)
    return scale


def _draw_known(axes: Axes, unit: np.ndarray) -> None:
    """Density with bars for 50 and 90 % below it; single strokes of a few predictions."""
    if len(unit) < _FEW:
        axes.vlines(unit, 0, 0.5, color=style.BLUE, lw=style.THIN)
    else:
        height = densities.marginal(unit, reflect=False)
        height = height / (height.max() or 1.0)
        axes.fill_between(densities.centres(), height, color=style.BLUE, alpha=0.25, lw=0)
        axes.plot(densities.centres(), height, color=style.BLUE, lw=style.THIN)
    for tail, width in ((0.05, 1.5), (0.25, 5.0)):
        ends = np.quantile(unit, [tail, 1 - tail])
        axes.plot(ends, [-0.2, -0.2], color=style.BLUE, lw=width, solid_capstyle="butt")
    axes.plot(np.median(unit), -0.2, color="white", marker="|", ms=5, mew=1.2, zorder=4)


def _scale(known: np.ndarray, measured: list[float]) -> Scale:
    """Almost all predictions and the measured values, with air at both ends."""
    held = [*(_bulk(known) if len(known) else []), *measured]
    low, high = (min(held), max(held)) if held else (0.0, 1.0)
    size = max(abs(low), abs(high))
    air = 0.08 * (high - low) if high - low > 1e-9 * size else 0.1 * size or 1.0
    return Scale(low - air, high + air)


def _bulk(known: np.ndarray) -> list[float]:
    """Ends of the predictions but their tails, nor far beyond what the bars hold."""
    low, first, last, high = np.quantile(known, [_TAIL, 0.05, 0.95, 1 - _TAIL])
    reach = _FAR * (last - first)
    return [max(low, first - reach), min(high, last + reach)]


def _head(figure: Figure, table: Table, told: str) -> None:
    whole = int(np.isfinite(table.array).all(axis=1).sum())
    handles = {
        f"predicted ({whole:,} of {len(table):,} complete)": Line2D([], [], color=style.BLUE, lw=4),
        told: Line2D([], [], color=style.VERMILLION, lw=style.THICK),
    }
    style.legend(figure, handles)
