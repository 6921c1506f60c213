"""Pairs of parameter sets that lie far apart and behave alike: good ends of a path.

Among samples theta_i with statistics x_i, pairs (i, j) whose statistics differ by no more than a
tolerance, each in units of its own scale,

    max_k |x_ik - x_jk| / scale_k <= tolerance,

are neighbours in a tree over x / scale; of these the pairs farthest apart in parameters are taken,
each sample once,

    distance_ij = | (theta_i - theta_j) / sd |.

Reference: Gonçalves et al. (2020), eLife 9:e56261, Methods; there pairs are within 0.1 standard
deviations of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lanternfish.core import Observation, Prior, Table
from lanternfish.landscape.sensitivity import prior_widths
from lanternfish.landscape.words import aligned, named

_MOST = 2_000_000  # pairs that are looked at
_SHOWN = 5


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples, the farthest apart first.

    Attributes:
        start, end: parameters, tables (p, d).
        x_start, x_end: their statistics, tables (p, k).
        rows: of each pair among the samples, shape (p, 2).
        distance: in standard deviations of the parameters, shape (p,).
        difference: the largest of all statistics, in units of their scales, shape (p,).
    """

    start: Table
    end: Table
    x_start: Table
    x_end: Table
    rows: np.ndarray
    distance: np.ndarray
    difference: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        seen = min(len(self), _SHOWN)
        rows = [["pair", *[str(i + 1) for i in range(seen)]]]
        rows.append(["distance", *[f"{v:.3g}" for v in self.distance[:seen]]])
        rows.append(["difference", *[f"{v:.2g}" for v in self.difference[:seen]]])
        for j, column in enumerate(self.x_start.columns):
            pairs = zip(self.x_start.array[:seen, j], self.x_end.array[:seen, j], strict=True)
            rows.append([named(column), *[f"{a:.4g}, {b:.4g}" for a, b in pairs]])
        return f"Pairs: {len(self)} with the same behaviour, far apart\n{aligned(rows)}"


def ends(
    samples: Table,
    x: Table,
    *,
    pairs: int = 8,
    tolerance: float = 0.1,
    scale=None,
    prior: Prior | None = None,
    target: Observation | None = None,
) -> Pairs:
    """Pairs of samples far apart in parameters with the same behaviour.

    Args:
        samples: of a posterior, a table (n, d).
        x: what a model does at each, a table (n, k), such as ``simulate(model, theta=samples).x``;
            rows with NaN are left out.
        pairs: how many, at most; each sample belongs to one of them at most.
        tolerance: largest difference of a statistic, in units of its scale.
        scale: of each statistic, shape (k,) or by name; its standard deviation over the rows that
            are valid where left out. Give that over simulations of the prior to compare with
            published pairs.
        prior: parameters are measured in its standard deviations; in those of the samples where
            left out.
        target: an observation within the same tolerance of which both ends must lie.

    Raises:
        ValueError: if shapes do not fit, fewer than two rows are valid, or no pair is alike.
    """
    theta, known, unit = _checked(samples, x, scale)
    if not 0 < tolerance < np.inf or pairs < 1:
        raise ValueError(
            f"Expected a tolerance above 0 and at least one pair; got {tolerance} and {pairs}."
        )
    places = x.array / unit
    if target is not None:
        away = np.abs(places - target.array_for(x.columns) / unit).max(axis=1)
        near = known & (away <= tolerance)
        if near.sum() < 2:
            closest = np.sort(np.where(known, away, np.inf))[1]
            raise ValueError(
                f"Expected two samples within {tolerance:g} scales of the target; got "
                f"{near.sum()}: raise the tolerance to {closest:.3g}, or simulate more samples."
            )
        known = near
    sd = theta.std(axis=0) if prior is None else prior_widths(prior) / np.sqrt(12)
    rows = np.flatnonzero(known)
    found = _alike(places[rows], tolerance)
    distance = np.linalg.norm(np.diff(theta[rows][found] / np.maximum(sd, 1e-300), axis=1), axis=2)
    chosen = _greedy(found, distance[:, 0], int(pairs))
    picked = rows[found[chosen]]
    return Pairs(
        samples[picked[:, 0]],
        samples[picked[:, 1]],
        x[picked[:, 0]],
        x[picked[:, 1]],
        picked,
        distance[chosen, 0],
        np.abs(places[picked[:, 0]] - places[picked[:, 1]]).max(axis=1),
    )


def _checked(samples: Table, x: Table, scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters (n, d), rows whose statistics are finite (n,), scales (k,)."""
    if not isinstance(samples, Table) or not isinstance(x, Table) or len(samples) != len(x):
        raise ValueError(
            "Expected samples and their statistics as tables of as many rows; got "
            f"{type(samples).__name__} and {type(x).__name__}: x is simulate(model, "
            "theta=samples).x."
        )
    known = np.isfinite(x.array).all(axis=1)
    if known.sum() < 2:
        raise ValueError(
            f"Expected at least two samples with finite statistics; got {known.sum()} of "
            f"{len(x):,}: simulate more samples."
        )
    if scale is None:
        unit = x.array[known].std(axis=0)
        unit = np.where(unit > 0, unit, 1.0)
    else:
        by_name = scale if hasattr(scale, "keys") else None
        unit = np.array([by_name[n] for n in x.names]) if by_name else np.asarray(scale, float)
    if unit.shape != (x.array.shape[1],) or not np.all(np.isfinite(unit) & (unit > 0)):
        raise ValueError(
            f"Expected a scale above 0 of each of {x.array.shape[1]} statistics; got {scale!r:.80}."
        )
    return samples.array, np.asarray(known), np.asarray(unit)


def _alike(places: np.ndarray, tolerance: float) -> np.ndarray:
    """Pairs of rows (p, 2) no further apart than the tolerance in any coordinate."""
    from scipy.spatial import KDTree

    keep, stride = places, 1
    tree = KDTree(keep)
    while len(keep) > 2_000 and tree.count_neighbors(tree, tolerance, p=np.inf) > 2 * _MOST:
        stride *= 2
        keep = places[::stride]  # samples are in random order: any half of them will do
        tree = KDTree(keep)
    found = tree.query_pairs(tolerance, p=np.inf, output_type="ndarray")
    if not len(found):
        nearest = float(tree.query(keep, k=2, p=np.inf)[0][:, 1].min())
        raise ValueError(
            f"Expected two samples whose statistics differ by at most {tolerance:g} scales; got "
            f"none among {len(places):,}: raise the tolerance to {nearest:.3g}, or simulate more."
        )
    return found * stride


def _greedy(found: np.ndarray, distance: np.ndarray, pairs: int) -> np.ndarray:
    """The farthest pairs of which no two share a sample."""
    used: set[int] = set()
    chosen: list[int] = []
    for i in np.argsort(-distance, kind="stable"):
        a, b = found[i].tolist()
        if a not in used and b not in used:
            chosen.append(int(i))
            used |= {a, b}
        if len(chosen) == pairs:
            break
    return np.array(chosen)
