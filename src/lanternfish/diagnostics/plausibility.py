"""Is one vector of statistics a likely draw of a cloud of simulated ones?

Asked of the observation twice: among simulations of the prior (can the model do this at all?) and
among simulations of the posterior (does what was found do it?). Three distances look together,

    each      the largest |y_k|, y = asinh((x - median) / scale) of each statistic
    joint     Mahalanobis distance of y: combinations that no simulation has
    near      distance to the fifth nearest simulation in whitened y: holes and curves

each of every simulation to the others, and of the observation to all. Where the observation is one
more draw of the cloud, its rank among them is uniform; the smallest of its ranks counts, by the
law that the simulations' own smallest ranks have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from lanternfish.core import Column

_MOST = 5_000  # simulations that are looked at
_NEAREST = 5
_SHRINK = 1e-6  # of the variances, added to the diagonal of the covariance
_FEWEST = 50


@dataclass(frozen=True)
class Plausibility:
    """How the observation lies among simulations.

    Attributes:
        p_value: of all distances together, at least 1 / (n + 1).
        by_distance: p-value of each, by name.
        by_statistic: two-sided p-value of each statistic, (k,), at least 2 / (n + 1).
        scores: how far each statistic is from the median, in robust standard deviations, (k,).
        n: simulations that were looked at.
        distances: joint distance of the simulations, (n,), and of the observation.
    """

    p_value: float
    by_distance: dict[str, float]
    by_statistic: np.ndarray
    scores: np.ndarray
    n: int
    distances: tuple[np.ndarray, float]


def plausibility(
    x: np.ndarray, observed: np.ndarray, columns: Sequence[Column], what: str = "simulations"
) -> Plausibility:
    """Place an observation (k,) among simulated statistics (n, k).

    Raises:
        ValueError: if there are fewer than 50 simulations, or all statistics are constant.
    """
    n, k = x.shape
    if n < max(_FEWEST, 2 * k):
        raise ValueError(
            f"Expected at least {max(_FEWEST, 2 * k)} valid {what} to place {k} statistics among; "
            f"got {n}: raise the budget."
        )
    if not np.isfinite(observed).all():
        raise ValueError("Expected an observation that lacks nothing; got one with missing values.")
    x = x[-_MOST:]
    n = len(x)
    middle = np.median(x, axis=0)
    low, high = np.quantile(x, [0.16, 0.84], axis=0)
    scale = np.where(high > low, (high - low) / 2, x.std(axis=0))
    if not (scale > 0).any():
        raise ValueError(f"Expected {what} that vary; got every statistic constant.")
    moved = np.where(scale > 0, scale, 1.0)
    scores = (observed - middle) / moved
    y, y_obs = np.arcsinh((x - middle) / moved), np.arcsinh(scores)
    white, white_obs = _whitened(y, y_obs)
    joint, joint_obs = _mahalanobis(white, white_obs)
    near, near_obs = _nearest(white, white_obs)
    each = np.stack([np.abs(y).max(axis=1), joint, near], axis=1)
    here = np.array([np.abs(y_obs).max(), joint_obs, near_obs])
    p, by_distance = combined(each, here)
    return Plausibility(
        p_value=p,
        by_distance=dict(zip(("each", "joint", "near"), by_distance.tolist(), strict=True)),
        by_statistic=_two_sided(x, observed),
        scores=scores,
        n=n,
        distances=(joint, joint_obs),
    )


def combined(each: np.ndarray, here: np.ndarray) -> tuple[float, np.ndarray]:
    """p-value of all distances (n, s) together and of each, for one more row ``here`` (s,)."""
    rows = np.concatenate([here[None], each])
    n, s = rows.shape
    order = np.sort(rows, axis=0)
    counts = np.stack([n - np.searchsorted(order[:, j], rows[:, j]) for j in range(s)], axis=1)
    least = counts.min(axis=1) + counts.sum(axis=1) / (n * (s + 1))
    return float(np.sum(least <= least[0]) / n), counts[0] / n


def _whitened(y: np.ndarray, y_obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both without correlations; directions that simulations do not vary in weigh the more."""
    mean = y.mean(axis=0)
    covariance = np.atleast_2d(np.cov(y.T))
    covariance = covariance + _SHRINK * np.diag(np.diag(covariance) + 1e-12)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors / np.sqrt(np.maximum(values, _SHRINK * max(values.max(), 1e-12)))
    return (y - mean) @ root, (y_obs - mean) @ root


def _mahalanobis(white: np.ndarray, white_obs: np.ndarray) -> tuple[np.ndarray, float]:
    """Squared distances, each simulation's to the mean and covariance of the others."""
    n = len(white)
    inner = np.minimum(np.sum(white**2, axis=1), (n - 1) ** 2 / n * (1 - 1e-9))
    without = (n - 2) * n**2 / (n - 1) ** 3 * inner / (1 - n * inner / (n - 1) ** 2)
    return without, float(np.sum(white_obs**2))


def _nearest(white: np.ndarray, white_obs: np.ndarray) -> tuple[np.ndarray, float]:
    tree = KDTree(white)
    own = np.asarray(tree.query(white, _NEAREST + 1)[0])[:, -1]
    return own, float(np.asarray(tree.query(white_obs[None], _NEAREST)[0])[0, -1])


def _two_sided(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    n = len(x)
    below = 1 + np.sum(x <= observed, axis=0)
    above = 1 + np.sum(x >= observed, axis=0)
    return np.minimum(2 * np.minimum(below, above) / (n + 1), 1.0)
