"""Classes of behaviour: the share of each, and how it changes along every parameter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lanternfish.core import Column, Prior, Table
from lanternfish.core.weighted import share
from lanternfish.plot import inputs, style
from lanternfish.plot.scales import Scale, scale_of

COLOURS = (  # of classes, in their order: neighbours differ in lightness too
    "#DDDDDD", style.SKY, style.BLUE, style.VERMILLION, style.ORANGE, style.GREEN,
    style.PURPLE, style.BLACK,
)  # fmt: skip
_LEVELS = 24  # different values up to which each has a bar of its own
_BINS = 16


def classes(
    theta: Table,
    labels: Sequence,
    *,
    order: Sequence[str] | None = None,
    weight: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    prior: Prior | None = None,
) -> Figure:
    """The share of each class with its 95 % interval, and the shares along each parameter.

    A parameter that decides has bands that rise and fall; bands of one that does not are level.

    Args:
        theta: parameters, a table (n, d).
        labels: the class of each row, (n,).
        order: of the classes, from the bottom up; by share where left out.
        weight: importance weights, (n,).
        names: which parameters to draw, in which order; all where left out.
        prior: makes the axis of a log-uniform or log-normal parameter logarithmic.

    Raises:
        ValueError, TypeError: if lengths or names do not fit, or there are more than eight classes.
    """
    table = inputs.chosen(inputs.as_samples(theta, "theta"), names)
    codes, known = as_codes(labels, len(table), order)
    w = np.ones(len(table)) if weight is None else np.asarray(weight, np.float64)
    if w.shape != (len(table),):
        raise ValueError(f"Expected weights of shape ({len(table)},); got {w.shape}.")
    d = len(table.columns)
    rows, across = style.grid_shape(d, 4 if d <= 12 else 6)
    tall, width = 0.22 * len(known) + 0.45, max(4.2, 1.75 * across)
    figure = style.new_figure(width, tall + 1.35 * rows + 0.3)
    parts = np.ravel(figure.subfigures(2, 1, height_ratios=[tall, 1.35 * rows], squeeze=False))
    _draw_shares(parts[0].subplots(), codes, known, w)
    panels = np.ravel(parts[1].subplots(rows, across, squeeze=False))
    for i, column in enumerate(table.columns):
        prior = inputs.prior_of(table, prior, table)
        scale = scale_of([table.array[:, i]], prior, column.name, "samples")
        _draw_along(panels[i], table.array[:, i], codes, w, scale, len(known))
        style.set_ticks(panels[i], scale, 3, width / across - 0.3)
        panels[i].set_xlabel(style.axis_label(column), fontsize=style.NORMAL, labelpad=2)
        if i % across:
            panels[i].set_yticks([])
        else:
            panels[i].set_yticks([0, 0.5, 1], ["0", "50", "100 %"])
    for panel in panels[d:]:
        panel.set_visible(False)
    return figure


def as_codes(
    labels: Sequence, n: int, order: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Labels as numbers into the names of the classes, and these names.

    Raises:
        ValueError: if they are not n, not in the order, or more classes than there are colours.
    """
    found = np.asarray(labels)
    if found.shape != (n,):
        raise ValueError(f"Expected a label for each of {n:,} rows; got shape {found.shape}.")
    known, codes, counts = np.unique(found.astype(str), return_inverse=True, return_counts=True)
    names = known[np.argsort(-counts, kind="stable")].tolist() if order is None else list(order)
    strange = [name for name in known if name not in names]
    if strange:
        raise ValueError(f"Expected labels out of {', '.join(names)}; got {', '.join(strange)}.")
    if len(names) > len(COLOURS):
        raise ValueError(
            f"Expected at most {len(COLOURS)} classes, as many as colours can be told apart; got "
            f"{len(names)}: join some."
        )
    return np.array([names.index(name) for name in known])[codes], names


def handles(names: Sequence[str]) -> dict[str, Patch]:
    """Patches of the classes, for a legend."""
    return {
        name: Patch(facecolor=COLOURS[i], edgecolor=style.GREY, lw=style.HAIR)
        for i, name in enumerate(names)
    }


