"""Checks of a run: one figure each, and all of them on one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lanternfish.core.checks import Check, Checks
from lanternfish.plot import style

_MOST = 12  # statistics or parameters that are named in a panel
_FAR = 8.0  # deviations at which an axis ends


def draw(check: Check) -> Figure:
    """The figure of one check; ``Check.plot`` calls it.

    Raises:
        ValueError: if the check has no picture.
    """
    if not check.picture:
        raise ValueError(f"Expected a check with a picture; got {check.name}, which is words only.")
    kind = check.picture["kind"]
    figure = style.new_figure(*_SIZES[kind])
    _KINDS[kind](figure, check.picture)
    _title(figure, check)
    return figure


def checks(found: Checks) -> Figure:
    """All checks that have a picture, side by side.

    Raises:
        ValueError: if none has one.
    """
    shown = [check for check in found.values() if check.picture]
    if not shown:
        raise ValueError("Expected checks with pictures; got none.")
    rows, across = style.grid_shape(len(shown), 3)
    figure = style.new_figure(3.1 * across, 2.5 * rows)
    panels = figure.subfigures(rows, across, squeeze=False).ravel()
    for panel, check in zip(panels, shown, strict=False):
        _KINDS[check.picture["kind"]](panel, check.picture)
        _title(panel, check)
    return figure


def _title(figure, check: Check) -> None:
    state = "passed" if check.passed else "failed"
    colour = style.BLACK if check.passed else style.VERMILLION
    p = "" if check.p_value is None else f", p = {check.p_value:.2g}"
    p = ", p < 0.0001" if check.p_value is not None and check.p_value < 1e-4 else p
    figure.suptitle(
        f"{check.name}: {state}{p}", fontsize=style.LARGE, color=colour, x=0.02, ha="left",
        fontweight="normal" if check.passed else "bold",
    )  # fmt: skip


def _ranks(figure, picture: Mapping) -> None:
    """Share of ranks below each level, less the level, of every parameter, with the band."""
    axes = figure.subplots()
    style.tidy(axes)
    levels, low, high = (np.asarray(picture[k]) for k in ("levels", "low", "high"))
    _band(axes, levels, low - levels, high - levels)
    strays = []
    for name, shares in zip(picture["names"], picture["shares"], strict=True):
        away = np.asarray(shares) - levels
        outside = float(np.max(np.maximum(low - levels - away, away - high + levels)))
        strays.append((outside, name, away))
    series = iter(style.SERIES[:5])
    for outside, name, away in sorted(strays, key=lambda s: -s[0]):
        look = next(series, None) if outside > 0 or len(strays) == 1 else None
        if look is None:
            axes.plot(np.r_[0, levels, 1], np.r_[0, away, 0], color=style.GREY, lw=style.HAIR)
        else:
            ends = np.r_[0, levels, 1], np.r_[0, away, 0]
            axes.plot(*ends, color=look[0], ls=look[1], lw=style.THICK, label=name)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=style.SMALL, frameon=False)
    axes.axhline(0, color=style.GREY, lw=style.HAIR)
    axes.set_xlim(0, 1)
    axes.set_xlabel("rank of the truth among draws", fontsize=style.NORMAL)
    axes.set_ylabel("share of ranks below, less its due", fontsize=style.NORMAL)


def _coverage(figure, picture: Mapping) -> None:
    axes = figure.subplots()
    style.tidy(axes)
    levels, low, high, shares = (
        np.asarray(picture[k]) for k in ("levels", "low", "high", "shares")
    )
    axes.fill_between(
        np.r_[0, levels, 1], np.r_[0, low, 1], np.r_[0, high, 1], color=style.GREY, alpha=0.25, lw=0
    )
    axes.plot([0, 1], [0, 1], color=style.GREY, lw=style.HAIR)
    axes.plot(np.r_[0, levels, 1], np.r_[0, shares, 1], color=style.BLUE, lw=style.THICK)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("mass that a region claims", fontsize=style.NORMAL)
    axes.set_ylabel("share of truths in it", fontsize=style.NORMAL)


def _null(figure, picture: Mapping) -> None:
    """What was found beside what chance gives."""
    axes = figure.subplots()
    style.tidy(axes, keep=("bottom",))
    null, found = np.asarray(picture["null"]), picture["found"]
    axes.hist(null, 40, color=style.GREY, alpha=0.5)
    axes.axvline(found, color=style.VERMILLION, lw=style.THICK)
    axes.text(
        found, 1.0, " found", color=style.VERMILLION, fontsize=style.SMALL, va="top",
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    axes.set_yticks([])
    axes.set_xlabel(f"{picture['label']}\n(grey: by chance)", fontsize=style.NORMAL)


def _place(figure, picture: Mapping) -> None:
    """Left, each statistic's place in deviations; right, the joint distance in its cloud."""
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    names, scores = picture["names"], np.asarray(picture["scores"], float)
    order = np.argsort(-np.abs(scores))[:_MOST]
    order = np.sort(order)
    places = np.arange(len(order))
    held = np.clip(scores[order], -_FAR, _FAR)
    style.tidy(left)
    left.axvspan(-2, 2, color=style.GREY, alpha=0.2, lw=0)
    left.axvline(0, color=style.GREY, lw=style.HAIR)
    colours = [style.VERMILLION if abs(s) > 3 else style.BLUE for s in held]
    left.scatter(held, places, c=colours, s=14, zorder=3)
    left.set_yticks(places, [names[i].replace("_", " ") for i in order])
    left.set_ylim(len(order) - 0.4, -0.6)
    reach = max(3.0, float(np.max(np.abs(held), initial=0)) * 1.1)
    left.set_xlim(-reach, reach)
    left.set_xlabel("measured, in deviations", fontsize=style.NORMAL)
    style.tidy(right, keep=("bottom",))
    right.hist(picture["cloud"], 30, color=style.GREY, alpha=0.5)
    right.axvline(picture["here"], color=style.VERMILLION, lw=style.THICK)
    right.set_yticks([])
    right.set_xlabel("joint distance", fontsize=style.NORMAL)


