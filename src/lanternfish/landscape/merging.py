"""Which ends of ascents are one mode.

Two ends are one where the density on the straight line between them falls by less than ``valley``
nats below the lower of them. A ridge may be bent: between ends that remain, the points of the line
climb within the planes across it, to where the density is highest, and the way through them is
judged alike. Ends that ways connect in several pieces are one mode. A way that was not found leaves
two modes where there is one, never one where there are two.

The way of least resistance is that of the string and nudged elastic band methods (E, Ren &
Vanden-Eijnden 2002, Phys Rev B 66:052301), without the need that its points stay evenly spaced.
"""

from __future__ import annotations

import numpy as np

from lanternfish.landscape.ascent import Ends, ascend
from lanternfish.landscape.space import Space

_BETWEEN = 15  # points between two ends
_WITHIN = 3  # points between two neighbours on a bent way
_MOST = 200  # ends told apart before what is left goes to the nearest
_BENT = 30  # modes, the highest, between which bent ways are sought
_NEIGHBOURS = 3  # higher modes to which ways from each are sought
_NOISE = 1e-5  # relative: dips that float32 and the end of an ascent may feign
_CLIMBS = 60  # most steps across a line


def merge(space: Space, ends: Ends, valley: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``ends`` that are the highest of each mode, (k,), and the mode of each row, (n,)."""
    tops: list[int] = []
    label = np.full(len(ends.y), -1)
    order = np.argsort(-ends.density, kind="stable")
    while len(left := order[label[order] < 0]) and len(tops) < _MOST:
        joined = _straight(space, ends, np.full(len(left), left[0]), left) <= valley
        joined[0] = True
        label[left[joined]] = len(tops)
        tops.append(int(left[0]))
    if len(left):
        label[left] = nearest(ends.y[left], ends.y[tops])
    group = _connected(space, ends, np.array(tops), valley)
    kept = np.unique(group)
    return np.array(tops)[kept], np.searchsorted(kept, group[label])


def nearest(y: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """For each point (n, d) the nearest of the tops (k, d)."""
    distance = ((y[:, None] - tops) ** 2).sum(axis=2)
    return np.argmin(distance, axis=1)


def _connected(space: Space, ends: Ends, tops: np.ndarray, valley: float) -> np.ndarray:
    """For each of the tops, highest first, the highest to which ways without a valley lead."""
    group = np.arange(len(tops))
    pairs = np.array(np.triu_indices(len(tops), 1))
    if len(tops) > 1:
        _join(group, pairs[:, _straight(space, ends, *tops[pairs]) <= valley])
    pairs = _neighbours(ends.y[tops], np.unique(group)[:_BENT])
    if pairs.size:
        _join(group, pairs[:, _bent(space, ends, *tops[pairs]) <= valley])
    return group


def _join(group: np.ndarray, pairs: np.ndarray) -> None:
    """Give both members of each pair, (2, m), and all that belong to them, the lower number."""
    for a, b in pairs.T:
        low, high = sorted((group[a], group[b]))
        group[group == high] = low


def _neighbours(y: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Pairs (2, m): each head with the nearest of those higher than it."""
    pairs = []
    for i, head in enumerate(heads):
        distance = np.linalg.norm(y[heads[:i]] - y[head], axis=1)
        pairs += [(heads[j], head) for j in np.argsort(distance)[:_NEIGHBOURS]]
    return np.array(pairs, int).reshape(-1, 2).T


def _straight(space: Space, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How deep the density falls on the lines between pairs of ends, (m,)."""
    return _depth(space, ends, first, second, _line(ends.y[first], ends.y[second], _BETWEEN))


def _bent(space: Space, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The same on ways whose points have climbed across the lines, (m,)."""
    start, stop = ends.y[first], ends.y[second]
    line = _line(start, stop, _BETWEEN)
    along = stop - start
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
    across = np.repeat(along, _BETWEEN, axis=0)
    climbed = ascend(space, line.reshape(len(across), -1), across=across, steps=_CLIMBS)
    way = np.concatenate([start[:, None], climbed.y.reshape(line.shape), stop[:, None]], axis=1)
    pieces = [_line(way[:, i], way[:, i + 1], _WITHIN) for i in range(_BETWEEN + 1)]
    return _depth(space, ends, first, second, np.concatenate([way[:, 1:-1], *pieces], axis=1))


def _line(start: np.ndarray, stop: np.ndarray, count: int) -> np.ndarray:
    """Points between pairs of points (m, d), shape (m, count, d)."""
    t = np.arange(1, count + 1)[:, None] / (count + 1)
    return (1 - t) * start[:, None] + t * stop[:, None]


def _depth(
    space: Space, ends: Ends, first: np.ndarray, second: np.ndarray, way: np.ndarray
) -> np.ndarray:
    """How far the density on ways (m, points, d) falls below the lower of their ends, (m,)."""
    values = space.density(way.reshape(-1, way.shape[2])).reshape(way.shape[:2])
    lower = np.minimum(ends.density[first], ends.density[second])
    lower = lower - _NOISE * (1 + np.abs(lower))
    apart = np.linalg.norm(ends.y[first] - ends.y[second], axis=1) > 0
    with np.errstate(invalid="ignore"):  # ends of no density: minus infinity on both sides
        return np.where(apart, np.nan_to_num(lower - values.min(axis=1), nan=np.inf), 0.0)
