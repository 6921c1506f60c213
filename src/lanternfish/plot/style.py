"""How every figure looks: palette, sizes, labels with units.

Colours: Okabe & Ito (2008), "Color Universal Design".
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from lanternfish.core import Column
from lanternfish.plot.scales import Scale

BLUE, ORANGE, VERMILLION = "#0072B2", "#E69F00", "#D55E00"
GREEN, PURPLE, SKY, BLACK = "#009E73", "#CC79A7", "#56B4E9", "#000000"
GREY = "#8A8A8A"  # frames and the prior: background, not a colour of the palette
DENSITY = LinearSegmentedColormap.from_list("density", ["#FFFFFF", "#BFDCEC", "#3F95C5", BLUE])
HEIGHT = LinearSegmentedColormap.from_list(  # of a log density: light where low, dark where high
    "height", ["#F3E9A6", "#B9D67A", "#5DB67C", "#2A8A88", "#30598A", "#3A1A5E"]
)
SERIES = (  # colour and line style of quantities that stand side by side
    (BLUE, "-"),
    (VERMILLION, (0, (5, 1.5))),
    (GREEN, (0, (3, 1, 1, 1))),
    (PURPLE, (0, (1.5, 1))),
    (ORANGE, (0, (7, 2))),
    (SKY, (0, (5, 1, 1, 1, 1, 1))),
    (BLACK, (0, (1, 2))),
)

SMALL, NORMAL, LARGE = 6.5, 8.0, 9.0  # points: tick labels, axis labels, titles
HAIR, THIN, THICK = 0.5, 0.9, 1.4  # points: frames, secondary lines, main lines

LOCK = threading.RLock()  # Matplotlib's settings and its parser of formulas serve one at a time

_POWER = re.compile(r"(?<=[A-Za-z])(-?)([0-9])")
_MICRO = re.compile(r"\bu(?=(A|F|S|V|M|L|m|s)\b)")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size (inches) whose parts make room for one another."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.04, wspace=0.02)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def unit_text(unit: str) -> str:
    """The unit as it is printed: ``mS/cm2`` becomes mS/cm², ``uA`` becomes µA."""
    if "$" in unit:
        return unit
    raised = _POWER.sub(lambda m: (m[1] + m[2]).translate(_RAISED), unit)
    return _MICRO.sub("µ", raised)


def axis_label(column: Column) -> str:
    """Label and unit of a column."""
    return replace(column, unit=unit_text(column.unit)).axis_label


def short_label(column: Column) -> str:
    """Label of a column without its unit."""
    return replace(column, unit="").axis_label


def tidy(axes: Axes, keep: Sequence[str] = ("left", "bottom")) -> None:
    """Thin frame lines on the sides that are kept, none elsewhere; small tick labels."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep)
        spine.set_linewidth(HAIR)
        spine.set_color(GREY)
    axes.tick_params(labelsize=SMALL, width=HAIR, length=2.5, color=GREY, pad=2)


def grid_shape(panels: int, widest: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most ``widest`` side by side, rows evenly filled."""
    rows = -(-panels // widest)
    return rows, -(-panels // rows)


def text_size(figure: Figure, text: str, points: float) -> tuple[float, float]:
    """Width and height of a text, in points."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    with LOCK:
        box = Text(0, 0, text, fontsize=points, figure=figure).get_window_extent(renderer)
    return box.width * 72 / figure.dpi, box.height * 72 / figure.dpi


def crowded(places: Iterable[float], widths: Iterable[float]) -> bool:
    """Whether texts of these widths, centred at these places, come within 3 points of another."""
    boxes = [(p - w / 2, p + w / 2) for p, w in zip(places, widths, strict=True)]
    return any(second[0] - first[1] < 3 for first, second in pairwise(boxes))


def set_ticks(axes: Axes, scale: Scale, count: int, width: float) -> None:
    """Ticks along the bottom of axes from 0 to 1, as many as fit beside each other.

    Args:
        count: ticks wished for.
        width: of the axes, in inches.
    """
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    for wish in range(count, -1, -1):
        places, texts = scale.ticks(max(wish, 1), margin=0.1)
        if wish == 0:
            places, texts = places[:1], texts[:1]
        sizes = [text_size(figure, text, SMALL)[0] for text in texts]
        if not crowded(72 * width * places, sizes):
            break
    axes.set_xticks(places, texts)


def legend(figure: Figure, handles: Mapping[str, Artist]) -> None:
    """A legend above all panels; none where there is nothing to tell apart."""
    if len(handles) > 1:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper right",
            ncols=len(handles),
            fontsize=SMALL,
            frameon=False,
        )