def _bars(figure, picture: Mapping) -> None:
    axes = figure.subplots()
    style.tidy(axes)
    names = picture["names"]
    values = np.array([np.nan if v is None else v for v in picture["values"]], float)
    order = np.arange(len(values))
    if len(values) > _MOST:
        order = np.sort(np.argsort(-np.abs(np.nan_to_num(values)))[:_MOST])
    places = np.arange(len(order))
    axes.barh(places, values[order], color=style.BLUE, height=0.5)
    limit = picture.get("limit")
    most = float(np.nanmax(np.r_[values, limit or 0.0]))
    if np.nanmin(np.r_[values, 0.0]) >= 0:
        axes.set_xlim(0, 1.15 * most if most > 0 else 1.0)
    if limit is not None:
        axes.axvline(limit, color=style.VERMILLION, lw=style.THIN, ls="--")
    axes.axvline(0, color=style.GREY, lw=style.HAIR)
    axes.set_yticks(places, [names[i].replace("_", " ") for i in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel(picture["label"], fontsize=style.NORMAL)


def _band(axes: Axes, levels, low, high) -> None:
    axes.fill_between(
        np.r_[0, levels, 1], np.r_[0, low, 0], np.r_[0, high, 0], color=style.GREY, alpha=0.25, lw=0
    )


_KINDS: dict[str, Callable] = {
    "ranks": _ranks,
    "coverage": _coverage,
    "null": _null,
    "place": _place,
    "bars": _bars,
}
_SIZES = {
    "ranks": (3.6, 2.8),
    "coverage": (3.2, 3.2),
    "null": (3.6, 2.4),
    "place": (5.6, 2.8),
    "bars": (3.8, 2.4),
}
