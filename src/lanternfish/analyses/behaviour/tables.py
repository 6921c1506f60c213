"""Poses as a table: one row for each frame, animal and keypoint."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from lanternfish.analyses.behaviour.poses import Poses

COLUMNS = ("frame", "time_s", "animal", "keypoint", "x_px", "y_px", "confidence", "identity")


def write_poses(poses: Poses, path: Path) -> None:
    """Write a CSV; a keypoint that was not found has empty cells."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for f, time in enumerate(poses.times):
            for a, animal in enumerate(poses.animals):
                sure = "" if poses.identity is None else f"{poses.identity[f, a]:.4f}"
                for k, keypoint in enumerate(poses.keypoints):
                    x, y = poses.positions[f, a, k]
                    place = [_cell(x), _cell(y), f"{poses.confidence[f, a, k]:.4f}"]
                    table.writerow([f, f"{time:.6f}", animal, keypoint, *place, sure])


def write_columns(path: Path, names: list[str], rows: list[list]) -> None:
    """Write any small table; numbers are written with six digits."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(names)
        for row in rows:
            table.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])


def read_positions(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Positions of a CSV with columns frame, animal, x_px, y_px: (frames, animals, 2), names.

    Raises:
        ValueError: columns are missing, or a cell is no number.
    """
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        missing = {"frame", "animal", "x_px", "y_px"} - set(table.fieldnames or ())
        if missing:
            raise ValueError(
                f"Expected the columns frame, animal, x_px, y_px; missing: {sorted(missing)}."
            )
        rows = list(table)
    names = tuple(dict.fromkeys(row["animal"] for row in rows))
    try:
        frames = [int(row["frame"]) for row in rows]
        places = [[float(row[c]) if row[c] else np.nan for c in ("x_px", "y_px")] for row in rows]
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected numbers in frame, x_px and y_px: {error}.") from None
    if not rows or min(frames) < 0:
        raise ValueError("Expected rows with frames from 0 on; got none, or a negative frame.")
    positions = np.full((max(frames) + 1, len(names), 2), np.nan)
    for frame, row, place in zip(frames, rows, places, strict=True):
        positions[frame, names.index(row["animal"])] = place
    return positions, names


def _cell(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else ""
