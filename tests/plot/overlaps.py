"""Whether texts of a figure lie on each other or leave the paper, as the renderer places them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

TOUCH = 0.5  # points by which boxes may overlap: side bearings of letters


def texts_of(figure: Figure) -> list[Text]:
    """Every text that is drawn."""
    hidden = set()
    for axes in figure.findobj(Axes):  # insets too
        if not axes.get_visible():
            hidden |= set(axes.findobj(Text))
        for axis in (axes.xaxis, axes.yaxis):
            hidden |= _unseen_ticks(axis)
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]


def _unseen_ticks(axis: Axis) -> set:
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    outside = [t for t in ticks if not low - slack <= t.get_loc() <= high + slack]
    hidden = {label for tick in outside for label in (tick.label1, tick.label2)}
    return hidden | (set() if axis.get_visible() else set(axis.findobj(Text)))


def corners(text: Text) -> np.ndarray:
    """Corners of the box around a text, turned with it, in points, shape (4, 2)."""
    figure = text.get_figure(root=True)
    renderer = figure.canvas.get_renderer()
    turn = text.get_rotation()
    if turn % 90 == 0:
        box = text.get_window_extent(renderer)
        found = np.array([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)])
    else:
        assert text.get_rotation_mode() == "anchor"
        assert text.get_ha() == "left"
        start = text.get_transform().transform(text.get_position())
        flat = Text(0, 0, text.get_text(), fontproperties=text.get_fontproperties(), figure=figure)
        box = flat.get_window_extent(renderer)
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        square = [(0, 0), (box.width, 0), (box.width, box.height), (0, box.height)]
        found = start + np.array(square) @ np.array([[c, s], [-s, c]])
    return found * 72 / figure.dpi


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes overlap by more than ``TOUCH`` (separating axes)."""
    for box in (a, b):
        for edge in (box[1] - box[0], box[3] - box[0]):
            axis = edge / (np.hypot(*edge) or 1.0)
            p, q = a @ axis, b @ axis
            if min(p.max(), q.max()) - max(p.min(), q.min()) <= TOUCH:
                return False
    return True


def problems(figure: Figure) -> list[str]:
    """Pairs of texts on each other, and texts beyond the paper; none in a good figure."""
    figure.draw_without_rendering()
    texts = texts_of(figure)
    boxes = [corners(t) for t in texts]
    ends = [(b.min(axis=0), b.max(axis=0)) for b in boxes]
    paper = figure.get_size_inches() * 72
    found = [
        f"{text.get_text()!r} leaves the paper"
        for text, (low, high) in zip(texts, ends, strict=True)
        if np.any(low < -TOUCH) or np.any(high > paper + TOUCH)
    ]
    low, high = np.array([e[0] for e in ends]), np.array([e[1] for e in ends])
    near = np.all((low[:, None] < high) & (low < high[:, None]), axis=2)
    for i, j in zip(*np.nonzero(np.triu(near, 1)), strict=True):
        if overlap(boxes[i], boxes[j]):
            found.append(f"{texts[i].get_text()!r} lies on {texts[j].get_text()!r}")
    return found
