"""Designs: points of a prior's support, enumerated, of which any range can be had by itself.

    grid      point i has the digits of i in the mixed radix of the numbers of levels, the last
              parameter turning fastest;
    Sobol     point i of a scrambled Sobol sequence u_i, at the prior's quantiles.

Levels that are a number m are the quantiles (j + 1/2) / m, whose cells hold the same share of the
prior. Levels that are named, v_1 < ... < v_m, stand for the cells between the middles of
neighbours; their weight is m times the share of the prior in the cell, so that weighted averages
over the grid are the trapezoid rule for averages over the prior.

Reference: Sobol (1967); scrambling of Matoušek (1998), as in SciPy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lanternfish.core import Prior, Table

if TYPE_CHECKING:
    from scipy.stats import qmc

Levels = int | Sequence[float]
_BITS = 30  # of a Sobol coordinate: no more than 2^30 points


@dataclass(frozen=True)
class Grid:
    """Every combination of the levels of each parameter.

    >>> import lanternfish as lf
    >>> prior = lf.Prior(a=lf.Uniform(0, 1), b=lf.Uniform(0, 10))
    >>> Grid(prior, {"a": 2, "b": (0, 5, 10)}).rows(1, 4).tolist()
    [[0.25, 5.0], [0.25, 10.0], [0.75, 0.0]]

    Args:
        prior: whose parameters they are.
        levels: for each parameter how many, or which in its unit; one number for all.

    Raises:
        ValueError: if levels do not fit the prior.
    """

    prior: Prior
    levels: int | Mapping[str, Levels]

    def __post_init__(self) -> None:
        self.values  # noqa: B018  (says at once what does not fit)

    @cached_property
    def values(self) -> tuple[np.ndarray, ...]:
        """The levels of each parameter, in its unit."""
        names = self.prior.names
        given = self.levels
        if not isinstance(given, Mapping):
            given = dict.fromkeys(names, given)
        unknown, missing = set(given) - set(names), [n for n in names if n not in given]
        if unknown or missing:
            raise ValueError(
                f"Expected levels for {', '.join(names)}; got "
                f"{', '.join(sorted(unknown)) + ' unknown' if unknown else ''}"
                f"{' and ' if unknown and missing else ''}"
                f"{', '.join(missing) + ' missing' if missing else ''}: levels of one value keep a "
                "parameter where it is."
            )
        return tuple(self._levels_of(i, name, given[name]) for i, name in enumerate(names))

    def _levels_of(self, i: int, name: str, levels) -> np.ndarray:
        if isinstance(levels, int | np.integer) and not isinstance(levels, bool):
            if levels < 1:
                raise ValueError(f"Expected at least 1 level of {name}; got {levels}.")
            middle = np.full((int(levels), len(self.prior)), 0.5)
            middle[:, i] = (np.arange(levels) + 0.5) / levels
            return self.prior.quantile(middle)[:, i]
        try:
            found = np.asarray(levels, np.float64)
        except (TypeError, ValueError):
            found = np.zeros((0,))
        if found.ndim != 1 or not len(found) or not np.all(np.diff(found) > 0):
            raise ValueError(
                f"Expected levels of {name} as a number, or as rising values in its unit; got "
                f"{levels!r:.80}."
            )
        low, high = self.prior.low[i], self.prior.high[i]
        if found[0] < low or found[-1] > high:
            raise ValueError(
                f"Expected levels of {name} between {low:.6g} and {high:.6g}, the prior's bounds; "
                f"got {found[0]:.6g} to {found[-1]:.6g}."
            )
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """How many levels each parameter has."""
        return tuple(len(v) for v in self.values)

    def __len__(self) -> int:
        return math.prod(self.shape)

    @property
    def name(self) -> str:
        return f"grid {_digest(*self.values)}"

    def digits(self, start: int, stop: int) -> np.ndarray:
        """Which level of each parameter points ``start`` to ``stop - 1`` have, (m, d)."""
        return np.stack(np.unravel_index(np.arange(start, stop), self.shape), axis=1)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Points ``start`` to ``stop - 1``, (m, d)."""
        digits = self.digits(start, stop)
        return np.stack([v[k] for v, k in zip(self.values, digits.T, strict=True)], axis=1)

    def number_of(self, theta) -> np.ndarray:
        """Numbers of the points that are nearest, level by level, to rows of a table, (n,)."""
        array = theta.array if isinstance(theta, Table) else np.atleast_2d(np.asarray(theta))
        nearest = [
            np.argmin(np.abs(array[:, i, None] - v), axis=1) for i, v in enumerate(self.values)
        ]
        return np.asarray(np.ravel_multi_index(tuple(nearest), self.shape))

    def weights(self, start: int, stop: int) -> np.ndarray:
        """Share of the prior in the cell of each point, times the number of points; (m,)."""
        shares = [self._shares(i) for i in range(len(self.values))]
        digits = self.digits(start, stop)
        parts = [s[k] for s, k in zip(shares, digits.T, strict=True)]
        return np.prod(parts, axis=0)

    def _shares(self, i: int) -> np.ndarray:
        """Number of levels times the share of the prior that belongs to each, (m,)."""
        values, names = self.values[i], self.prior.names
        counted = self.levels[names[i]] if isinstance(self.levels, Mapping) else self.levels
        if isinstance(counted, int | np.integer):
            return np.ones(len(values))
        law = self.prior.named_laws.get(names[i])
        if law is None:
            raise ValueError(
                f"Expected numbers of levels for parameters with a law of their own; got values "
                f"for {names[i]}, which has one together with others: give how many levels."
            )
        middles = law.share_below((values[1:] + values[:-1]) / 2)
        return len(values) * np.diff(np.concatenate([[0.0], middles, [1.0]]))


@dataclass(frozen=True)
class Sobol:
    """A scrambled Sobol sequence at the prior's quantiles: evener than random draws.

    Args:
        prior: whose quantiles they are.
        points: how many.
        seed: of the scrambling.

    Raises:
        ValueError: if they are more than 2^30, or the prior has no quantiles.
    """

    prior: Prior
    points: int
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.points <= 2**_BITS:
            raise ValueError(
                f"Expected 1 to 2^{_BITS} points of a Sobol design; got {self.points}."
            )
        self.prior.quantile(np.full((1, len(self.prior)), 0.5))

    def __len__(self) -> int:
        return self.points

    @property
    def name(self) -> str:
        return f"sobol {self.seed}"

    def places(self, start: int, stop: int) -> np.ndarray:
        """Points of the unit cube, (m, d), strictly inside."""
        from scipy.stats import qmc  # slow to import

        rng = np.random.default_rng(self.seed)
        engine = qmc.Sobol(len(self.prior), scramble=True, bits=_BITS, rng=rng)
        if start:
            engine.fast_forward(start)
        half = 0.5**_BITS / 2
        return np.clip(_drawn(engine, stop - start) + half, half, 1 - half)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Points ``start`` to ``stop - 1``, (m, d)."""
        return self.prior.quantile(self.places(start, stop))

    def weights(self, start: int, stop: int) -> np.ndarray:
        """All 1: points are quantiles of the prior."""
        return np.ones(stop - start)


def _drawn(engine: qmc.Sobol, m: int) -> np.ndarray:
    """The next m points; SciPy warns of a first draw that is no power of 2, which is no matter."""
    if not m:
        return np.zeros((0, engine.d))
    if engine.num_generated:
        return engine.random(m)
    first = engine.random(1)
    return np.concatenate([first, engine.random(m - 1)]) if m > 1 else first


def _digest(*arrays: np.ndarray) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
