"""Training: loss of each round by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lanternfish.plot import style

_KEYS = ("train", "validation", "best_epoch")
_FIRST = 4.0  # first losses are cut off above so many spreads of the rest


def training(history: Mapping) -> Figure:
    """Training and validation loss by epoch, a panel for each round, with the epoch that was kept.

    Args:
        history: ``{"rounds": [{"train": [...], "validation": [...], "best_epoch": int,
            "simulations": int, "valid_fraction": float}, ...]}``; losses are negative log densities
            in nats; epochs count from 0. The last two keys may be left out.

    Raises:
        ValueError: if there is no round, or a round lacks a curve.
    """
    rounds = _checked(history)
    rows, across = style.grid_shape(len(rounds), 4)
    figure = style.new_figure(max(3.4, 2.4 * across), 2.2 * rows + 0.3)
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for i, (axes, found) in enumerate(zip(panels, rounds, strict=False)):
        _draw(axes, found)
        axes.set_title(_title(i, found), fontsize=style.NORMAL, loc="left")
        if i % across == 0:
            axes.set_ylabel("loss (nats)", fontsize=style.NORMAL)
        axes.set_xlabel("epoch", fontsize=style.NORMAL)
    for axes in panels[len(rounds) :]:
        axes.set_visible(False)
    handles = {
        "training": Line2D([], [], color=style.BLUE, lw=style.THIN),
        "validation": Line2D([], [], color=style.ORANGE, ls="--", lw=style.THICK),
        "kept": Line2D([], [], color=style.BLACK, ls="", marker="o", ms=4),
    }
    style.legend(figure, handles)
    return figure


def _checked(history: Mapping) -> list[Mapping]:
    rounds = history.get("rounds") if isinstance(history, Mapping) else None
    if not rounds:
        raise ValueError(
            'Expected a history with "rounds"; got none: give the history of a trained run.'
        )
    for i, found in enumerate(rounds):
        missing = [key for key in _KEYS if key not in found]
        if missing:
            raise ValueError(
                f"Expected {', '.join(_KEYS)} in round {i + 1} of the history; "
                f"got none of {', '.join(missing)}."
            )
    return list(rounds)


def _draw(axes: Axes, found: Mapping) -> None:
    train, valid = (np.asarray(found[key], np.float64) for key in ("train", "validation"))
    style.tidy(axes)
    axes.plot(_epochs(train), train, color=style.BLUE, lw=style.THIN)
    axes.plot(_epochs(valid), valid, color=style.ORANGE, ls="--", lw=style.THICK)
    best = found["best_epoch"]
    if best is not None and 0 <= best < len(valid) and np.isfinite(valid[best]):
        axes.plot(best, valid[best], color=style.BLACK, marker="o", ms=4, zorder=5, clip_on=False)
    limits = _limits(np.concatenate([train, valid]))
    if limits:
        axes.set_ylim(limits)
    else:
        text = "no finite loss" if len(train) else "not trained"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", fontsize=8)
        axes.set_yticks([])
    axes.set_xlim(-0.5, max(len(train), len(valid), 2) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if not len(train):
        axes.set_xticks([])
    if limits:
        axes.yaxis.set_major_locator(MaxNLocator(5))


def _epochs(losses: np.ndarray) -> np.ndarray:
    return np.arange(len(losses))


def _limits(losses: np.ndarray) -> tuple[float, float] | None:
    """Room for the curves; the steep first epochs do not flatten the rest."""
    known = losses[np.isfinite(losses)]
    if not len(known):
        return None
    low, middle, high = float(known.min()), float(np.median(known)), float(known.max())
    air = 0.06 * ((high - low) or max(abs(high), 1.0))
    top = min(high, middle + _FIRST * max(middle - low, float(np.quantile(known, 0.8)) - middle))
    if top <= low:
        top = high
    air = min(air, 0.06 * ((top - low) or 1.0)) if top > low else air
    return low - air, top + air


def _title(i: int, found: Mapping) -> str:
    parts = []
    if found.get("simulations") is not None:
        parts.append(f"{found['simulations']:,} simulations")
    share = found.get("valid_fraction")
    if share is not None and np.isfinite(share):
        parts.append(f"{100 * share:.3g} % valid")
    return "\n".join([f"Round {i + 1}", ", ".join(parts)]) if parts else f"Round {i + 1}"
