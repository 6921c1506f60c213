"""Animals as blobs that differ from a background: the median of frames spread over the video.

Threshold and sizes are suggested from the same frames. The threshold lies half-way (geometrically)
between the noise and the contrast of animals; sizes come from the largest blobs of each frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

SAMPLES = 41  # frames of the background
Contrast = Literal["either", "dark", "light"]


@dataclass(frozen=True)
class Detector:
    """How animals are told from the background.

    Attributes:
        background: (height, width), uint8. mask: (height, width), uint8, 255 in the arena.
        contrast: whether animals are darker or lighter than the background.
        threshold: grey levels. smallest, largest: area of one animal, px.
    """

    background: np.ndarray
    mask: np.ndarray
    contrast: Contrast
    threshold: float
    smallest: float
    largest: float


@dataclass(frozen=True)
class Blobs:
    """Blobs of one frame, the largest first.

    Attributes:
        centres: (blobs, 2), px. areas: (blobs,), px. contrasts: (blobs,), mean difference from
        the background. boxes: (blobs, 4), x, y, width, height. labels: (height, width), int32.
        names: (blobs,), the label of each blob.
    """

    centres: np.ndarray
    areas: np.ndarray
    contrasts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    names: np.ndarray

    def pixels(self, blob: int) -> np.ndarray:
        """Pixels of a blob, (area, 2), x and y."""
        x, y, w, h = self.boxes[blob]
        rows, columns = np.nonzero(self.labels[y : y + h, x : x + w] == self.names[blob])
        return np.stack([columns + x, rows + y], 1).astype(np.float64)


def difference(frame: np.ndarray, background: np.ndarray, contrast: Contrast) -> np.ndarray:
    """How far a frame differs from the background, uint8."""
    import cv2

    if contrast == "dark":
        return cv2.subtract(background, frame)
    if contrast == "light":
        return cv2.subtract(frame, background)
    return cv2.absdiff(frame, background)


def detect(frame: np.ndarray, how: Detector) -> Blobs:
    """Blobs of a grey frame that are not smaller than an animal may be."""
    import cv2

    change = difference(frame, how.background, how.contrast)
    binary = cv2.threshold(change, how.threshold, 255, cv2.THRESH_BINARY)[1]
    binary = cv2.bitwise_and(binary, how.mask)
    _, labels, stats, centres = cv2.connectedComponentsWithStats(binary, connectivity=8)
    keep = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= how.smallest)
    keep = keep[np.argsort(-stats[keep, cv2.CC_STAT_AREA], kind="stable")]
    boxes = stats[keep, :4]
    means = [
        float(change[y : y + h, x : x + w][labels[y : y + h, x : x + w] == name].mean())
        for name, (x, y, w, h) in zip(keep, boxes, strict=True)
    ]
    areas = stats[keep, cv2.CC_STAT_AREA].astype(np.float64)
    return Blobs(centres[keep], areas, np.array(means), boxes, labels, keep)


def suggest(
    frames: np.ndarray,
    mask: np.ndarray,
    animals: int,
    contrast: Contrast = "either",
    threshold: float = 0.0,
) -> Detector:
    """Background, threshold and sizes from frames spread over the video.

    Args:
        frames: (frames, height, width), uint8. mask: (height, width), bool.
        threshold: grey levels; 0: suggested.

    Raises:
        ValueError: nothing moves.
    """
    background = np.median(frames, 0).astype(np.uint8)
    arena = mask.astype(np.uint8) * 255
    changes = np.stack([difference(frame, background, contrast) for frame in frames])
    inside = changes[:, mask]
    noise = max(1.0, 1.4826 * float(np.median(np.abs(inside.astype(np.int16)))))
    strongest = np.sort(inside, 1)[:, -20 * animals :]
    contrast_of_animals = float(np.median(strongest))
    if not threshold:
        threshold = max(4.0 * noise, float(np.sqrt(noise * contrast_of_animals)), 8.0)
    if contrast_of_animals <= threshold:
        raise ValueError(
            "Expected animals that move and differ from the background by more than "
            f"{threshold:.0f} grey levels; the strongest differences are "
            f"{contrast_of_animals:.0f}: check the "
            "arena and contrast, or lower the threshold."
        )
    rough = Detector(background, arena, contrast, threshold, 4.0, np.inf)
    areas = [detect(frame, rough).areas[:animals] for frame in frames]
    separate = np.concatenate([each for each in areas if len(each) == animals] or areas)
    if not len(separate):
        raise ValueError(
            "Expected animals that move; no blob has four pixels: lower the threshold, or check "
            "the arena and contrast."
        )
    # A frame in which animals touch has specks among its largest blobs: they are not animals.
    typical = separate[separate >= 0.2 * np.percentile(separate, 90)]
    low, high = np.percentile(typical, [5, 95])
    return Detector(background, arena, contrast, float(threshold), 0.4 * low, 2.0 * high)
