"""Positions of the keypoints of animals over frames, with how far each is to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Poses:
    """Poses of animals in one video.

    Attributes:
        positions: (frames, animals, keypoints, 2), px, x to the right and y down, the centre of
            the upper left pixel at (0, 0); NaN where nothing was found.
        confidence: (frames, animals, keypoints), 0 to 1: whether the keypoint is where it is said.
        times: (frames,), s, increasing.
        animals, keypoints: names.
        edges: pairs of indices of keypoints, the skeleton.
        identity: (frames, animals), 0 to 1: probability that this is the animal that had the name
            in the first frame; None where nobody has estimated it.
        size: width and height of the video, px.
    """

    positions: np.ndarray
    confidence: np.ndarray
    times: np.ndarray
    animals: tuple[str, ...]
    keypoints: tuple[str, ...] = ("centre",)
    edges: tuple[tuple[int, int], ...] = ()
    identity: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        frames = len(self.times)
        shape = (frames, len(self.animals), len(self.keypoints))
        _expect("positions", self.positions, (*shape, 2))
        _expect("confidence", self.confidence, shape)
        if self.identity is not None:
            _expect("identity", self.identity, shape[:2])
        if frames > 1 and not np.all(np.diff(self.times) > 0):
            raise ValueError("Expected times that increase; got some that do not.")
        for kind, names in (("animals", self.animals), ("keypoints", self.keypoints)):
            if len(set(names)) < len(names):
                raise ValueError(f"Expected different names of {kind}; got {list(names)}.")
        for edge in self.edges:
            if not all(0 <= end < len(self.keypoints) for end in edge):
                raise ValueError(f"Expected edges among {len(self.keypoints)} keypoints: {edge}.")

    @property
    def centres(self) -> np.ndarray:
        """Mean of the keypoints that were found, (frames, animals, 2), px."""
        found = self._known
        total = np.where(found[..., None], self.positions, 0.0).sum(2)
        count = found.sum(2)[..., None]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    @property
    def found(self) -> np.ndarray:
        """Whether an animal has any keypoint in a frame, (frames, animals)."""
        return np.any(self._known, axis=2)

    @property
    def _known(self) -> np.ndarray:
        """Which keypoints have a position, (frames, animals, keypoints)."""
        return np.isfinite(self.positions[..., 0] + self.positions[..., 1])

    @property
    def rate(self) -> float:
        """Frames a second, from the median interval between frames; NaN of fewer than two."""
        return float(1 / np.median(np.diff(self.times))) if len(self.times) > 1 else float("nan")

    def is_regular(self, tolerance: float = 0.05) -> bool:
        """Whether all frames are as far from each other, within a share of the median interval."""
        steps = np.diff(self.times)
        return len(steps) < 2 or bool(
            np.all(np.abs(steps - np.median(steps)) <= tolerance * np.median(steps))
        )


def _expect(name: str, array: np.ndarray, shape: Sequence[int]) -> None:
    if np.shape(array) != tuple(shape):
        raise ValueError(f"Expected {name} of shape {tuple(shape)}; got {np.shape(array)}.")