def _draw_shares(axes: Axes, codes: np.ndarray, names: list[str], weight: np.ndarray) -> None:
    found = [share(codes == i, weight) for i in range(len(names))]
    values = np.array([s.value for s in found])
    ends = np.array([[s.value - s.low, s.high - s.value] for s in found]).T
    places = np.arange(len(names))
    colours = [COLOURS[i] for i in places]
    axes.barh(places, values, color=colours, edgecolor=style.GREY, lw=style.HAIR, height=0.75)
    axes.errorbar(
        values, places, xerr=np.maximum(ends, 0), fmt="none", ecolor=style.BLACK,
        elinewidth=style.THIN,
    )  # fmt: skip
    for place, s in zip(places, found, strict=True):
        text = f" {100 * s.value:.3g} %" if s.value > 0 else " none"
        axes.text(s.high, float(place), text, va="center", fontsize=style.SMALL)
    axes.set_yticks(places, names, fontsize=style.NORMAL)
    axes.set(xlim=(0, 1.12 * max(s.high for s in found) + 0.05), ylim=(-0.5, len(names) - 0.5))
    style.tidy(axes, keep=("left",))
    axes.tick_params(axis="y", labelsize=style.NORMAL)
    axes.set_xticks([])


def _draw_along(
    axes: Axes,
    values: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    scale: Scale,
    classes: int,
) -> None:
    """Shares of the classes in bins along one parameter, on top of each other."""
    places = scale.to_unit(values)
    levels = np.unique(places)
    if len(levels) <= _LEVELS:
        middles = (levels[1:] + levels[:-1]) / 2
        edges = np.concatenate([[min(0.0, levels[0])], middles, [max(1.0, levels[-1])]])
    else:
        edges = np.linspace(0, 1, _BINS + 1)
    bins = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(bins * classes + codes, weight, (len(edges) - 1) * classes)
    counts = counts.reshape(-1, classes)
    whole = counts.sum(axis=1, keepdims=True)
    stacked = np.cumsum(counts / np.where(whole > 0, whole, np.nan), axis=1)
    below = np.zeros(len(edges) - 1)
    for i in range(classes):
        heights = stacked[:, i] - below
        axes.bar(
            edges[:-1], np.nan_to_num(heights), np.diff(edges), below, align="edge",
            color=COLOURS[i], lw=0, antialiased=False,
        )  # fmt: skip
        below = np.nan_to_num(stacked[:, i])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    style.tidy(axes)


def importance(
    columns: Sequence[Column], bits: np.ndarray, error: np.ndarray, chance: float
) -> Figure:
    """What each parameter by itself says about the class, in bits, the most telling on top.

    Args:
        columns: the parameters, d of them.
        bits: mutual information of each with the class, (d,).
        error: standard error of each, (d,).
        chance: what parameters without a say may reach.

    Raises:
        ValueError: if lengths differ.
    """
    bits, error = np.asarray(bits, np.float64), np.asarray(error, np.float64)
    if not len(columns) or bits.shape != (len(columns),) or error.shape != bits.shape:
        raise ValueError(
            f"Expected bits and errors of shape ({len(columns)},); got {bits.shape} and "
            f"{error.shape}."
        )
    order = np.argsort(bits, kind="stable")
    figure = style.new_figure(3.8, 0.17 * len(columns) + 0.7)
    axes, places = figure.subplots(), np.arange(len(columns))
    told = bits[order] > chance
    axes.barh(places, bits[order], color=np.where(told, style.BLUE, "#C9C9C9"), height=0.7)
    axes.errorbar(
        bits[order], places, xerr=error[order], fmt="none", ecolor=style.BLACK,
        elinewidth=style.THIN,
    )  # fmt: skip
    axes.axvline(chance, color=style.VERMILLION, ls="--", lw=style.THIN)
    names = [style.short_label(columns[i]) for i in order]
    axes.set_yticks(places, names)
    style.tidy(axes)
    axes.set_ylim(-0.6, len(columns) - 0.4)
    axes.set_xlabel("bits about the class (dashed: chance)", fontsize=style.NORMAL)
    return figure
