"""A range of properties: one conditional density, and natural parameters on knots.

Properties of a range differ in means alone. With c in [-1, 1]^k where the means lie in their
intervals, and d(c) how far they are from the middle's in units of sigma,

    u_c = u - d,    u_c^2 = u^2 - 2 d u + d^2,

so that whatever is known of u at the middle is known at c, and a tilt eta_c . T_c is the tilt

    (eta_1 - 2 d eta_2, eta_2) . T

but for a constant. Each step of the loop draws one c. Natural parameters and running moments stand
on a grid of knots and are interpolated linearly in between; a step changes those of the knots
around its c, each by its share in the interpolation. A property alone has one knot and no c.
"""

from __future__ import annotations

import itertools

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.core import EmergentProperty, PropertyRange
from lanternfish.inference.epi.dual import Spread

_KNOTS = {1: 7, 2: 4, 3: 3}  # along each interval, by how many there are
_JUDGED = {1: 5, 2: 3, 3: 2}  # values of each interval at which the result is judged
_FASTER = 4.0  # times which a knot moves when it is hit, for it is hit more rarely


class Span(eqx.Module):
    """Where the means of a range may lie.

    Attributes:
        reach: d at c = 1 of each statistic that has an interval, (k,).
        places: which statistics those are.
        size: r, of all statistics.
        knots: along each interval.
    """

    reach: Array
    places: tuple[int, ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)
    knots: int = eqx.field(static=True)

    def __init__(self, target: EmergentProperty) -> None:
        ranges = target.ranges if isinstance(target, PropertyRange) else {}
        if len(ranges) > max(_KNOTS):
            raise ValueError(
                f"Expected intervals for at most {max(_KNOTS)} means at once; got {len(ranges)}: "
                "keep some of them at a number."
            )
        names = list(target)
        self.places = tuple(names.index(name) for name in ranges)
        half = [(high - low) / 2 / target[name].sd for name, (low, high) in ranges.items()]
        self.reach = jnp.asarray(half, jnp.float32).reshape(len(ranges))
        self.size = len(names)
        self.knots = _KNOTS.get(len(ranges), 1)

    @property
    def dim(self) -> int:
        """How many means have an interval: k."""
        return len(self.places)

    @property
    def count(self) -> int:
        """How many knots there are."""
        return self.knots**self.dim

    @property
    def pace(self) -> float:
        """How much faster than a single one a knot moves when it is hit."""
        return _FASTER if self.dim else 1.0

    def grid(self) -> np.ndarray:
        """c of the knots, (count, k)."""
        return _lattice(self.knots, self.dim)

    def judged(self) -> np.ndarray:
        """c at which a result is judged, (m, k): the middle first, then ends and between."""
        points = _lattice(_JUDGED.get(self.dim, 1), self.dim)
        return points[np.argsort(np.abs(points).sum(axis=1), kind="stable")]

    def draw(self, key: Array) -> Array:
        """A c of the range, (k,)."""
        return jr.uniform(key, (self.dim,), minval=-1.0, maxval=1.0)

    def weights(self, c: Array) -> Array:
        """Share of each knot in the interpolation at c, (count,), summing to 1."""
        whole = jnp.ones(1)
        for i in range(self.dim):
            at = (c[i] + 1) / 2 * (self.knots - 1)
            hat = jnp.maximum(0.0, 1 - jnp.abs(jnp.arange(self.knots) - at))
            whole = (whole[:, None] * hat).ravel()
        return whole

    def away(self, c: Array) -> Array:
        """d(c) of every statistic, (r,)."""
        away = jnp.zeros(self.size)
        return away.at[jnp.array(self.places, int)].set(self.reach * c) if self.dim else away

    def to_middle(self, eta: Array, away: Array) -> Array:
        """A natural parameter (2, r) of T_c as one of the middle's T."""
        return jnp.stack([eta[0] - 2 * away * eta[1], eta[1]])

    def from_middle(self, spread: Spread, away: Array) -> Spread:
        """Moments of u as moments of u_c."""
        return spread._replace(mean=spread.mean - away)

    def at(self, target: EmergentProperty, c: np.ndarray) -> EmergentProperty:
        """The property at c (k,)."""
        if not isinstance(target, PropertyRange):
            return target
        ends = target.ranges.items()
        return target.at(**{
            name: low + (high - low) * (1 + float(at)) / 2
            for (name, (low, high)), at in zip(ends, c, strict=True)
        })  # fmt: skip


def _lattice(each: int, dim: int) -> np.ndarray:
    side = np.linspace(-1.0, 1.0, each) if each > 1 else np.zeros(1)
    return np.array(list(itertools.product(side, repeat=dim))).reshape(each**dim, dim)
