"""Tracks against known positions: coverage, error, offset and swaps of identity."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class Score:
    """How tracks compare with truth.

    Attributes:
        coverage: share of animals and frames with a position. error: median distance, px.
        offset: mean of the signed errors (x, y), px. swaps: changes of identity that last.
        accuracy: share of positions that have the right name.
    """

    coverage: float
    error: float
    offset: tuple[float, float]
    swaps: int
    accuracy: float


def right(centres: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The true animal of each track and frame by the least sum of distances, (frames, animals).

    Names are those of the first frame with all animals; -1 where there is no position.
    """
    frames, animals = centres.shape[:2]
    nearest = np.full((frames, animals), -1)
    for f in range(frames):
        there = np.flatnonzero(np.isfinite(centres[f, :, 0]))
        if len(there):
            cost = np.linalg.norm(centres[f, there, None] - truth[f, None], axis=-1)
            rows, columns = linear_sum_assignment(np.nan_to_num(cost, nan=1e6))
            nearest[f, there[rows]] = columns
    return nearest


def score(centres: np.ndarray, truth: np.ndarray, lasting: int = 15, apart: float = 30.0) -> Score:
    """Compare tracks (frames, animals, 2) with truth of the same shape.

    Args:
        lasting: frames from which on a changed name counts as a swap. apart: px; frames in which
            animals are nearer to each other do not count for swaps: one blob has no names.
    """
    nearest = right(centres, truth)
    whole = np.flatnonzero((nearest >= 0).all(1))
    first = nearest[whole[0]] if len(whole) else np.arange(centres.shape[1])
    matched = np.where(nearest >= 0, nearest, 0)
    off = centres - np.take_along_axis(truth, matched[..., None], 1)
    off = off[nearest >= 0]
    between = np.linalg.norm(truth[:, :, None] - truth[:, None], axis=-1)
    between[:, np.arange(truth.shape[1]), np.arange(truth.shape[1])] = np.inf
    clear = between.min((1, 2)) >= apart if truth.shape[1] > 1 else np.ones(len(truth), bool)
    swaps = 0
    for a in range(centres.shape[1]):
        line = nearest[(nearest[:, a] >= 0) & clear, a]
        edges = np.flatnonzero(np.diff(line)) + 1
        parts = [part for part in np.split(line, edges) if len(part) >= lasting]
        swaps += sum(int(p[0] != q[0]) for p, q in pairwise(parts))
    return Score(
        float((nearest >= 0).mean()),
        float(np.median(np.linalg.norm(off, axis=-1))) if len(off) else float("nan"),
        (float(off[:, 0].mean()), float(off[:, 1].mean())) if len(off) else (np.nan, np.nan),
        swaps,
        float((nearest == first)[nearest >= 0].mean()) if len(off) else float("nan"),
    )
