"""How an optimisation under constraints went: entropy, and what is left of each constraint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lanternfish.core import Column, Table
from lanternfish.plot import style
from lanternfish.plot.scales import number_texts

_MOST = len(style.SERIES)  # constraints told apart; the others are grey


def optimisation(
    entropy,
    residuals: Mapping[str, Sequence[float] | np.ndarray] | Table,
    *,
    epochs=None,
    largest: float | tuple[float, float] | None = None,
) -> Figure:
    """Entropy above, residuals of the constraints below, by epoch.

    Args:
        entropy: shape (epochs,), in nats.
        residuals: of each constraint by name, shape (epochs,), or a table with a row for each
            epoch; in units of its tolerance, so that within -1 and 1 it is met.
        epochs: their numbers, shape (epochs,); from 1 where left out.
        largest: the largest entropy possible under the constraints, or the interval that holds it.

    Raises:
        ValueError: if there is no epoch or constraint, or lengths differ.
    """
    curve = np.atleast_1d(np.asarray(entropy, np.float64))
    columns, values = _residuals(residuals)
    at = np.arange(1, len(curve) + 1) if epochs is None else np.asarray(epochs, np.float64)
    if (
        curve.ndim != 1
        or not len(curve)
        or values.shape[0] != len(curve)
        or at.shape != curve.shape
    ):
        raise ValueError(
            "Expected an entropy, a residual of each constraint and a number for every epoch; got "
            f"{curve.size} entropies, {values.shape[0]} residuals and {at.size} numbers."
        )
    bound = None if largest is None else np.sort(np.atleast_1d(np.asarray(largest, np.float64)))
    if bound is not None and (bound.shape not in ((1,), (2,)) or not np.isfinite(bound).all()):
        raise ValueError(f"Expected largest as one entropy or an interval; got {largest!r}.")
    figure = style.new_figure(5.2, 3.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.35])
    _draw_entropy(upper, at, curve, bound)
    handles = _draw_residuals(lower, at, columns, values)
    for axes in (upper, lower):
        style.tidy(axes)
        axes.yaxis.set_label_coords(-0.1, 0.5)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("epoch", fontsize=style.NORMAL)
    lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    span = at[-1] - at[0] or 25.0
    lower.set_xlim(at[0] - 0.02 * span, at[-1] + 0.02 * span)
    if len(at) < 3:
        lower.set_xticks(at)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside right lower",
        fontsize=style.SMALL,
        frameon=False,
        handlelength=2.4,
    )
    return figure


def _residuals(residuals) -> tuple[tuple[Column, ...], np.ndarray]:
    """Constraints and what is left of each, shape (epochs, m)."""
    if isinstance(residuals, Table):
        return residuals.columns, np.array(residuals.array)
    if not isinstance(residuals, Mapping) or not residuals:
        raise ValueError(
            "Expected residuals of constraints by name, or a table; got "
            f"{'none' if isinstance(residuals, Mapping) else type(residuals).__name__}."
        )
    rows = [np.atleast_1d(np.asarray(v, np.float64)) for v in residuals.values()]
    if len({r.shape for r in rows}) > 1 or rows[0].ndim != 1:
        got = ", ".join(f"{name} {r.shape}" for name, r in zip(residuals, rows, strict=True))
        raise ValueError(f"Expected residuals of one length, one for each epoch; got {got}.")
    return tuple(Column(name) for name in residuals), np.stack(rows, axis=1)


def _draw_entropy(axes: Axes, at: np.ndarray, curve: np.ndarray, bound) -> None:
    axes.plot(at, curve, color=style.BLUE, lw=style.THICK, marker="o", ms=_dot(len(at)), zorder=3)
    axes.set_ylabel("entropy (nats)", fontsize=style.NORMAL)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    known = curve[np.isfinite(curve)]
    held = np.concatenate([known, [] if bound is None else bound])
    if bound is not None:
        text = "largest: " + " to ".join(number_texts(np.round(bound, 2)))
        if len(bound) > 1:
            axes.axhspan(*bound, color=style.GREY, alpha=0.4, lw=0, zorder=1)
        axes.axhline(bound.mean(), color=style.BLACK, ls=(0, (5, 2)), lw=style.THIN, zorder=2)
    if len(held):
        low, high = held.min(), held.max()
        air = 0.08 * ((high - low) or abs(high) or 1.0)
        axes.set_ylim(low - air, high + (2.6 if bound is not None else 1) * air)
    if bound is not None:
        place: dict = {"textcoords": "offset points", "ha": "right", "va": "bottom"}
        spot = (1, bound[-1])
        axes.annotate(
            text, spot, (0, 2), xycoords=("axes fraction", "data"), fontsize=style.SMALL, **place
        )


def _draw_residuals(
    axes: Axes, at: np.ndarray, columns: tuple[Column, ...], values: np.ndarray
) -> dict:
    """Curves on an axis that is linear where constraints are met and logarithmic beyond."""
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.7)
    axes.axhspan(-1, 1, color=style.GREEN, alpha=0.16, lw=0, zorder=1)
    axes.axhline(0, color=style.GREY, lw=style.HAIR, zorder=1)
    handles: dict = {}
    last = np.nan_to_num(np.abs(values[-1]), nan=np.inf)
    shown = sorted(np.argsort(-last, kind="stable")[:_MOST])
    dots: dict = {"marker": "o", "ms": 3} if len(at) < 3 else {}
    others = [j for j in range(len(columns)) if j not in shown]
    for j in others:
        axes.plot(at, values[:, j], color=style.GREY, lw=style.HAIR, zorder=2, **dots)
    for j, (colour, dashes) in zip(shown, style.SERIES, strict=False):
        axes.plot(at, values[:, j], color=colour, ls=dashes, lw=1.1, zorder=3, **dots)
        name = style.short_label(columns[j])
        handles[name] = Line2D([], [], color=colour, ls=dashes, lw=1.1)
    if others:
        handles[f"{len(others)} more, closer"] = Line2D([], [], color=style.GREY, lw=style.HAIR)
    handles["met"] = Patch(color=style.GREEN, alpha=0.16, lw=0)
    axes.set_ylabel("residual (tolerances)", fontsize=style.NORMAL)
    _limit(axes, values)
    return handles


def _limit(axes: Axes, values: np.ndarray) -> None:
    """The whole of the curves, two tolerances at least, ticks at powers of ten."""
    known = values[np.isfinite(values)]
    low = min(-2.0, 1.3 * float(known.min(initial=0.0)))
    high = max(2.0, 1.3 * float(known.max(initial=0.0)))
    axes.set_ylim(low, high)
    decades = int(np.ceil(np.log10(max(high, -low))))
    step = -(-decades // 3)
    powers = [10**k for k in range(0, decades + 1, step)]
    ticks = [0, *powers, *[-p for p in powers]]
    ticks = sorted(t for t in ticks if low <= t <= high)
    texts = [f"{t:,}".replace("-", "−") if abs(t) < 1e5 else _power(t) for t in ticks]
    axes.set_yticks(ticks, texts)
    axes.minorticks_off()


def _power(tick: int) -> str:
    sign = "-" if tick < 0 else ""
    return rf"${sign}10^{{{round(np.log10(abs(tick)))}}}$"


def _dot(count: int) -> float:
    """Size of the markers of so many epochs; none where there are many."""
    return 2.5 if count <= 40 else 0.0
