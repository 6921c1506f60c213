"""What two posteriors predict, beside each other and beside what was wanted."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lanternfish.core import EmergentProperty
from lanternfish.plot import densities, style
from lanternfish.plot.scales import Scale

_LOOKS = ((style.BLUE, "-"), (style.ORANGE, "--"))
_TAIL = 0.01
_WIDE = 3.0  # of the property's standard deviation, that are always shown


def beside(found, target: EmergentProperty) -> Figure:
    """A panel for each statistic of the property: its density under both, and the wanted band.

    Args:
        found: of ``landscape.beside(...)``.
        target: the property that both were asked for; the band is mean plus or minus sd.

    Raises:
        ValueError: if no statistic of the property was compared.
    """
    shown = [i for i, c in enumerate(found.statistics) if c.name in target]
    if not shown:
        raise ValueError(
            f"Expected a comparison of statistics of the property ({', '.join(target)}); got "
            f"{', '.join(c.name for c in found.statistics)}."
        )
    rows, across = style.grid_shape(len(shown), 1 if len(shown) <= 2 else 2)
    figure = style.new_figure(max(4.4, 3.2 * across), 1.15 * rows + 0.5)
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for axes, i in zip(panels, shown, strict=False):
        column = found.statistics[i]
        wanted = target[column.name]
        values = [side.predicted[:, i] for side in found.sides]
        ends = [wanted.mean - _WIDE * wanted.sd, wanted.mean + _WIDE * wanted.sd]
        ends += [q for v in values if len(v) for q in np.quantile(v, [_TAIL, 1 - _TAIL])]
        scale = Scale(min(ends), max(ends))
        style.tidy(axes, keep=("bottom",))
        axes.set(xlim=(0, 1), yticks=[])
        band = scale.to_unit(np.array([wanted.mean - wanted.sd, wanted.mean + wanted.sd]))
        axes.axvspan(*band, color=style.VERMILLION, alpha=0.15, lw=0)
        for value, (colour, dashes) in zip(values, _LOOKS, strict=True):
            if len(value) > 1:
                height = densities.marginal(scale.to_unit(value), reflect=False)
                axes.plot(densities.centres(), height, color=colour, ls=dashes, lw=style.THICK)
        axes.set_ylim(bottom=0)
        axes.set_title(style.axis_label(column), fontsize=style.SMALL + 0.5, loc="left", pad=2)
        style.set_ticks(axes, scale, 4, figure.get_figwidth() / across - 0.2)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    handles = {
        side.name: Line2D([], [], color=colour, ls=dashes, lw=style.THICK)
        for side, (colour, dashes) in zip(found.sides, _LOOKS, strict=True)
    }
    style.legend(figure, {**handles, "wanted": Patch(color=style.VERMILLION, alpha=0.15, lw=0)})
    return figure
