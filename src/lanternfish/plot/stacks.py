"""Dimensional stacking: every point of a grid of many parameters as one pixel.

Half of the parameters run along each side, one nested in the other: the outermost cuts a side into
as many parts as it has levels, the next each part again, and so on. Strips beside the picture show
the level of each parameter, from light (lowest) to dark. Which parameters stand outside makes the
picture readable or not; the ones that most often change the class from level to level do so here,
which leaves large patches inside.

References: LeBlanc, Ward & Wittels (1990), Proc. IEEE Visualization; for conductances Taylor,
Hickey, Prinz & Marder (2006), J. Neurophysiol. 96:891.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from lanternfish.core import Column, Table
from lanternfish.plot import inputs, style
from lanternfish.plot.behaviour import COLOURS, as_codes, handles
from lanternfish.plot.scales import number_text

_MOST = 2**25  # pixels
_SIDE, _STRIP = 4.2, 0.13  # inches: of the picture, of a strip


def stacking(
    theta: Table,
    labels: Sequence,
    *,
    order: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Figure:
    """The whole grid as one picture, a pixel for each point; white where a point is not there.

    Args:
        theta: points of a grid, a table (n, d), in any order, each once.
        labels: the class of each row, (n,).
        order: of the classes; by share where left out.
        rows, columns: parameters along each side, outermost first; chosen where left out.

    Raises:
        ValueError, TypeError: if the points are no grid, or names or lengths do not fit.
    """
    table = inputs.as_samples(theta, "theta")
    codes, known = as_codes(labels, len(table), order)
    grid = _Grid.of(table, codes)
    down, across = _sides(grid, rows, columns)
    image = grid.image(down, across)
    words = 0.14  # inches of a line of text beside a side
    width = _SIDE + 0.2 + (_STRIP + words) * len(down)
    figure = style.new_figure(width, _SIDE + 0.4 + (_STRIP + words) * len(across))
    ratios = {
        "width_ratios": [_STRIP * max(len(down), 1), _SIDE],
        "height_ratios": [_SIDE, _STRIP * max(len(across), 1)],
    }
    panels = figure.subplots(2, 2, gridspec_kw=ratios)
    _draw_image(panels[0, 1], image, len(known))
    _draw_strips(panels[0, 0], grid, down, vertical=True)
    _draw_strips(panels[1, 1], grid, across, vertical=False)
    panels[1, 0].set_visible(False)
    style.legend(figure, dict(handles(known)))
    return figure


@dataclass(frozen=True)
class _Grid:
    """Class of every point: an axis for each parameter that varies; -1 where none is known."""

    columns: list[Column]
    levels: list[np.ndarray]
    codes: np.ndarray

    @classmethod
    def of(cls, table: Table, codes: np.ndarray) -> _Grid:
        found = [np.unique(values, return_inverse=True) for values in table.array.T]
        varying = [i for i, (levels, _) in enumerate(found) if len(levels) > 1]
        if not varying:
            raise ValueError("Expected parameters that vary; got the same point in each row.")
        shape = [len(found[i][0]) for i in varying]
        if math.prod(shape) > min(_MOST, max(100 * len(table), 1)):
            raise ValueError(
                f"Expected points of a grid; got {len(table):,} points with {math.prod(shape):,} "
                "combinations of their values: sweep over levels, such as Sweep(levels=6)."
            )
        number = np.ravel_multi_index([found[i][1] for i in varying], shape)
        if len(np.unique(number)) < len(number):
            raise ValueError("Expected each point of the grid once; got some repeatedly.")
        whole = np.full(math.prod(shape), -1)
        whole[number] = codes
        columns = [table.columns[i] for i in varying]
        return cls(columns, [found[i][0] for i in varying], whole.reshape(shape))

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    @property
    def ranked(self) -> list[str]:
        """Names, those first along which neighbours most often differ in class."""
        changes = []
        for axis in range(self.codes.ndim):
            codes = np.moveaxis(self.codes, axis, 0)
            known = (codes[1:] >= 0) & (codes[:-1] >= 0)
            changes.append(np.sum((codes[1:] != codes[:-1]) & known) / max(known.sum(), 1))
        return [self.names[i] for i in np.argsort(-np.array(changes), kind="stable")]

    def image(self, down: list[str], across: list[str]) -> np.ndarray:
        axes = [self.names.index(name) for name in (*down, *across)]
        height = math.prod(len(self.levels[self.names.index(n)]) for n in down)
        return np.transpose(self.codes, axes).reshape(height, -1)

    def strips(self, names: list[str]) -> np.ndarray:
        """Level of each parameter along a side, from 0 to 1, (parameters, pixels)."""
        sizes = [len(self.levels[self.names.index(n)]) for n in names]
        digits = np.indices(sizes).reshape(len(sizes), -1)
        return digits / (np.array(sizes)[:, None] - 1)


def _sides(grid: _Grid, rows, columns) -> tuple[list[str], list[str]]:
    """Which parameters run along which side, outermost first."""
    given = [*(rows or []), *(columns or [])]
    unknown = [name for name in given if name not in grid.names]
    if unknown or len(set(given)) < len(given):
        raise ValueError(
            f"Expected rows and columns out of {', '.join(grid.names)}, each once; got "
            f"{', '.join(unknown or given)}."
        )
    down, across = list(rows or []), list(columns or [])
    rest = [name for name in grid.ranked if name not in given]
    for name in rest:
        shorter = across if len(across) <= len(down) else down
        if rows is not None and columns is None:
            shorter = across
        if columns is not None and rows is None:
            shorter = down
        shorter.append(name)
    return down, across


def _draw_image(axes: Axes, image: np.ndarray, classes: int) -> None:
    colours = ListedColormap(["#FFFFFF", *COLOURS[:classes]])
    axes.imshow(
        image, cmap=colours, vmin=-1.5, vmax=classes - 0.5, aspect="auto", origin="lower",
        interpolation="nearest",
    )  # fmt: skip
    style.tidy(axes, keep=("left", "bottom", "top", "right"))
    axes.set(xticks=[], yticks=[])


def _draw_strips(axes: Axes, grid: _Grid, names: list[str], vertical: bool) -> None:
    """A strip for each parameter, the innermost next to the picture."""
    style.tidy(axes, keep=())
    axes.set(xticks=[], yticks=[])
    if not names:
        return
    strips = grid.strips(names)[::-1]  # the innermost on top, or, turned, on the right
    shown = strips[::-1].T if vertical else strips
    look = {"cmap": "Greys", "vmin": -0.25, "vmax": 1.25, "interpolation": "nearest"}
    axes.imshow(shown, aspect="auto", origin="lower" if vertical else "upper", **look)
    texts = [_in_words(grid, name) for name in (names if vertical else names[::-1])]
    write = axes.set_ylabel if vertical else axes.set_xlabel
    write("\n".join(texts), fontsize=style.SMALL, labelpad=2, linespacing=1.3)


def _in_words(grid: _Grid, name: str) -> str:
    i = grid.names.index(name)
    levels, column = grid.levels[i], grid.columns[i]
    unit = f" {style.unit_text(column.unit)}" if column.unit else ""
    ends = f"{number_text(levels[0])} to {number_text(levels[-1])}{unit}"
    return f"{style.short_label(column)}: {ends}"
