"""A posterior beside a reference: distances in units of chance, and each parameter's moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lanternfish.core import Column
from lanternfish.plot import style

_Z = 1.96  # standard errors in a 95 % interval


def comparison(finding: Mapping, columns: Sequence[Column] | None = None) -> Figure:
    """Distances over what chance gives, differences of means, and ratios of deviations.

    Bars are 95 % intervals. A posterior that is the reference's has distances around 1 or below,
    differences around 0 and ratios around 1.

    Args:
        finding: of ``diagnostics.compare(...)``.
        columns: the parameters, for their labels.

    Raises:
        ValueError: if the finding is another's.
    """
    if not {"distances", "parameters"} <= set(finding):
        raise ValueError(
            "Expected the finding of diagnostics.compare, with distances and parameters; got "
            f"{', '.join(finding) or 'nothing'}."
        )
    rows, parameters = finding["distances"], finding["parameters"]
    labels = {c.name: style.short_label(c) for c in columns or ()}
    names = [labels.get(p["name"], p["name"].replace("_", " ")) for p in parameters]
    figure = style.new_figure(6.8, max(1.7, 0.16 * len(parameters) + 0.8))
    left, middle, right = figure.subplots(1, 3)
    far = [(r["value"] - r["nothing"]) / (r["chance"] - r["nothing"]) for r in rows]
    wide = [r["error"] / (r["chance"] - r["nothing"]) for r in rows]
    _draw(left, [r["name"] for r in rows], far, wide, "distance over chance", 1.0)
    colours = [style.BLUE if r["passed"] else style.VERMILLION for r in rows]
    left.scatter(far, range(len(rows)), c=colours, s=14, zorder=4)
    _draw(
        middle, names, [p["difference"] for p in parameters],
        [p["difference_error"] for p in parameters], "means apart (sd)", 0.0,
    )  # fmt: skip
    _draw(
        right, names, [p["ratio"] for p in parameters],
        [p["ratio_error"] for p in parameters], "sd over the reference's", 1.0,
    )  # fmt: skip
    right.set_yticklabels([])
    return figure


def _draw(axes: Axes, names, values, errors, label: str, line: float) -> None:
    places = np.arange(len(names))
    axes.axvline(line, color=style.GREY, ls="--", lw=style.THIN)
    axes.errorbar(
        values, places, xerr=_Z * np.asarray(errors), fmt="o", ms=3, color=style.BLUE,
        elinewidth=style.THIN,
    )  # fmt: skip
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(label, fontsize=style.NORMAL)
    axes.locator_params(axis="x", nbins=4)
    style.tidy(axes)
