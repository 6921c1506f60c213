"""Traces: membrane potentials of circuits, channels stacked, with scale bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lanternfish.core import Traces
from lanternfish.plot import style
from lanternfish.plot.scales import number_text

_POINTS = 3_000  # columns of a trace: each is drawn as its least and greatest value
_GAP = 0.15  # of the tallest channel, between channels
_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_BLACK = (style.BLACK,)


def traces(
    traces: Traces,
    *,
    titles: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    measured: Traces | None = None,
    observation_text: str = "",
) -> Figure:
    """A panel for each circuit, its channels one below the other on one voltage scale.

    Long traces are drawn as the range that they cover in each of 3,000 columns, so that no spike is
    lost and the file stays small.

    Args:
        traces: time (t,) and values (n, channels, t).
        titles: one for each circuit, such as "MAP"; numbers where left out.
        window: first and last time to show, in ``traces.time_unit``; all where left out.
        measured: recorded traces with one circuit, drawn in black above the others.
        observation_text: measured statistics in words, below the panels.

    Raises:
        ValueError: if shapes or titles do not fit, or the window holds no time.
    """
    shown = [] if measured is None else [_cut(measured, window, "measured traces")]
    shown += [_cut(traces, window, "traces")]
    names = [*([] if measured is None else ["measured"]), *_titles(traces, titles)]
    panels = [(part, circuit) for part in shown for circuit in range(len(part.values))]
    if len(panels) != len(names):
        raise ValueError(f"Expected measured traces of one circuit; got {len(shown[0].values)}.")
    heights = [len(part.channels) + 1.0 for part, _ in panels]
    lines = observation_text.count("\n") + 1 if observation_text else 0
    figure = style.new_figure(6.8, 0.42 * sum(heights) + 0.3 + 0.16 * lines)
    stack = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights).ravel()
    span = max(float(part.time[-1] - part.time[0]) for part in shown)
    step = (1 + _GAP) * max(_tallest(part) for part in shown)
    for i, (part, circuit) in enumerate(panels):
        black = measured is not None and i == 0
        _draw(stack[i], part, part.values[circuit], step, _BLACK if black else _COLOURS)
        stack[i].set_title(names[i], fontsize=style.NORMAL, loc="left", pad=3)
        stack[i].set_xlim(part.time[0], part.time[0] + 1.14 * span)
    _scale_bars(stack[-1], panels[-1][0], step, span)
    if observation_text:
        figure.supxlabel(observation_text, fontsize=style.NORMAL, x=0.01, ha="left")
    return figure


def _cut(traces: Traces, window, what: str) -> Traces:
    """The part of the traces inside the window, its shapes checked."""
    time, values = np.asarray(traces.time, float), np.asarray(traces.values, float)
    expected = (len(values) if values.ndim else 0, len(traces.channels), len(time))
    if time.ndim != 1 or values.shape != expected or not values.size:
        raise ValueError(
            f"Expected {what} of shape (n, {len(traces.channels)}, {len(time)}), for each circuit "
            f"its channels over time; got {values.shape}."
        )
    first, last = (time[0], time[-1]) if window is None else window
    inside = (time >= first) & (time <= last)
    if inside.sum() < 2:
        raise ValueError(
            f"Expected a window inside {time[0]:g} to {time[-1]:g} {traces.time_unit}; "
            f"got {first:g} to {last:g}."
        )
    part = values[:, :, inside]
    part = np.where(np.isfinite(part), part, np.nan)
    return Traces(time[inside], part, traces.channels, traces.unit, traces.time_unit)


def _titles(traces: Traces, titles: Sequence[str] | None) -> list[str]:
    n = len(traces.values)
    if titles is None:
        return [f"circuit {i + 1}" for i in range(n)]
    if isinstance(titles, str) or len(titles) != n:
        raise ValueError(f"Expected {n} titles, one for each circuit; got {titles!r}.")
    return list(titles)


def _tallest(traces: Traces) -> float:
    """The widest range of a channel, in the traces' unit."""
    known = traces.values[np.isfinite(traces.values).any(axis=2)]
    ranges = np.nanmax(known, axis=1) - np.nanmin(known, axis=1)
    return float(ranges.max(initial=0.0)) or 1.0


def _draw(
    axes: Axes, traces: Traces, values: np.ndarray, step: float, colours: Sequence[str]
) -> None:
    """Channels (channels, t) from top to bottom, ``step`` apart."""
    style.tidy(axes, keep=())
    middles = -step * np.arange(len(values))
    for i, line in enumerate(values):
        if not np.isfinite(line).any():
            text = "no finite value"
            axes.text(traces.time[0], middles[i], text, va="center", fontsize=style.SMALL)
            continue
        middle = (np.nanmax(line) + np.nanmin(line)) / 2
        time, line = _envelope(traces.time, line - middle + middles[i])
        axes.plot(time, line, color=colours[i % len(colours)], lw=0.7)
    axes.set_ylim(middles[-1] - 0.55 * step, middles[0] + 0.55 * step)
    axes.set_yticks(middles, list(traces.channels))
    axes.tick_params(axis="y", length=0, labelsize=style.NORMAL)
    axes.set_xticks([])


def _envelope(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The trace itself, or where it is long its least and greatest value in each column."""
    block = len(time) // _POINTS
    if block < 4:
        return time, values
    whole = len(time) // block * block
    parts = values[:whole].reshape(-1, block)
    starts = time[:whole].reshape(-1, block)[:, 0]
    empty = np.isnan(parts).all(axis=1, keepdims=True)
    known = np.where(empty, 0.0, parts)
    ends = np.stack([np.nanmin(known, axis=1), np.nanmax(known, axis=1)], axis=1)
    ends = np.where(empty, np.nan, ends)
    return np.repeat(starts, 2), ends.ravel()


def _scale_bars(axes: Axes, traces: Traces, step: float, span: float) -> None:
    """Bars of a round time and a round voltage, right of the traces, with their units."""
    low = axes.get_ylim()[0]
    right = float(traces.time[-1]) + 0.025 * span
    length, height = _round(0.1 * span), _round(0.8 * step)
    axes.plot([right, right], [low, low + height], color=style.BLACK, lw=style.THIN)
    axes.plot([right, right + length], [low, low], color=style.BLACK, lw=style.THIN, clip_on=False)
    unit = f"{number_text(height)} {style.unit_text(traces.unit)}"
    axes.text(
        right + 0.01 * span, low + height / 2, unit, fontsize=style.SMALL, va="center", ha="left"
    )
    axes.annotate(
        _time_text(length, traces.time_unit),
        (right, low),
        (0, -2),
        textcoords="offset points",
        fontsize=style.SMALL,
        ha="left",
        va="top",
        annotation_clip=False,
    )


def _round(value: float) -> float:
    """The greatest of 1, 2, 5 times a power of ten that is not above the value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * max(m for m in (1, 2, 5) if m * power <= value * (1 + 1e-9)))


def _time_text(length: float, unit: str) -> str:
    if unit == "ms" and length >= 1_000:
        return f"{number_text(length / 1_000)} s"
    return f"{number_text(length)} {style.unit_text(unit)}"
