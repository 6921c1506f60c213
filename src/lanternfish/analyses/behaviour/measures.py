"""What is counted from positions: speed, occupancy, time in regions, distance between animals."""

from __future__ import annotations

from itertools import combinations

import numpy as np


def speeds(centres: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Speed by central differences over the true times, (frames, animals), px/s.

    Args:
        centres: (frames, animals, 2), px. times: (frames,), s.
    """
    if len(times) < 2:
        return np.full(centres.shape[:2], np.nan)
    after = np.minimum(np.arange(len(times)) + 1, len(times) - 1)
    before = np.maximum(np.arange(len(times)) - 1, 0)
    way = np.linalg.norm(centres[after] - centres[before], axis=-1)
    return way / (times[after] - times[before])[:, None]


def durations(times: np.ndarray) -> np.ndarray:
    """Seconds that each frame stands for, (frames,): to the next one; the last as the median."""
    if len(times) < 2:
        return np.zeros(len(times))
    steps = np.diff(times)
    return np.append(steps, np.median(steps))


def occupancy(
    centres: np.ndarray, times: np.ndarray, size: tuple[int, int], cell: float
) -> np.ndarray:
    """Seconds in each square of side `cell` px: (animals, rows, columns)."""
    columns, rows = (max(1, int(np.ceil(length / cell))) for length in size)
    weight = durations(times)
    grids = np.zeros((centres.shape[1], rows, columns))
    for a, grid in enumerate(grids):
        there = np.isfinite(centres[:, a]).all(-1)
        c, r = (np.clip((centres[there, a, d] + 0.5) / cell, 0, None).astype(int) for d in (0, 1))
        np.add.at(grid, (np.minimum(r, rows - 1), np.minimum(c, columns - 1)), weight[there])
    return grids


def pairs(animals: int) -> list[tuple[int, int]]:
    """All pairs of animals."""
    return list(combinations(range(animals), 2))


def distances(centres: np.ndarray) -> np.ndarray:
    """Distance between the animals of each pair, (frames, pairs), px."""
    both = pairs(centres.shape[1])
    if not both:
        return np.zeros((len(centres), 0))
    return np.stack([np.linalg.norm(centres[:, i] - centres[:, j], axis=-1) for i, j in both], 1)
