"""The pair plot: every parameter against every other, from 1 to dozens of parameters.

All cells lie in one pair of axes, so that a plot of 31 parameters (496 cells) takes seconds.
Shading is the density; lines enclose 50 and 90 % of the mass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lanternfish.core import Posterior, Prior, Table
from lanternfish.plot import densities, inputs, style
from lanternfish.plot.mosaic import Mosaic
from lanternfish.plot.scales import scale_of

MASSES = (0.9, 0.5)  # shares of the mass that the contours enclose
_PEAK = 0.9  # of a cell's height that the highest density takes
_LOOKS = {  # colour, marker, line style
    "samples": (style.BLUE, "", "-"),
    "reference": (style.ORANGE, "", "--"),
    "prior": (style.GREY, "", ":"),
    "truth": (style.VERMILLION, "o", "-"),
    "MAP": (style.BLACK, "x", (0, (4, 2))),
}


def pair(
    samples: Table | Posterior,
    *,
    prior: Prior | None = None,
    truth=None,
    map=None,
    names: Sequence[str] | None = None,
    limits: str = "prior",
    reference: Table | Posterior | None = None,
    correlations: bool = False,
    labels: tuple[str, str] = ("samples", "reference"),
) -> Figure:
    """Marginal densities on the diagonal, densities of pairs below it.

    Args:
        samples: a table (n, d), or a posterior, which is sampled and brings its prior.
        prior: drawn faintly on the diagonal; makes the axis of a log-uniform or log-normal
            parameter logarithmic.
        truth: one point, by name or in order, where the true parameters are known.
        map: one point, such as ``posterior.map()``.
        names: which parameters, in which order; all where left out.
        limits: axes over the "prior"'s bounds (where a prior is known) or the range of "samples".
        reference: a second set of samples to compare with, as contours.
        correlations: write Pearson's correlation of the samples, as seen on the axes, above the
            diagonal.
        labels: what the legend calls samples and reference.

    Raises:
        ValueError, TypeError: if names are unknown, samples not finite, or a point does not fit.
    """
    inputs.check_limits(limits)
    table = inputs.chosen(inputs.as_samples(samples), names)
    prior = inputs.prior_of(samples, prior, table)
    given = {
        "truth": inputs.as_point(truth, table, "truth"),
        "MAP": inputs.as_point(map, table, "map"),
    }
    points = {name: point for name, point in given.items() if point is not None}
    sets = {"samples": table}
    if reference is not None:
        others = inputs.as_samples(reference, "reference")
        sets["reference"] = inputs.chosen(others, table.names)
    mosaic = _mosaic(sets, points, prior, limits)
    figure, axes = mosaic.blank()
    units = {name: mosaic.to_unit(t.array) for name, t in sets.items()}
    draw_pairs(mosaic, axes, units)
    draw_diagonal(mosaic, axes, units, prior)
    for name, point in points.items():
        _draw_point(mosaic, axes, mosaic.to_unit(point[None])[0], name)
    if correlations:
        _draw_correlations(mosaic, axes, units["samples"])
    mosaic.label(figure, axes, diagonal=not correlations)
    shown = [*sets, *(["prior"] if prior else []), *points]
    told: dict[str, str] = {"samples": labels[0], "reference": labels[1]}
    _draw_legend(figure, axes, shown, told, outside=correlations or mosaic.d == 1)
    return figure


def _mosaic(sets: dict[str, Table], points: dict, prior: Prior | None, limits: str) -> Mosaic:
    columns = sets["samples"].columns
    scales = []
    for i, column in enumerate(columns):
        held = [t.array[:, i] for t in sets.values()] + [p[i : i + 1] for p in points.values()]
        scales.append(scale_of(held, prior, column.name, limits))
    return Mosaic(columns, scales)


def draw_pairs(mosaic: Mosaic, axes: Axes, units: dict[str, np.ndarray]) -> None:
    """Shading of the samples as one image; contours of every set."""
    d, bins, pitch = mosaic.d, mosaic.bins, mosaic.pitch
    image = np.zeros(((d - 1) * pitch + bins,) * 2)
    for name, unit in units.items():
        lines: dict[float, list] = {mass: [] for mass in MASSES}
        widths = [densities.width(places) for places in unit.T]
        for row, column in zip(*np.tril_indices(d, -1), strict=True):
            density = densities.joint(
                (unit[:, column], unit[:, row]),
                (widths[column], widths[row]),
                (mosaic.scales[column].closed, mosaic.scales[row].closed),
                bins,
            )
            if name == "samples" and density.max() > 0:
                top, start = (d - 1 - row) * pitch, column * pitch
                image[top : top + bins, start : start + bins] = density / density.max()
            for mass, found in zip(MASSES, _contours(density, mosaic.side), strict=True):
                lines[mass] += [line + mosaic.corner(row, column) for line in found]
        _add_contours(mosaic, axes, lines, name)
    end = d - 1 + mosaic.side
    shading = {"cmap": style.DENSITY, "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(image, extent=(0, end, 0, end), origin="lower", aspect="auto", zorder=1, **shading)
    axes.set(xlim=limits[0], ylim=limits[1])


def _contours(density: np.ndarray, side: float) -> list[list]:
    """Lines that enclose each of ``MASSES`` in a cell of this side; closed along its edges."""
    places = np.concatenate([[0.0], densities.centres(len(density)), [1.0]]) * side
    find = contour_generator(places, places, np.pad(density, 1))
    levels = densities.mass_levels(density, MASSES)
    return [list(find.lines(v)) if v > 0 else [] for v in levels]


def _add_contours(mosaic: Mosaic, axes: Axes, lines: dict[float, list], name: str) -> None:
    colour, _, dashes = _LOOKS[name]
    width = mosaic.by_size([8, 20], [1.0, 0.6])
    for mass, found in lines.items():
        collection = LineCollection(found, colors=colour, linestyles=dashes, zorder=3)
        collection.set_linewidth(width if mass == min(MASSES) else 0.7 * width)
        axes.add_collection(collection, autolim=False)


def draw_diagonal(mosaic: Mosaic, axes: Axes, units: dict, prior: Prior | None) -> None:
    across = densities.centres() * mosaic.side
    width = mosaic.by_size([8, 20], [style.THICK, 0.8])
    for i, column in enumerate(mosaic.columns):
        x, y = mosaic.corner(i, i)
        closed = mosaic.scales[i].closed
        heights = {name: densities.marginal(unit[:, i], closed) for name, unit in units.items()}
        peak = max(float(h.max()) for h in heights.values()) or 1.0
        if prior is not None:
            heights["prior"] = densities.prior_marginal(prior, column.name, mosaic.scales[i])
        for name, height in heights.items():
            colour, _, dashes = _LOOKS[name]
            curve = y + mosaic.side * np.minimum(_PEAK * height / peak, 1)
            axes.plot(x + across, curve, color=colour, ls=dashes, lw=width, zorder=3)
            if name == "samples":
                axes.fill_between(x + across, y, curve, color=colour, alpha=0.2, lw=0, zorder=2)


def _draw_point(mosaic: Mosaic, axes: Axes, unit: np.ndarray, name: str) -> None:
    """A line in each diagonal cell, a marker in each cell below; none outside the axes."""
    colour, marker, dashes = _LOOKS[name]
    inside = (unit >= 0) & (unit <= 1)
    spots = unit * mosaic.side
    width = mosaic.by_size([8, 20], [1.1, 0.8])
    feet = [mosaic.corner(i, i) + np.array([spots[i], 0]) for i in np.flatnonzero(inside)]
    lines = LineCollection([(foot, foot + np.array([0, mosaic.side])) for foot in feet], zorder=5)
    lines.set(color=colour, linestyle=dashes, linewidth=width)
    axes.add_collection(lines, autolim=False)
    rows, columns = np.tril_indices(mosaic.d, -1)
    seen = inside[rows] & inside[columns]
    rows, columns = rows[seen], columns[seen]
    size = mosaic.by_size([2, 8, 20], [5, 3.5, 2.2])
    x, y = columns + spots[columns], mosaic.d - 1 - rows + spots[rows]
    axes.plot(x, y, color=colour, ls="", marker=marker, ms=size, mew=width, zorder=6)


def _draw_correlations(mosaic: Mosaic, axes: Axes, unit: np.ndarray) -> None:
    """Numbers, darker where stronger; none for a constant."""
    varies = unit.std(axis=0) > 0
    font = mosaic.font if mosaic.d <= 12 else 5.5
    for row, column in zip(*np.triu_indices(mosaic.d, 1), strict=True):
        if varies[row] and varies[column]:
            r = float(np.corrcoef(unit[:, row], unit[:, column])[0, 1])
            x, y = mosaic.corner(row, column) + mosaic.side / 2
            text, shade = f"{r:.2f}".replace("-", "−"), 0.6 * (1 - min(1, 1.6 * abs(r)))
            found = axes.text(x, y, text, ha="center", va="center", fontsize=font)
            found.set(color=str(shade), in_layout=False)


def _draw_legend(
    figure: Figure, axes: Axes, shown: list[str], told: dict[str, str], outside: bool
) -> None:
    handles = {}
    for name in shown:
        colour, marker, dashes = _LOOKS[name]
        label = told.get(name, name)
        handles[label] = Line2D([], [], color=colour, ls=dashes, marker=marker, ms=4)
    if outside:
        style.legend(figure, handles)
    elif len(handles) > 1:
        font = style.SMALL if figure.get_figwidth() < 7 else style.LARGE
        axes.legend(
            list(handles.values()), list(handles), loc="upper right", fontsize=font, frameon=False
        )
