"""The landscape of a posterior: samples coloured by log density, its modes, its directions.

Every parameter against every other, as in ``pairs``. Light dots lie low, dark ones high; arrows
from a mode show directions of the parameter space over the length in which the density falls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lanternfish.core import Posterior, Prior, Table
from lanternfish.plot import arrows as directions
from lanternfish.plot import densities, inputs, style
from lanternfish.plot.mosaic import Mosaic
from lanternfish.plot.scales import scale_of

_DRAWS = 2_000  # of a posterior: dots that still tell apart
_LOW = 0.02  # share of the samples that lie below the lightest colour
_PEAK = 0.9  # of a cell's height that the highest density takes


def landscape(
    samples: Table | Posterior,
    log_density=None,
    *,
    prior: Prior | None = None,
    modes=None,
    arrows=None,
    names: Sequence[str] | None = None,
    limits: str = "prior",
) -> Figure:
    """Samples of every pair of parameters, coloured by the log density of all of them together.

    Args:
        samples: a table (n, d) of two parameters or more; or a posterior, which is sampled and
            brings its prior and its log density.
        log_density: of each sample, shape (n,), in nats; needed with a table.
        prior: ends the axes at its bounds, and makes that of a log-uniform parameter logarithmic.
        modes: points to mark, a table (k, d); the first is where arrows start.
        arrows: changes of the parameters, a table (m, d) in their units, the stiffest first, such
            as ``sensitivity(posterior, mode).arrows``; drawn two lengths either way. Of more than
            two, the first and the last.
        names: which parameters, in which order; all where left out.
        limits: axes over the "prior"'s bounds (where a prior is known) or the range of "samples".

    Raises:
        ValueError, TypeError: if names are unknown, shapes do not fit, samples are not finite, or
            there are arrows without a mode.
    """
    inputs.check_limits(limits)
    whole = samples.sample(_DRAWS) if isinstance(samples, Posterior) else samples
    table = inputs.chosen(inputs.as_samples(whole), names)
    heights = _heights(samples, inputs.as_samples(whole), log_density)
    prior = inputs.prior_of(samples, prior, table)
    if len(table.columns) < 2:
        raise ValueError("Expected two parameters or more; got one: plot its marginal instead.")
    points = _points(modes, table)
    changes = inputs.as_arrows(arrows, table)
    if len(changes) and not len(points):
        raise ValueError("Expected modes, where arrows start; got arrows alone.")
    held = [np.concatenate([table.array, points])[:, i] for i in range(len(table.columns))]
    scales = [
        scale_of([v], prior, c.name, limits) for v, c in zip(held, table.columns, strict=True)
    ]
    mosaic = Mosaic(table.columns, scales)
    figure, axes = mosaic.blank()
    dots = _draw_dots(mosaic, axes, mosaic.to_unit(table.array), heights)
    _draw_diagonal(mosaic, axes, mosaic.to_unit(table.array))
    if len(changes):
        _draw_arrows(mosaic, axes, points[0], changes)
    _draw_modes(mosaic, axes, mosaic.to_unit(points))
    mosaic.label(figure, axes, diagonal=True)
    _legend(mosaic, figure, axes, dots, len(points), len(changes))
    return figure


def _heights(samples: Table | Posterior, table: Table, log_density) -> np.ndarray:
    if log_density is None:
        if not isinstance(samples, Posterior):
            raise ValueError(
                "Expected the log density of each sample; got none: give a posterior, or "
                "log_density=posterior.log_prob(samples)."
            )
        log_density = samples.log_prob(table)
    heights = np.asarray(log_density, np.float64)
    if heights.shape != (len(table),):
        raise ValueError(
            f"Expected log densities of shape ({len(table)},); got shape {heights.shape}."
        )
    if np.isnan(heights).any() or not np.isfinite(heights).any():
        raise ValueError("Expected log densities in nats; got NaN, or none that is finite.")
    return heights


def _points(modes, table: Table) -> np.ndarray:
    """Modes in the order of the columns shown, shape (k, d)."""
    if modes is None:
        return np.zeros((0, len(table.columns)))
    if isinstance(modes, Table):
        return np.array(inputs.chosen(modes, table.names).array)
    point = inputs.as_point(modes, table, "modes")
    return np.zeros((0, len(table.columns))) if point is None else point[None]


def _draw_dots(mosaic: Mosaic, axes: Axes, unit: np.ndarray, heights: np.ndarray) -> PathCollection:
    """All cells at once, the highest dots on top."""
    known = np.isfinite(heights)
    low, high = np.quantile(heights[known], _LOW), heights[known].max()
    low = low if high - low > 1e-9 * abs(high) else high - 1.0
    order = np.argsort(heights, kind="stable")
    unit, heights = unit[order], np.maximum(heights[order], low)
    inside = (unit >= 0) & (unit <= 1)
    x, y, colours = [], [], []
    for row, column in zip(*np.tril_indices(mosaic.d, -1), strict=True):
        seen = inside[:, row] & inside[:, column]
        corner = mosaic.corner(row, column)
        x.append(corner[0] + mosaic.side * unit[seen, column])
        y.append(corner[1] + mosaic.side * unit[seen, row])
        colours.append(heights[seen])
    size = mosaic.by_size([2, 4, 8, 20], [7, 4, 1.5, 0.3])
    return axes.scatter(
        np.concatenate(x),
        np.concatenate(y),
        c=np.concatenate(colours),
        s=size,
        cmap=style.HEIGHT,
        vmin=low,
        vmax=high,
        lw=0,
        zorder=2,
        rasterized=True,
    )


def _draw_diagonal(mosaic: Mosaic, axes: Axes, unit: np.ndarray) -> None:
    across = densities.centres() * mosaic.side
    width = mosaic.by_size([8, 20], [style.THIN, 0.6])
    for i in range(mosaic.d):
        x, y = mosaic.corner(i, i)
        height = densities.marginal(unit[:, i], mosaic.scales[i].closed)
        curve = y + mosaic.side * _PEAK * height / (float(height.max()) or 1.0)
        axes.plot(x + across, curve, color=style.BLACK, lw=width, zorder=3)
        axes.fill_between(x + across, y, curve, color=style.GREY, alpha=0.25, lw=0, zorder=2)


def _draw_arrows(mosaic: Mosaic, axes: Axes, point: np.ndarray, arrows: np.ndarray) -> None:
    for row, column in zip(*np.tril_indices(mosaic.d, -1), strict=True):
        places = [column, row]
        directions.draw(
            axes,
            [mosaic.scales[i] for i in places],
            point[places],
            directions.STRETCH * arrows[:, places],
            corner=mosaic.corner(row, column),
            side=mosaic.side,
        )


def _draw_modes(mosaic: Mosaic, axes: Axes, unit: np.ndarray) -> None:
    """A star in each cell, a stroke below each marginal; none outside the axes."""
    size = mosaic.by_size([2, 4, 8, 20], [7, 6, 4.5, 3])
    for k, place in enumerate(unit):
        inside = (place >= 0) & (place <= 1)
        rows, columns = np.tril_indices(mosaic.d, -1)
        seen = inside[rows] & inside[columns]
        x = columns[seen] + mosaic.side * place[columns[seen]]
        y = mosaic.d - 1 - rows[seen] + mosaic.side * place[rows[seen]]
        face = "white" if k == 0 else style.GREY
        look = {"mfc": face, "mec": style.BLACK, "mew": 0.6 if mosaic.d <= 8 else 0.4}
        axes.plot(x, y, ls="", marker="*", ms=size, zorder=9, **look)
        for i in np.flatnonzero(inside):
            foot = mosaic.corner(i, i) + np.array([mosaic.side * place[i], 0])
            stroke = foot[1] + np.array([0, 0.12 * mosaic.side])
            axes.plot(
                [foot[0]] * 2, stroke, color=style.BLACK, lw=mosaic.by_size([8, 20], [1.2, 0.8])
            )


def _legend(
    mosaic: Mosaic, figure: Figure, axes: Axes, dots: PathCollection, modes: int, arrows: int
) -> None:
    """Colours, modes and directions, in the empty corner above the diagonal."""
    d = mosaic.d
    font = style.NORMAL if figure.get_figwidth() < 9 else 1.3 * style.LARGE
    end, inch = d - 1 + mosaic.side, 1 / mosaic.inches
    left = 1.0 + 0.1 * inch if d == 2 else max(end - 3.2 * inch * font / style.NORMAL, 1.3)
    line = font / 72 * inch
    top = end - 1.6 * line
    box = axes.inset_axes((left, top - line, end - left, line), transform=axes.transData)
    bar = figure.colorbar(dots, cax=box, orientation="horizontal")
    bar.outline.set_linewidth(style.HAIR)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=0.85 * font, width=style.HAIR, length=2)
    bar.ax.locator_params(nbins=4)
    bar.ax.set_title("log density (nats)", fontsize=0.95 * font, pad=3, loc="left")
    shown = _mode_handles(modes) | directions.handles(arrows)
    if shown:
        axes.legend(
            list(shown.values()),
            list(shown),
            loc="upper left",
            bbox_to_anchor=(left, top - 4 * line),
            bbox_transform=axes.transData,
            fontsize=font,
            frameon=False,
            borderaxespad=0,
            borderpad=0,
            ncols=1 if len(shown) < 4 else 2,
        )


def _mode_handles(modes: int) -> dict:
    names = ["mode"][:modes] if modes < 2 else ["first mode", "other modes"]
    faces = ("white", style.GREY)
    look = {"mec": style.BLACK, "mew": 0.8}
    return {
        name: Line2D([], [], ls="", marker="*", ms=8, mfc=face, **look)
        for name, face in zip(names, faces, strict=False)
    }
