"""What a video itself says of the settings: the arena, the number of animals, their sizes.

The arena is the smallest outline in the background, of something lighter or darker than what is
around it, in which nearly all that moves lies: a circle where a circle fits it, a rectangle or
polygon with few corners where one does. The number of animals is the largest number of blobs of an
animal's size that is seen in a fifth of the frames: animals that touch lower it in some frames, and
specks raise it in few.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lanternfish.analyses.tracking import arena, detection, reading
from lanternfish.service.analyses import Suggestion

LEAST, MOST = 0.1, 0.97  # share of the frame that an arena takes
INSIDE = 0.97  # share of what moves that lies in an arena
STEP = 8.0  # grey levels between both sides of its edge, at least
CORNERS = 12  # of a polygon, at most
_FIT = 0.02  # of the radius, or of the side of a square as large: how far an outline may be off
_OFTEN = 0.2  # share of frames
_SPECK = 0.3  # of the area of a large blob: smaller ones are no animals


def suggest(inputs: Mapping[str, Path]) -> Suggestion:
    """Settings that a video suggests, and in words what was seen.

    Raises:
        VideoError: it cannot be read. ValueError: nothing moves.
    """
    header = reading.read_header(inputs["video"])
    frames = reading.sample(inputs["video"], header.frames, detection.SAMPLES)
    shape = ""
    mask = np.ones(frames.shape[1:], bool)
    if "mask" in inputs:
        mask = arena.read_mask(inputs["mask"], header.width, header.height)
    else:
        shape = arena_of(frames)
        if shape:
            mask = arena.mask_of(arena.outline(shape), header.width, header.height)
    animals = count(frames, mask)
    how = detection.suggest(frames, mask, animals)
    values = {
        "animals": animals,
        "arena": shape,
        "threshold": round(how.threshold, 1),
        "smallest": float(np.floor(how.smallest)),
        "largest": float(np.ceil(how.largest)),
    }
    seen = f"the arena as a {shape.split()[0]}" if shape else "no arena with a clear edge"
    if "mask" in inputs:
        seen = "what moves in the mask"
    number = f"{animals} {'animal' if animals == 1 else 'animals'}"
    words = (
        f"Seen in {len(frames)} frames: {seen}, {number} of {values['smallest']:.0f} to "
        f"{values['largest']:.0f} px². Look whether it is so before you start."
    )
    return Suggestion(values, words)


def count(frames: np.ndarray, mask: np.ndarray) -> int:
    """Animals in frames (frames, height, width) spread over a video, inside of a mask."""
    rough = detection.suggest(frames, mask, 1)
    how = detection.Detector(
        rough.background, rough.mask, rough.contrast, rough.threshold, 4.0, np.inf
    )
    areas = [detection.detect(frame, how).areas for frame in frames]
    large = np.array([each[0] for each in areas if len(each)])
    if not len(large):
        return 1
    least = _SPECK * float(np.median(large))
    counts = np.array([int((each >= least).sum()) for each in areas])
    often = [n for n in range(1, counts.max() + 1) if (counts >= n).mean() >= _OFTEN]
    return max(1, *often) if often else 1


def arena_of(frames: np.ndarray) -> str:
    """The arena in frames (frames, height, width), as the settings take it; "" where none is."""
    import cv2

    background = np.median(frames, 0).astype(np.uint8)
    moving = _moving(frames, background)
    smooth = cv2.GaussianBlur(background, (0, 0), 1.5)
    best, least = "", np.inf
    for level in _levels(smooth):
        for binary in (smooth > level, smooth <= level):
            found, _ = cv2.findContours(
                binary.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
            )
            for contour in found:
                area = cv2.contourArea(contour)
                if not LEAST <= area / background.size <= MOST or area >= least:
                    continue
                if _holds(contour, moving, background.shape) and _step(contour, background) >= STEP:
                    shape = described(contour[:, 0].astype(np.float64))
                    if shape and _fits_frame(shape, background.shape):
                        best, least = shape, area
    return best


def _levels(smooth: np.ndarray) -> list[float]:
    """Grey levels that may lie between an arena and its surroundings: Otsu's, and a few others."""
    import cv2

    otsu = float(cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0])
    low, high = np.percentile(smooth, [1, 99])
    return [otsu, *np.linspace(low, high, 5)[1:-1].tolist()] if high - low >= STEP else []


def _moving(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """How often each pixel differs clearly from the background."""
    changes = np.abs(frames.astype(np.int16) - background.astype(np.int16))
    clear = max(8.0, 0.4 * float(np.median(np.sort(changes.reshape(len(frames), -1), 1)[:, -20:])))
    return (changes > clear).sum(0)


def _holds(contour: np.ndarray, moving: np.ndarray, size: tuple[int, ...]) -> bool:
    import cv2

    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [contour], 1)
    total = moving.sum()
    return bool(total and moving[mask > 0].sum() >= INSIDE * total)


def _step(contour: np.ndarray, background: np.ndarray) -> float:
    """Median difference of grey levels three pixels inside and outside of an outline."""
    import cv2

    mask = np.zeros(background.shape, np.uint8)
    cv2.fillPoly(mask, [contour], 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    inner = (mask > 0) & (cv2.erode(mask, kernel, borderValue=1) == 0)
    outer = (mask == 0) & (cv2.dilate(mask, kernel) > 0)
    if not inner.any() or not outer.any():
        return 0.0
    return abs(float(np.median(background[inner])) - float(np.median(background[outer])))


def described(points: np.ndarray) -> str:
    """An outline, (points, 2), as a circle, rectangle or polygon; "" where none of them fits."""
    import cv2

    whole = points.astype(np.float32)[:, None]
    side = np.sqrt(cv2.contourArea(whole))
    middle, radius = _circle(points)
    off = np.abs(np.linalg.norm(points - middle, axis=1) - radius)
    if np.percentile(off, 95) <= max(1.5, _FIT * radius):
        return f"circle {middle[0]:.0f} {middle[1]:.0f} {radius:.0f}"
    corners = cv2.approxPolyDP(cv2.convexHull(whole), max(2.0, _FIT * side), True)[:, 0]
    gaps = [abs(cv2.pointPolygonTest(corners[:, None], tuple(map(float, p)), True)) for p in points]
    if len(corners) > CORNERS or np.percentile(gaps, 95) > max(3.0, 2 * _FIT * side):
        return ""
    (x, y), (right, low) = corners.min(0), corners.max(0)
    upright = np.abs(corners[:, None] - [[x, y], [right, y], [right, low], [x, low]]).sum(-1)
    if len(corners) == 4 and upright.min(1).max() <= max(3.0, _FIT * side):
        return f"rectangle {x:.0f} {y:.0f} {right - x:.0f} {low - y:.0f}"
    return "polygon " + " ".join(f"{x:.0f} {y:.0f}" for x, y in corners)


def _circle(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Least-squares circle (Kasa 1976, doi:10.1109/TIM.1976.6312298): centre and radius."""
    system = np.column_stack([points, np.ones(len(points))])
    a, b, c = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return np.array([a / 2, b / 2]), float(np.sqrt(max(c + (a**2 + b**2) / 4, 0)))


def _fits_frame(shape: str, size: tuple[int, ...]) -> bool:
    return arena.inside_frame(arena.outline(shape), size[1], size[0])
