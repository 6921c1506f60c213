"""The cells of a pair plot: where they lie, their frames, ticks and names.

Cell (row i, column j) has its lower left corner at (j, d - 1 - i) of one pair of axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from lanternfish.core import Column
from lanternfish.plot import style
from lanternfish.plot.scales import Scale

_FAR = 8  # parameters above which names stand beside the diagonal too


@dataclass(frozen=True)
class Mosaic:
    """Lower triangle of d x d cells.

    Args:
        columns: the parameters, d of them.
        scales: the axis of each.
    """

    columns: tuple[Column, ...]
    scales: list[Scale]

    @property
    def d(self) -> int:
        return len(self.columns)

    @property
    def bins(self) -> int:
        """Pixels along a cell."""
        return int(np.clip(400 // self.d, 36, 128))

    @property
    def pitch(self) -> int:
        """Pixels from cell to cell."""
        return self.bins + max(2, round(0.05 * self.bins))

    @property
    def side(self) -> float:
        """Side of a cell, where cells begin 1 apart."""
        return self.bins / self.pitch

    @property
    def inches(self) -> float:
        """From cell to cell, on paper."""
        return self.by_size([1, 2, 3, 5, 8, 12, 20], [3, 2.2, 1.8, 1.5, 1.15, 0.9, 0.54])

    @property
    def font(self) -> float:
        """Points of the names."""
        return self.by_size([5, 20], [style.NORMAL, 6.5])

    def by_size(self, d: list, values: list) -> float:
        """A measure that depends on how many parameters there are."""
        return float(np.interp(self.d, d, values))

    def corner(self, row: int | np.integer, column: int | np.integer) -> np.ndarray:
        """Lower left corner of a cell, shape (2,)."""
        return np.array([column, self.d - 1 - row], float)

    def to_unit(self, array: np.ndarray) -> np.ndarray:
        """Places on the axes, shape (n, d)."""
        return np.stack([s.to_unit(array[:, i]) for i, s in enumerate(self.scales)], axis=1)

    def blank(self) -> tuple[Figure, Axes]:
        """A figure with empty cells."""
        figure = style.new_figure(self.d * self.inches + 1.0, self.d * self.inches + 1.0)
        axes = figure.add_subplot()
        style.tidy(axes, keep=())
        end = self.d - 1 + self.side
        axes.set(xlim=(-0.02, end + 0.02), ylim=(-0.02, end + 0.02), autoscale_on=False)
        square = self.side * np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
        cells = [square + self.corner(i, j) for i in range(self.d) for j in range(i + 1)]
        frames = PolyCollection(cells, facecolors="none", edgecolors=style.GREY, zorder=4)
        frames.set_linewidth(style.HAIR)
        axes.add_collection(frames, autolim=False)
        return figure, axes

    def label(self, figure: Figure, axes: Axes, diagonal: bool) -> None:
        """Ticks and names on the outer edges; names beside the diagonal where those are far."""
        font = style.SMALL if self.d <= 12 else 5.0
        count = int(np.clip(round(2.2 * self.inches), 2, 5))
        ticks = [s.ticks(count, margin=0.08) for s in self.scales]
        bottom = [(i + self.side * p, t) for i, pair in enumerate(ticks) for p, t in zip(*pair)]  # noqa: B905
        left = [(self.d - 1 - i, pair) for i, pair in enumerate(ticks) if i]
        left = [(y + self.side * p, t) for y, pair in left for p, t in zip(*pair)]  # noqa: B905
        sizes = {t: style.text_size(figure, t, font) for _, t in bottom}
        points = 72 * self.inches
        turned = style.crowded([p * points for p, _ in bottom], [sizes[t][0] for _, t in bottom])
        axes.set_xticks([p for p, _ in bottom], [t for _, t in bottom], rotation=90 * turned)
        axes.set_yticks([p for p, _ in left], [t for _, t in left])
        axes.tick_params(labelsize=font)
        depth = max((sizes[t][0 if turned else 1] for _, t in bottom), default=0)
        width = max((sizes[t][0] for _, t in left), default=0)
        self._name_edges(figure, axes, depth + 9, width + 10)
        if diagonal and self.d > _FAR:
            self._name_diagonal(axes)

    def _name_edges(self, figure: Figure, axes: Axes, depth: float, width: float) -> None:
        """Names with units below the ticks and left of them, turned where they are long."""
        texts = [style.axis_label(c) for c in self.columns]
        longest = max(style.text_size(figure, t, self.font)[0] for t in texts)
        short = longest < 0.98 * self.inches * 72
        room = 0.15 + (1.4 * self.font if short else longest) / 72
        cells = self.d * self.inches + room
        figure.set_size_inches(cells + width / 72, cells + depth / 72)
        shared: dict[str, Any] = {
            "textcoords": "offset points",
            "fontsize": self.font,
            "annotation_clip": False,
        }
        below = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top"}
        beside = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
        for i, text in enumerate(texts):
            x, y = self.corner(i, i) + self.side / 2
            turn = 0 if short else 90
            axes.annotate(text, (x, 0), (0, -depth), rotation=turn, **below, **shared)
            if i:
                axes.annotate(text, (0, y), (-width, 0), rotation=90 - turn, **beside, **shared)

    def _name_diagonal(self, axes: Axes) -> None:
        for i, column in enumerate(self.columns):
            x, y = self.corner(i, i) + np.array([0.35 * self.side, self.side + 0.12])
            text = style.short_label(column)
            axes.text(x, y, text, fontsize=6.5, rotation=45, rotation_mode="anchor")
