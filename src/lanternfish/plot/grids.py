"""Marginals: one panel for each parameter, its density over the prior's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lanternfish.core import Posterior, Prior, Table
from lanternfish.plot import densities, inputs, style
from lanternfish.plot.scales import Scale, scale_of


def marginals(
    samples: Table | Posterior,
    *,
    prior: Prior | None = None,
    truth=None,
    names: Sequence[str] | None = None,
    limits: str = "prior",
) -> Figure:
    """The density of each parameter, on an axis in its unit.

    Args:
        samples: a table (n, d), or a posterior, which is sampled and brings its prior.
        prior: drawn faintly; makes the axis of a log-uniform or log-normal parameter logarithmic.
        truth: one point, by name or in order, where the true parameters are known.
        names: which parameters, in which order; all where left out.
        limits: axes over the "prior"'s bounds (where a prior is known) or the range of "samples".

    Raises:
        ValueError, TypeError: if names are unknown, samples not finite, or a point does not fit.
    """
    inputs.check_limits(limits)
    table = inputs.chosen(inputs.as_samples(samples), names)
    prior = inputs.prior_of(samples, prior, table)
    point = inputs.as_point(truth, table, "truth")
    d = len(table.columns)
    rows, across = style.grid_shape(d, 4 if d <= 12 else 6)
    figure = style.new_figure(max(2.9, 1.75 * across), 1.35 * rows + 0.3)
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for i, column in enumerate(table.columns):
        held = [table.array[:, i], *([] if point is None else [point[i : i + 1]])]
        scale = scale_of(held, prior, column.name, limits)
        _draw(panels[i], table.array[:, i], scale)
        style.set_ticks(panels[i], scale, 3, figure.get_figwidth() / across - 0.2)
        if prior is not None:
            _draw_prior(panels[i], prior, column.name, scale)
        if point is not None:
            panels[i].axvline(scale.to_unit(point[i]), color=style.VERMILLION, lw=style.THIN)
        panels[i].set_xlabel(style.axis_label(column), fontsize=style.NORMAL, labelpad=2)
    for panel in panels[d:]:
        panel.set_visible(False)
    _legend(figure, prior is not None, point is not None)
    return figure


def _draw(axes: Axes, values: np.ndarray, scale: Scale) -> None:
    height = densities.marginal(scale.to_unit(values), scale.closed)
    across = densities.centres()
    axes.plot(across, height, color=style.BLUE, lw=style.THICK)
    axes.fill_between(across, height, color=style.BLUE, alpha=0.2, lw=0)
    axes.set(xlim=(0, 1), ylim=(0, 1.12 * (float(height.max()) or 1.0)))
    style.tidy(axes, keep=("bottom",))
    axes.set_yticks([])


def _draw_prior(axes: Axes, prior: Prior, name: str, scale: Scale) -> None:
    height = densities.prior_marginal(prior, name, scale)
    axes.plot(densities.centres(), height, color=style.GREY, ls=":", lw=style.THICK)


def _legend(figure: Figure, prior: bool, truth: bool) -> None:
    handles: dict = {"samples": Line2D([], [], color=style.BLUE, lw=style.THICK)}
    if prior:
        handles["prior"] = Line2D([], [], color=style.GREY, ls=":", lw=style.THICK)
    if truth:
        handles["truth"] = Line2D([], [], color=style.VERMILLION, lw=style.THIN)
    style.legend(figure, handles)
