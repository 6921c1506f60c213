"""Calibration: ranks of the truth and the coverage of regions, beside what they should be."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lanternfish.core import Column, Table
from lanternfish.plot import style

_STYLES = (
    (style.BLUE, "-"),
    (style.VERMILLION, "--"),
    (style.GREEN, "-."),
    (style.PURPLE, ":"),
    (style.ORANGE, (0, (5, 1, 1, 1, 1, 1))),
)


def calibration(
    ranks: Table, coverage: np.ndarray, *, levels: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Figure:
    """Ranks of the truth, by parameter, and coverage, each with the band of what is right.

    Left, the share of ranks below each level, less that level: 0 where ranks are uniform. A line
    that rises first and falls below 0 then is of a posterior too narrow; one above 0 throughout, of
    one too high. Right, how often regions of highest density hold the truth, by the mass that they
    claim: below the diagonal they claim too much. Of parameters that leave the band, the five that
    stray most are named.

    Args:
        ranks: of each parameter, a table (n, d) of numbers from 0 to 1.
        coverage: mass of the region of highest density that just holds the truth, (n,).
        levels: where the band is known, (K,), rising between 0 and 1.
        low, high: least and greatest share below each level, (K,) each.

    Raises:
        ValueError: if lengths differ, or there is no rank.
    """
    coverage, levels, low, high = (np.asarray(a, np.float64) for a in (coverage, levels, low, high))
    if not len(ranks) or coverage.shape != (len(ranks),):
        raise ValueError(
            f"Expected one coverage for each of the ranks' rows; got {coverage.shape} for "
            f"{len(ranks)} rows."
        )
    if not low.shape == high.shape == levels.shape:
        raise ValueError(
            f"Expected a band of the shape of levels, {levels.shape}; got {low.shape} and "
            f"{high.shape}."
        )
    figure = style.new_figure(6.4, 3.0)
    left, right = figure.subplots(1, 2)
    band = levels, low, high
    handles = _draw_ranks(left, ranks, band)
    _draw_coverage(right, coverage, band)
    style.legend(figure, {"right posteriors": Patch(color=style.GREY, alpha=0.25), **handles})
    return figure


def _draw_ranks(axes: Axes, ranks: Table, band) -> dict[str, Line2D]:
    levels, low, high = band
    style.tidy(axes)
    _fill(axes, levels, low - levels, high - levels)
    axes.axhline(0, color=style.GREY, lw=style.HAIR)
    strays = {c.name: _stray(ranks[c.name], band) for c in ranks.columns}
    named = sorted((n for n in strays if strays[n] > 0), key=lambda n: -strays[n])[: len(_STYLES)]
    looks = {
        name: {"color": color, "ls": line, "lw": style.THICK}
        for name, (color, line) in zip(named, _STYLES, strict=False)
    }
    plain = {"color": style.BLACK, "lw": style.HAIR}
    for column in sorted(ranks.columns, key=lambda c: strays[c.name]):
        away = _shares(ranks[column.name], levels) - levels
        axes.plot(*_ended(levels, away, (0, 0)), **looks.get(column.name, plain))
    labels = {c.name: style.short_label(c) for c in ranks.columns}
    handles = {labels[name]: Line2D([], [], **looks[name]) for name in named}
    rest = len(ranks.columns) - len(named)
    if rest:
        text = _rest_in_words(rest, ranks.columns[0], named)
        handles[text] = Line2D([], [], **plain)
    axes.set_xlim(0, 1)
    axes.set_xlabel("rank of the truth among draws", fontsize=style.NORMAL)
    axes.set_ylabel("share of ranks below, less its due", fontsize=style.NORMAL)
    return handles


def _draw_coverage(axes: Axes, coverage: np.ndarray, band) -> None:
    levels, low, high = band
    style.tidy(axes)
    _fill(axes, levels, low, high, ends=(0, 1))
    axes.plot([0, 1], [0, 1], color=style.GREY, lw=style.HAIR)
    axes.plot(*_ended(levels, _shares(coverage, levels), (0, 1)), color=style.BLACK, lw=style.THICK)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("mass that a region claims", fontsize=style.NORMAL)
    axes.set_ylabel("share of truths that it holds", fontsize=style.NORMAL)


def _fill(axes: Axes, levels, low, high, ends=(0, 0)) -> None:
    places, below = _ended(levels, low, ends)
    axes.fill_between(
        places, below, _ended(levels, high, ends)[1], color=style.GREY, alpha=0.25, lw=0
    )


def _ended(levels: np.ndarray, values: np.ndarray, ends) -> tuple[np.ndarray, np.ndarray]:
    """A curve with its known ends at 0 and 1."""
    return np.r_[0, levels, 1], np.r_[ends[0], values, ends[1]]


def _shares(ranks: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(ranks), levels) / len(ranks)


def _stray(ranks: np.ndarray, band) -> float:
    """How far the shares leave the band, at most; 0 inside."""
    levels, low, high = band
    shares = _shares(ranks, levels)
    return float(np.max(np.maximum(np.maximum(low - shares, shares - high), 0)))


def _rest_in_words(rest: int, first: Column, named: list[str]) -> str:
    if named:
        return f"{rest} more"
    return style.short_label(first) if rest == 1 else f"{rest} parameters"
