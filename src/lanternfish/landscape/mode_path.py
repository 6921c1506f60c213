"""Conditional modes: the highest density given the values of some parameters.

The free parameters climb (``ascent``) while the given ones are held,

    theta*(c) = argmax log p(theta | x)    subject to    theta_i = c_i,

so the log density of a mode is that of all parameters; up to a constant it is the conditional one.
Followed along the values of one parameter, each mode sought from the one before, they show how the
others compensate for it (Bittner et al. 2021, figure 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lanternfish.core import Posterior, Table
from lanternfish.core.table import as_table
from lanternfish.landscape.ascent import ascend
from lanternfish.landscape.modes import Mode, bounds_of
from lanternfish.landscape.space import Space, as_one_point
from lanternfish.landscape.words import point_in_words

_STARTS = 16  # samples of highest density from which a mode is sought
_SAMPLES = 1_000  # drawn for starts and for the spread of each parameter


@dataclass(frozen=True)
class ModePath:
    """Conditional modes along the values of one parameter.

    Attributes:
        parameter: the name of the parameter that was given.
        theta: a table (m, d), a row for each value, in their order.
        log_density: shape (m,).
        on_bound: names of parameters at a bound, for each row.
        converged: shape (m,).
    """

    parameter: str
    theta: Table
    log_density: np.ndarray
    on_bound: tuple[tuple[str, ...], ...]
    converged: np.ndarray

    def __len__(self) -> int:
        return len(self.theta)

    def __getitem__(self, i: int) -> Mode:
        i = range(len(self))[i]
        return Mode(
            self.theta[i],
            float(self.log_density[i]),
            (self.parameter,),
            self.on_bound[i],
            bool(self.converged[i]),
        )

    def __iter__(self) -> Iterator[Mode]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        values = self.theta[self.parameter]
        ends = f"from {values[0]:.4g} to {values[-1]:.4g}"
        low, high = self.log_density.min(), self.log_density.max()
        return (
            f"ModePath: {len(self)} modes given {self.parameter} {ends}; "
            f"log density {low:.4g} to {high:.4g}"
        )


def conditional_mode(
    posterior: Posterior, fixed: Mapping[str, float] | None = None, *, start=None, seed: int = 0
) -> Mode:
    """The highest mode of the posterior given some of its parameters.

    Args:
        posterior: any.
        fixed: values of parameters by name; none for the mode of the whole posterior.
        start: one point to climb from, by name or in order, for the mode nearest to it. Where left
            out, ascents start at the 16 samples of highest density once the values are fixed, of
            1,000, and the highest end is returned.
        seed: of the samples.

    Raises:
        ValueError: if a name is unknown, a point lies outside the bounds, every parameter is fixed,
            or the posterior has no density there.
    """
    space = Space.of(posterior, _SAMPLES, seed)
    given = _checked(posterior, fixed or {})
    return _climbed(space, given, _starts(space, given, start))


def conditional_modes(
    posterior: Posterior, parameter: str, values, *, start=None, seed: int = 0
) -> ModePath:
    """Conditional modes along values of one parameter, each sought from the one before.

    A path follows one regime for as long as that exists: give ``start`` to say which one, and
    values in small steps.

    Args:
        posterior: any.
        parameter: the name of the one that is given.
        values: of that parameter, shape (m,), in its unit, in the order of the walk.
        start: as for ``conditional_mode``, for the first value.
        seed: of the samples.

    Raises:
        ValueError: as ``conditional_mode``, or if there is no value.
    """
    values = np.atleast_1d(np.asarray(values, np.float64))
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Expected values of shape (m,); got shape {values.shape}.")
    space = Space.of(posterior, _SAMPLES, seed)
    found: list[Mode] = []
    for value in values:
        given = _checked(posterior, {parameter: float(value)})
        found.append(_climbed(space, given, _starts(space, given, start)))
        start = found[-1].theta
    return ModePath(
        parameter,
        Table(np.concatenate([m.theta.array for m in found]), posterior.parameters),
        np.array([m.log_density for m in found]),
        tuple(m.on_bound for m in found),
        np.array([m.converged for m in found]),
    )


def _checked(posterior: Posterior, fixed: Mapping[str, float]) -> dict[int, float]:
    """Places of the parameters that are given, and their values."""
    prior = posterior.prior
    unknown = [name for name in fixed if name not in prior.names]
    if unknown:
        raise ValueError(
            f"Expected names among {', '.join(prior.names)}; got {', '.join(map(str, unknown))}."
        )
    if len(fixed) == len(prior):
        raise ValueError(f"Expected a parameter that is not fixed; got all {len(prior)} fixed.")
    given = {prior.names.index(name): float(value) for name, value in fixed.items()}
    for i, value in given.items():
        if not prior.low[i] <= value <= prior.high[i]:
            raise ValueError(
                f"Expected {prior.names[i]} between {prior.low[i]:.6g} and {prior.high[i]:.6g}, "
                f"the prior's bounds; got {value:.6g}: give a value inside them."
            )
    return given


def _starts(space: Space, given: Mapping[int, float], start) -> np.ndarray:
    """Points (n, d), the given values in place, from which to climb."""
    if start is None:
        points = np.array(space.samples.array)
    else:
        inside = space.posterior.prior.check_inside(as_table(start, space.parameters, "start"))
        points = as_one_point(inside, space.parameters, "start")[None]
    y = space.to_y(points)
    for i, value in given.items():
        y[:, i] = value / space.spread[i]
    density = space.density(y)
    if not np.isfinite(density).any():
        told = point_in_words(space.parameters, points[0]) if start is not None else "any sample"
        raise ValueError(
            f"Expected a start where the posterior has density; got none at {told}: give values "
            "that the posterior reaches, or another start."
        )
    return y[np.argsort(-density, kind="stable")[:_STARTS]]


def _climbed(space: Space, given: Mapping[int, float], starts: np.ndarray) -> Mode:
    """The highest end of ascents with some coordinates held."""
    free = np.ones(starts.shape[1], bool)
    free[list(given)] = False
    ends = ascend(space, starts, free=free)
    i = int(np.argmax(ends.density))
    theta = space.to_theta(ends.y[i : i + 1])
    theta[0, list(given)] = list(given.values())
    names = [c.name for c in space.parameters]
    pressed = tuple(name for name in bounds_of(space, ends, i) if free[names.index(name)])
    return Mode(
        Table(theta, space.parameters),
        float(ends.density[i]),
        tuple(names[j] for j in given),
        pressed,
        bool(ends.converged[i]),
    )
