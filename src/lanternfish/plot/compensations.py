"""What parameters do together: conditional correlations and densities, active directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lanternfish.core import Prior
from lanternfish.plot import style

SIGNED = LinearSegmentedColormap.from_list("signed", [style.VERMILLION, "#FFFFFF", style.BLUE])
_SURE = 2.0  # errors from 0 below which a correlation is crossed out
_NAMED = 12  # parameters of an active direction that are shown


def compensation(found: Any, *, limit: float | None = None) -> Figure:
    """Conditional correlations below the diagonal, marginal ones above it, and the widening.

    A small cross marks conditional correlations less than two errors from 0.

    Args:
        found: of ``landscape.compensation``.
        limit: of the colours; the largest correlation where left out.
    """
    d = len(found.columns)
    side = max(2.4, 0.21 * d)
    figure = style.new_figure(1.45 * side + 1.4, side + 0.8)
    left, right = figure.subplots(1, 2, width_ratios=[1, 0.34])
    lower = np.tril(np.ones((d, d), bool), -1)
    shown = np.where(lower, found.correlation, found.marginal)
    shown[np.diag_indices(d)] = np.nan
    top = float(np.nanmax(np.abs(shown))) if limit is None else float(limit)
    image = left.imshow(shown, cmap=SIGNED, vmin=-top, vmax=top)
    unsure = lower & (np.abs(found.correlation) < _SURE * found.error)
    rows, columns = np.nonzero(unsure)
    left.plot(columns, rows, "x", color=style.GREY, ms=max(1.5, 30 / d), mew=0.5)
    labels = [style.short_label(c) for c in found.columns]
    left.set_xticks(range(d), labels, rotation=90)
    left.set_yticks(range(d), labels)
    style.tidy(left, keep=())
    left.tick_params(length=0, labelsize=style.SMALL)
    left.set_title("given all others (below), marginal (above)", fontsize=style.NORMAL, loc="left")
    bar = figure.colorbar(image, ax=left, fraction=0.046, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=style.SMALL, length=2)
    bar.ax.set_title("correlation", fontsize=style.SMALL, loc="left")
    _draw_widening(right, found, labels)
    return figure


def _draw_widening(axes: Axes, found: Any, labels: list[str]) -> None:
    rows = np.arange(len(labels))
    axes.barh(rows, found.widening - 1, left=1, color=style.SKY, height=0.7)
    axes.errorbar(
        found.widening, rows, xerr=found.widening_error, fmt="none", ecolor=style.BLACK,
        elinewidth=style.THIN,
    )  # fmt: skip
    axes.axvline(1, color=style.GREY, lw=style.HAIR)
    axes.set_yticks(rows, labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    style.tidy(axes, keep=("bottom",))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("marginal / conditional sd", fontsize=style.NORMAL)


def conditionals(found: Any, *, prior: Prior | None = None, samples=None) -> Figure:
    """Conditional densities of single parameters and of pairs, all others held at one point.

    Args:
        found: of ``landscape.conditional_pairs``.
        prior: ends the axes at its bounds where they are near.
        samples: of the posterior, a table: their marginals are drawn beside the conditional
            densities.
    """
    columns = found.columns
    k = len(columns)
    figure = style.new_figure(max(2.8, 1.25 * k + 0.5), max(2.8, 1.25 * k + 0.4))
    panels = figure.subplots(k, k, squeeze=False)
    limits = [_limits(found, i, prior, samples) for i in range(k)]
    for i in range(k):
        for j in range(k):
            axes = panels[i][j]
            if j > i:
                axes.set_visible(False)
                continue
            if i == j:
                _draw_line(axes, found, i, samples)
            else:
                _draw_plane(axes, found, i, j)
                axes.set_ylim(*limits[i])
            axes.set_xlim(*limits[j])
            axes.locator_params(nbins=3)
            axes.tick_params(labelbottom=i == k - 1, labelleft=j == 0 and i > 0)
            if i == k - 1:
                axes.set_xlabel(style.axis_label(columns[j]), fontsize=style.NORMAL)
            if j == 0 and i > 0:
                axes.set_ylabel(style.axis_label(columns[i]), fontsize=style.NORMAL)
    looks = {"given all others": Line2D([], [], color=style.BLUE, lw=style.THICK)}
    if samples is not None:
        looks["marginal"] = Line2D([], [], color=style.GREY, lw=style.THIN, ls="--")
    style.legend(figure, looks)
    return figure


def _limits(found: Any, i: int, prior: Prior | None, samples) -> tuple[float, float]:
    ends = [found.lines[i][0][[0, -1]]]
    ends += [axes[a][[0, -1]] for (x, y), (axes, _) in found.planes.items()
             for a, which in enumerate((x, y)) if which == i]  # fmt: skip
    name = found.columns[i].name
    if samples is not None:
        ends.append(np.quantile(samples[name], [0.005, 0.995]))
    low, high = float(np.min(ends)), float(np.max(ends))
    if prior is not None and name in prior.names:
        place = prior.names.index(name)
        low, high = max(low, float(prior.low[place])), min(high, float(prior.high[place]))
    return low, high


def _draw_line(axes: Axes, found: Any, i: int, samples) -> None:
    x, density = found.lines[i]
    style.tidy(axes, keep=("bottom",))
    axes.fill_between(x, 0, density, color=style.BLUE, alpha=0.15, lw=0)
    axes.plot(x, density, color=style.BLUE, lw=style.THICK)
    if samples is not None:
        heights, edges = np.histogram(samples[found.columns[i].name], 40, density=True)
        middle = (edges[1:] + edges[:-1]) / 2
        axes.plot(middle, heights, color=style.GREY, lw=style.THIN, ls="--")
    axes.axvline(found.at[i], color=style.VERMILLION, lw=style.HAIR)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])


def _draw_plane(axes: Axes, found: Any, i: int, j: int) -> None:
    (x, y), density = found.planes[(j, i)]
    style.tidy(axes, keep=("left", "bottom"))
    axes.pcolormesh(x, y, density.T, cmap=style.DENSITY, rasterized=True, shading="gouraud")
    axes.plot(found.at[j], found.at[i], "+", color=style.VERMILLION, ms=4, mew=0.8)


def active_subspace(found: Any) -> Figure:
    """Eigenvalues, the first direction, and the statistic along it.

    Args:
        found: of ``landscape.active_subspace``.
    """
    shown = np.argsort(-np.abs(found.vectors[0]), kind="stable")[:_NAMED]
    figure = style.new_figure(7.2, max(2.2, 0.2 * len(shown) + 0.9))
    values, weights, along = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    k = np.arange(1, len(found.eigenvalues) + 1)
    top = found.eigenvalues[0]
    floor = 1e-5 * top
    lower = np.minimum(found.error, np.maximum(found.eigenvalues - floor, 0))
    values.errorbar(
        k, np.maximum(found.eigenvalues, floor), yerr=[lower, found.error], fmt="o", ms=3,
        color=style.BLUE, elinewidth=style.THIN,
    )  # fmt: skip
    values.set_yscale("log")
    values.set_ylim(floor, 3 * top)
    values.set_xlabel("direction", fontsize=style.NORMAL)
    values.set_ylabel("mean squared slope", fontsize=style.NORMAL)
    rows = np.arange(len(shown))
    weight = found.vectors[0][shown]
    colours = [style.BLUE if w > 0 else style.VERMILLION for w in weight]
    weights.barh(rows, weight, color=colours, height=0.7)
    weights.set_yticks(rows, [style.short_label(found.columns[i]) for i in shown])
    weights.set_ylim(len(rows) - 0.5, -0.5)
    weights.axvline(0, color=style.GREY, lw=style.HAIR)
    weights.set_xlabel("weight in $w_1$", fontsize=style.NORMAL)
    known = np.isfinite(found.values)
    place = found.project()
    along.plot(
        place[known] - place[known].mean(), found.values[known], ".", ms=2, color=style.BLACK,
        alpha=0.4, mew=0, rasterized=True,
    )  # fmt: skip
    along.set_xlabel("distance along $w_1$", fontsize=style.NORMAL)
    along.set_ylabel(style.axis_label(found.column), fontsize=style.NORMAL)
    for axes in (values, weights, along):
        style.tidy(axes)
    weights.tick_params(axis="y", length=0)
    return figure


def modes(found: Any, *, prior: Prior | None = None, most: int = 6) -> Figure:
    """Share of each mode, and where in the prior each has its parameters.

    Args:
        found: of ``landscape.modes``.
        prior: whose bounds end the axes; those of the samples where left out.
        most: modes shown, the largest first; no more than there are looks.
    """
    k = min(len(found), int(most), len(style.SERIES))
    if k < 1:
        raise ValueError(f"Expected at least one mode to show; got most={most}.")
    array = found.theta.array[:k]
    low, high = found.samples.array.min(axis=0), found.samples.array.max(axis=0)
    if prior is not None:
        low = np.where(np.isfinite(prior.low), prior.low, low)
        high = np.where(np.isfinite(prior.high), prior.high, high)
    d = len(found.theta.columns)
    figure = style.new_figure(6.4, max(1.8, 0.18 * d + 0.8))
    shares, places = figure.subplots(1, 2, width_ratios=[1, 2])
    rows = np.arange(k)
    colours = [style.SERIES[i][0] for i in rows]
    shares.barh(rows, found.share[:k], color=colours, height=0.7)
    shares.errorbar(
        found.share[:k], rows, xerr=found.error[:k], fmt="none", ecolor=style.BLACK,
        elinewidth=style.THIN,
    )  # fmt: skip
    shares.set_yticks(rows, [f"mode {i + 1}" for i in rows])
    shares.set_ylim(k - 0.5, -0.5)
    shares.set_xlabel("share of the samples", fontsize=style.NORMAL)
    unit = (array - low) / np.where(high > low, high - low, 1.0)
    lines = np.arange(d)
    places.hlines(lines, 0, 1, color=style.GREY, lw=style.HAIR)
    for i in rows:
        places.plot(unit[i], lines, "osD^vP*"[i], color=colours[i], ms=4.5, mew=0, alpha=0.85)
    places.set_yticks(lines, [style.short_label(c) for c in found.theta.columns])
    places.set_ylim(d - 0.5, -0.5)
    places.set_xticks([0, 1], ["least", "most"])
    for axes in (shares, places):
        style.tidy(axes, keep=("bottom",))
        axes.tick_params(axis="y", length=0, labelsize=style.SMALL)
    return figure
