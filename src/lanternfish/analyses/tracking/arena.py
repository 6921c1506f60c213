"""The arena and named regions: rectangles, circles and polygons in pixels, or a mask image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SHAPES = (
    "rectangle x y width height, circle x y radius, or polygon x1 y1 x2 y2 x3 y3 ... "
    "(numbers in px)"
)


def outline(text: str) -> np.ndarray:
    """Corners of a shape, (points, 2), px.

    Raises:
        ValueError: the text is no shape.
    """
    kind, *rest = text.replace(",", " ").split() or [""]
    try:
        numbers = np.array([float(each) for each in rest])
    except ValueError:
        raise ValueError(f"Expected {SHAPES}; got {text!r}.") from None
    if kind == "rectangle" and len(numbers) == 4 and (numbers[2:] > 0).all():
        x, y, w, h = numbers
        return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
    if kind == "circle" and len(numbers) == 3 and numbers[2] > 0:
        angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        return numbers[:2] + numbers[2] * np.stack([np.cos(angle), np.sin(angle)], 1)
    if kind == "polygon" and len(numbers) >= 6 and len(numbers) % 2 == 0:
        return numbers.reshape(-1, 2)
    raise ValueError(f"Expected {SHAPES}; got {text!r}.")


def inside_frame(points: np.ndarray, width: int, height: int) -> bool:
    """Whether a shape lies in the frame, to a pixel."""
    return bool((points >= -1).all() and (points <= np.array([width, height])).all())


def mask_of(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """The shape as a mask, (height, width), bool."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def read_mask(path: Path, width: int, height: int) -> np.ndarray:
    """A mask image, white inside: (height, width), bool.

    Raises:
        ValueError: it is no picture, has another size, or nothing is white.
    """
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ValueError(f"Expected a picture (PNG, TIFF); {path.name} cannot be read as one.")
    if picture.shape != (height, width):
        tall, wide = picture.shape
        raise ValueError(
            f"Expected a mask as large as the video, {width} x {height}; got {wide} x {tall}."
        )
    if not (picture > 127).any():
        raise ValueError("Expected white pixels where the animals may be; all are dark.")
    return picture > 127


def contains(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Whether places (..., 2) lie in the shape; NaN lies nowhere."""
    from matplotlib.path import Path as Shape

    flat = places.reshape(-1, 2)
    there = np.isfinite(flat).all(-1)
    inside = np.zeros(len(flat), bool)
    inside[there] = Shape(points).contains_points(flat[there])
    return inside.reshape(places.shape[:-1])
