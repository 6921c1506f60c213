"""Known cells: reading them, and how well regions and traces agree.

A region and a cell match where they share at least `OVERLAP` of their union; each is matched once,
so that the sum of overlaps is largest (the Hungarian method).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lanternfish.analyses.calcium.regions import Regions

OVERLAP = 0.4
MOST = 2 * 10**9  # values of the masks


@dataclass(frozen=True)
class Known:
    """Known cells: masks (cells, height, width) and noiseless traces (cells, frames)."""

    masks: np.ndarray
    traces: np.ndarray


@dataclass(frozen=True)
class Score:
    """How well regions agree with known cells.

    Attributes:
        recall, precision: shares. pairs: (matches, 2) of region and cell.
        correlations: of matched traces, (matches,).
    """

    recall: float
    precision: float
    pairs: np.ndarray
    correlations: np.ndarray

    @property
    def correlation(self) -> float:
        """Median of the correlations; NaN where nothing matched."""
        return float(np.median(self.correlations)) if len(self.correlations) else float("nan")


def read_known(path: Path) -> Known:
    """Read `masks` and `traces` of an HDF5 file.

    Raises:
        ValueError: it has not got them, or their numbers differ.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            masks: Any = file["masks"]
            traces: Any = file["traces"]
            if not all(isinstance(each, h5py.Dataset) for each in (masks, traces)):
                raise ValueError("Expected masks and traces as data sets; got groups.")
            if masks.ndim != 3 or traces.ndim != 2 or len(masks) != len(traces):
                raise ValueError(
                    "Expected masks (cells, height, width) and traces (cells, frames) of as many "
                    f"cells; got {masks.shape} and {traces.shape}."
                )
            if masks.size > MOST:
                raise ValueError(f"Expected masks of less than {MOST:.0e} values.")
            return Known(masks[()].astype(bool), traces[()].astype(np.float32))
    except (OSError, KeyError) as error:
        raise ValueError(
            f"Expected an HDF5 file with masks and traces; {path.name}: {str(error)[:150]}."
        ) from None


def score(regions: Regions, chosen: np.ndarray, traces: np.ndarray, known: Known) -> Score:
    """Compare chosen regions (indices), their traces (regions, frames) and known cells."""
    from scipy.optimize import linear_sum_assignment

    cells = known.masks.reshape(len(known.masks), -1).astype(np.float32)
    found = np.array([regions.mask(k).ravel() for k in chosen], np.float32)
    found = found.reshape(len(chosen), -1 if len(chosen) else cells.shape[1])
    both = found @ cells.T
    shared = both / np.maximum(found.sum(1)[:, None] + cells.sum(1)[None] - both, 1)
    pairs = np.array(
        [(a, b) for a, b in zip(*linear_sum_assignment(-shared), strict=True)
         if shared[a, b] >= OVERLAP], int).reshape(-1, 2)  # fmt: skip
    agree = [np.corrcoef(traces[chosen[a]], known.traces[b])[0, 1] for a, b in pairs]
    pairs = np.stack([np.asarray(chosen)[pairs[:, 0]], pairs[:, 1]], axis=-1)
    return Score(
        len(pairs) / max(len(cells), 1), len(pairs) / max(len(chosen), 1), pairs, np.array(agree)
    )
