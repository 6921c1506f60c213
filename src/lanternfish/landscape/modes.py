"""Modes: the maxima of a posterior's density, and how much of the posterior belongs to each.

Every sample climbs to the maximum of its basin of attraction. Ends are one mode where a way leads
from one to the other along which the density falls by less than ``valley`` nats below the lower of
them (``merging``). The share of a mode is the share of the samples that climb to it, with its
standard error

    sqrt(share (1 - share) / n).

A maximum of a density moves when a parameter is transformed (log g instead of g), and a shallow one
can appear or vanish; the shares of well-separated regimes hardly change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lanternfish.core import Posterior, Table
from lanternfish.landscape.ascent import Ends, ascend
from lanternfish.landscape.merging import merge, nearest
from lanternfish.landscape.space import Space
from lanternfish.landscape.words import aligned, named, percent, point_in_words

VALLEY = 0.5  # nats: a dip to 61 % of the lower maximum; learned densities ripple by some tenths
_SHOWN = 6  # modes in the text of a result


@dataclass(frozen=True)
class Mode:
    """One maximum of the density, over all parameters or given some.

    Attributes:
        theta: a table of one row.
        log_density: of all parameters, not of the free ones given the fixed.
        fixed: names of parameters that were given.
        on_bound: names of parameters at a bound of the prior, where the density still rises
            outward: it has a slope there, and no maximum.
        converged: whether the ascent ended, rather than running out of steps.
    """

    theta: Table
    log_density: float
    fixed: tuple[str, ...] = ()
    on_bound: tuple[str, ...] = ()
    converged: bool = True

    def __repr__(self) -> str:
        given = f" given {', '.join(self.fixed)}" if self.fixed else ""
        told = f"Mode{given}: {point_in_words(self.theta.columns, self.theta.array[0])}; "
        told += f"log density {self.log_density:.4g}"
        if self.on_bound:
            told += f"; at the prior's bound of {', '.join(self.on_bound)}"
        return told + ("" if self.converged else "; not converged: raise steps")


@dataclass(frozen=True)
class Modes:
    """All modes that were found, the largest share first.

    Attributes:
        theta: a table (k, d).
        log_density: shape (k,).
        share: of the samples that belong to each, shape (k,); adds up to 1.
        error: standard error of each share, shape (k,).
        on_bound: names of parameters at a bound, for each mode.
        converged: whether the ascent to each ended, shape (k,).
        samples: of the posterior, a table (n, d).
        label: the mode to which each sample belongs, shape (n,), 0 for the first.
    """

    theta: Table
    log_density: np.ndarray
    share: np.ndarray
    error: np.ndarray
    on_bound: tuple[tuple[str, ...], ...]
    converged: np.ndarray
    samples: Table = field(repr=False)
    label: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.theta)

    def __getitem__(self, i: int) -> Mode:
        return Mode(
            self.theta[i],
            float(self.log_density[i]),
            on_bound=self.on_bound[i],
            converged=bool(self.converged[i]),
        )

    def __iter__(self) -> Iterator[Mode]:
        return (self[i] for i in range(len(self)))

    def members(self, i: int) -> Table:
        """The samples that belong to one mode."""
        return self.samples[self.label == range(len(self))[i]]

    def __repr__(self) -> str:
        k = len(self)
        seen = min(k, _SHOWN)
        head = f"Modes: {k} of the posterior, by {len(self.samples):,} samples"
        shares = [f"{percent(s)} ± {percent(e)}" for s, e in zip(self.share, self.error)]  # noqa: B905
        rows = [["share", *shares[:seen]]]
        rows.append(["log density", *[f"{v:.4g}" for v in self.log_density[:seen]]])
        for j, column in enumerate(self.theta.columns):
            values = [
                f"{self.theta.array[i, j]:.4g}{'*' * (column.name in self.on_bound[i])}"
                for i in range(seen)
            ]
            rows.append([named(column), *values])
        lines = [head, aligned(rows)]
        if any(self.on_bound[:seen]):
            lines.append("  * at the prior's bound, where the density still rises outward")
        if k > seen:
            left = percent(float(self.share[seen:].sum()))
            lines.append(f"  and {k - seen} more with {left} of the samples together")
        return "\n".join(lines)


def modes(
    posterior: Posterior,
    *,
    samples: int = 1_000,
    by: str = "basin",
    valley: float = VALLEY,
    seed: int = 0,
) -> Modes:
    """The modes of a posterior, and the share of each.

    Args:
        posterior: any; its density is climbed inside the prior's bounds.
        samples: how many are drawn. A mode of share s is missed with probability (1 - s)^n.
        by: how samples are told apart. "basin": each climbs to its mode. "nearest": every tenth
            climbs, and each sample belongs to the nearest mode, in posterior standard deviations;
            quicker, and wrong where regimes differ in width.
        valley: least dip of the log density between two modes, in nats.
        seed: of the samples.

    Raises:
        ValueError: if an option is not one of these.
        TypeError: if it is not a posterior.
    """
    if by not in ("basin", "nearest"):
        raise ValueError(f'Expected by="basin" or by="nearest"; got {by!r}.')
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 2:
        raise ValueError(f"Expected samples, a whole number of at least 2; got {samples!r}.")
    if not 0 <= valley < np.inf:
        raise ValueError(f"Expected valley, in nats, of at least 0; got {valley!r}.")
    space = Space.of(posterior, int(samples), seed)
    starts = space.to_y(space.samples.array)
    ends = ascend(space, starts if by == "basin" else starts[::10])
    if not np.isfinite(ends.density).any():
        raise ValueError(
            "Expected a posterior whose samples have a finite log density; got none in "
            f"{len(starts):,} samples: its sample and log_density do not fit together."
        )
    tops, label = merge(space, ends, valley)
    if by == "nearest":
        label = nearest(starts, ends.y[tops])
    return _ordered(space, ends, tops, label)


def _ordered(space: Space, ends: Ends, tops: np.ndarray, label: np.ndarray) -> Modes:
    """The result, the largest share first."""
    n = len(label)
    counts = np.bincount(label, minlength=len(tops))
    order = np.lexsort((-ends.density[tops], -counts))
    rank = np.argsort(order)
    tops, share = tops[order], counts[order] / n
    return Modes(
        Table(space.to_theta(ends.y[tops]), space.parameters),
        ends.density[tops],
        share,
        np.sqrt(share * (1 - share) / n),
        tuple(bounds_of(space, ends, i) for i in tops),
        ends.converged[tops],
        space.samples,
        rank[label],
    )


def bounds_of(space: Space, ends: Ends, i: int) -> tuple[str, ...]:
    """Names of the parameters at a bound towards which the density rises."""
    y, slope = ends.y[i], ends.slope[i]
    near = space.on_bound(y)
    outward = np.where(y - space.low < space.high - y, slope < 0, slope > 0)
    return tuple(c.name for c, b in zip(space.parameters, near & outward, strict=True) if b)
