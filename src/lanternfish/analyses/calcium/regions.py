"""Regions that were found, their traces, dF/F, and which of them are taken for cells.

    F_c = F - c (F_neu - median F_neu)          c: the share of neuropil in a region
    F_0 = maximum filter of the minimum filter of the smoothed F_c, over a minute
    dF/F = (F_c - F_0) / F_0

Only the change of the neuropil is taken away, so that F_0 stays positive where neuropil is bright.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

WINDOW = 60.0  # s, of the filters of the ground
SMOOTH = 1.0  # s, standard deviation of the Gaussian before them
FLOOR = 0.01  # of a typical brightness: the least ground that is divided by


@dataclass(frozen=True)
class Motion:
    """What registration has found.

    Attributes:
        mean: image (height, width), after registration; shifts: (frames, 2) of y and x, px.
        local: largest shift of a part of each frame, (frames, 2), or None.
    """

    mean: np.ndarray
    shifts: np.ndarray
    local: np.ndarray | None = None


@dataclass(frozen=True)
class Regions:
    """Regions of one movie.

    Attributes:
        pixels: for each region (pixels, 2) of y and x; weights: (pixels,); own: (pixels,), whether
            a pixel belongs to no other region.
        raw, neuropil: fluorescence, (regions, frames); spikes: deconvolved, of the same shape.
        rate: frames a second. size: height and width, px.
        measures: of each region: snr, skew, compactness, radius, pixels.
        classified: (regions, 2): suite2p's classifier, 0 or 1, and its probability.
        motion: see there. correlation: image (height, width); related: what it tells of.
    """

    pixels: list[np.ndarray]
    weights: list[np.ndarray]
    own: list[np.ndarray]
    raw: np.ndarray
    neuropil: np.ndarray
    spikes: np.ndarray
    rate: float
    size: tuple[int, int]
    measures: dict[str, np.ndarray]
    classified: np.ndarray
    motion: Motion
    correlation: np.ndarray
    related: str = "Mean correlation with neighbouring pixels"

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def frames(self) -> int:
        """Of the movie."""
        return self.raw.shape[1] if len(self) else len(self.motion.shifts)

    def mask(self, k: int) -> np.ndarray:
        """Pixels of region k, (height, width)."""
        found = np.zeros(self.size, bool)
        found[self.pixels[k][:, 0], self.pixels[k][:, 1]] = True
        return found


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def motion_of(told: dict[str, np.ndarray], offset: float = 0.0, scale: float = 1.0) -> Motion:
    """Motion of arrays that the child of suite2p wrote; offset and scale of the converted movie."""
    shifts = np.stack([told["shift_y"], told["shift_x"]], axis=-1).reshape(-1, 2)
    local = None
    if "local_y" in told:
        local = np.stack([told["local_y"], told["local_x"]], axis=-1)
    return Motion(told["mean"] * scale + offset, shifts, local)


def read_motion(path: Path, offset: float, scale: float) -> Motion:
    """What registration has found, as the child of suite2p wrote it."""
    return motion_of(_unpacked(path), offset, scale)


def read_result(path: Path, rate: float, offset: float = 0.0, scale: float = 1.0) -> Regions:
    """Regions of what the child of suite2p wrote; offset and scale of the converted movie."""
    told = _unpacked(path)
    count = told["count"].astype(int)
    ends = np.cumsum(count)
    parts = [slice(end - n, end) for n, end in zip(count, ends, strict=True)]
    empty = np.zeros((0, len(told["shift_y"])), np.float32)
    names = {"snr": "snr", "skew": "skew", "compactness": "compact", "radius": "radius"}
    measures = {ours: told.get(theirs, np.zeros(0)) for ours, theirs in names.items()}
    measures["pixels"] = count
    return Regions(
        [np.stack([told["ypix"][p], told["xpix"][p]], axis=-1).astype(int) for p in parts],
        [told["lam"][p].astype(np.float32) for p in parts],
        [~told["overlap"][p].astype(bool) for p in parts],
        told.get("F", empty) * np.float32(scale) + np.float32(offset),
        told.get("Fneu", empty) * np.float32(scale) + np.float32(offset),
        told.get("spikes", empty) * np.float32(scale),
        rate,
        (told["mean"].shape[0], told["mean"].shape[1]),
        measures,
        told.get("iscell", np.zeros((0, 2))),
        motion_of(told, offset, scale),
        told["correlation"],
    )


def relative(regions: Regions, share: float) -> np.ndarray:
    """dF/F, (regions, frames); share: of the neuropil that is in a region."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

    if not len(regions):
        return np.zeros((0, regions.frames), np.float32)
    around = regions.neuropil - np.median(regions.neuropil, axis=1, keepdims=True)
    clean = regions.raw - share * around
    width = max(3, round(WINDOW * regions.rate))
    smooth = gaussian_filter1d(clean, max(1.0, SMOOTH * regions.rate), axis=1)
    ground = maximum_filter1d(minimum_filter1d(smooth, width, axis=1), width, axis=1)
    least = FLOOR * max(float(np.median(np.abs(clean))), 1e-6)
    ground = np.maximum(ground, least)
    return ((clean - ground) / ground).astype(np.float32)


def accepted(measures: dict[str, np.ndarray], snr: float, skew: float, compactness: float):
    """Which regions are taken for cells: (regions,) of bool."""
    return (
        (np.nan_to_num(measures["snr"]) >= snr)
        & (np.nan_to_num(measures["skew"]) >= skew)
        & (np.nan_to_num(measures["compactness"], nan=np.inf) <= compactness)
    )


def outline(mask: np.ndarray) -> np.ndarray:
    """The longest outline of a mask, (points, 2) of x and y, px; (0, 0) is a pixel's centre."""
    import contourpy

    padded = np.pad(mask.astype(float), 1)
    lines = [np.asarray(line) for line in contourpy.contour_generator(z=padded).lines(0.5)]
    return max(lines, key=len) - 1 if lines else np.zeros((0, 2))
