"""Directions of a parameter space drawn from a point: lines both ways, a head at the positive end.

On a logarithmic axis a straight line of the parameters is bent, so it is drawn in many pieces. What
leaves the axes is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import Stroke, withStroke

from lanternfish.plot import style
from lanternfish.plot.scales import Scale

STRETCH = 2  # lengths of a direction either way from the mode: two standard deviations
LOOKS = (  # of the first and the last of the directions given; others are not drawn
    (style.VERMILLION, "-"),
    (style.ORANGE, (0, (4, 1.2))),
)
_POINTS = 41
_HEAD = 0.12  # of the axes: a line shorter than this has no head
_HALO: Any = [withStroke(linewidth=3.2, foreground="white")]


def shown(count: int) -> list[int]:
    """Which of so many directions are drawn: the first and the last, stiffest and sloppiest."""
    return list(range(count)) if count < 3 else [0, count - 1]


def handles(count: int) -> dict[str, Line2D]:
    """For a legend."""
    drawn = zip(shown(count), LOOKS, strict=False)
    return {f"$v_{{{i + 1}}}$": Line2D([], [], color=c, ls=ls, lw=1.6) for i, (c, ls) in drawn}


def draw(
    axes: Axes,
    scales: Sequence[Scale],
    point: np.ndarray,
    arrows: np.ndarray,
    *,
    corner: np.ndarray | Sequence[float] = (0.0, 0.0),
    side: float = 1.0,
) -> None:
    """Directions in the plane of two parameters.

    Args:
        scales: of the first and second axis.
        point: where they start, shape (2,), in the parameters' units.
        arrows: their ends from there, shape (k, 2).
        corner, side: of the square in which the plane is drawn, where axes go from 0 to 1.
    """
    t = np.linspace(-1, 1, _POINTS)[:, None]
    for arrow, (colour, dashes) in zip(arrows[shown(len(arrows))], LOOKS, strict=False):
        with np.errstate(invalid="ignore"):
            walk = point + t * arrow
            unit = np.stack([s.to_unit(walk[:, i]) for i, s in enumerate(scales)], axis=1)
            unit[[bool(s.log) for s in scales] & (walk <= 0)] = np.nan
            inside = np.all((unit >= 0) & (unit <= 1), axis=1)
        places = corner + side * np.where(inside[:, None], unit, np.nan)
        line = axes.plot(*places.T, color=colour, ls=dashes, lw=1.5, zorder=8.1)[0]
        line.set_path_effects(_HALO)
        axes.plot(*places.T, color=colour, ls=dashes, lw=1.5, zorder=8.2)
        last = np.flatnonzero(inside)
        if len(last) > 3 and np.linalg.norm(unit[last[-1]] - unit[last[0]]) > _HEAD:
            _head(axes, places[last[-3]], places[last[-1]], colour)


def _head(axes: Axes, tail: np.ndarray, tip: np.ndarray, colour: str) -> None:
    look = {"arrowstyle": "-|>,head_width=0.14,head_length=0.3", "color": colour, "lw": 0.0}
    ends = (tip[0], tip[1]), (tail[0], tail[1])
    found = axes.annotate(
        "", *ends, arrowprops={**look, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14}
    )
    found.set_zorder(8.3)
    if found.arrow_patch is not None:
        halo: Any = [Stroke(linewidth=1.4, foreground="white"), withStroke(linewidth=0)]
        found.arrow_patch.set_path_effects(halo)
