"""Labelled frames as a file: JSON, written by the labelling page, read by `pose`.

    {"format": "lanternfish pose labels 1",
     "video": {"name", "sha256", "frames", "width", "height", "fps"},
     "skeleton": {"keypoints": ["nose", "tail"], "edges": [[0, 1]], "symmetric": [[2, 3]]},
     "frames": [{"frame": 12, "animals": [{"points": [[x, y], null]}]}]}

`points` has one entry for each keypoint: a position in pixels, or null where it is not seen. A
frame without animals says that there is none in it; a frame that nobody looked at is not listed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FORMAT = "lanternfish pose labels 1"
MOST_KEYPOINTS = 200
Point = tuple[float, float] | None


class LabelsError(ValueError):
    """A file of labels that cannot be used; the text says what was expected."""


@dataclass(frozen=True)
class Skeleton:
    """Names of keypoints, edges and symmetric pairs (pairs of their indices)."""

    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    symmetric: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.keypoints) <= MOST_KEYPOINTS:
            raise LabelsError(
                f"Expected 1 to {MOST_KEYPOINTS} keypoints; got {len(self.keypoints)}."
            )
        if len(set(self.keypoints)) < len(self.keypoints) or not all(self.keypoints):
            raise LabelsError(f"Expected keypoints with different names; got {self.keypoints}.")
        for pair in (*self.edges, *self.symmetric):
            if len(set(pair)) != 2 or not all(0 <= i < len(self.keypoints) for i in pair):
                raise LabelsError(
                    f"Expected pairs of two of the {len(self.keypoints)} keypoints, counted from "
                    f"0; got {list(pair)}."
                )


@dataclass(frozen=True)
class Labels:
    """Labelled frames of one video.

    Attributes:
        frames: for each labelled frame, its animals; each a point (or None) for each keypoint.
        video: what is known of the video: name, sha256, frames, width, height, fps.
    """

    skeleton: Skeleton
    frames: dict[int, tuple[tuple[Point, ...], ...]]
    video: dict[str, Any] = field(default_factory=dict)

    @property
    def labelled(self) -> list[int]:
        """Frames with one animal or more that has a point, in order."""
        return sorted(f for f, animals in self.frames.items() if any(map(_seen, animals)))

    def array(self, frames: Sequence[int]) -> np.ndarray:
        """Positions, shape (frames, animals, keypoints, 2), px; NaN where there is none."""
        import numpy as np

        most = max((len(self.frames.get(f, ())) for f in frames), default=0)
        found = np.full((len(frames), most, len(self.skeleton.keypoints), 2), np.nan)
        for row, frame in enumerate(frames):
            for k, animal in enumerate(self.frames.get(frame, ())):
                for j, point in enumerate(animal):
                    if point is not None:
                        found[row, k, j] = point
        return found

    def plain(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "format": FORMAT,
            "video": self.video,
            "skeleton": {
                "keypoints": list(self.skeleton.keypoints),
                "edges": [list(pair) for pair in self.skeleton.edges],
                "symmetric": [list(pair) for pair in self.skeleton.symmetric],
            },
            "frames": [
                {
                    "frame": frame,
                    "animals": [
                        {"points": [None if p is None else list(p) for p in animal]}
                        for animal in self.frames[frame]
                    ],
                }
                for frame in sorted(self.frames)
            ],
        }

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(self.plain()) + "\n", encoding="utf-8")


def read_labels(path: Path) -> Labels:
    """Read a file of labels.

    Raises:
        LabelsError: it is not one; the text says where.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise LabelsError(f"Expected {path.name} to be JSON; got: {error}.") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        got = told.get("format") if isinstance(told, dict) else type(told).__name__
        raise LabelsError(
            f'Expected {path.name} to have "format": "{FORMAT}"; got {got!r}: save labels with '
            "the labelling page."
        )
    try:
        return _labels(told)
    except LabelsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelsError(
            f"Expected {path.name} to be as the labelling page writes it; it is not: "
            f"{type(error).__name__} {error}."
        ) from None


def _labels(told: dict[str, Any]) -> Labels:
    bones = told["skeleton"]
    skeleton = Skeleton(
        tuple(str(name).strip() for name in bones["keypoints"]),
        tuple((int(a), int(b)) for a, b in bones.get("edges", ())),
        tuple((int(a), int(b)) for a, b in bones.get("symmetric", ())),
    )
    frames: dict[int, tuple[tuple[Point, ...], ...]] = {}
    for each in told["frames"]:
        number = each["frame"]
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise LabelsError(f"Expected frames as whole numbers from 0; got {number!r}.")
        if number in frames:
            raise LabelsError(f"Expected each frame once; frame {number} comes twice.")
        frames[number] = tuple(
            _animal(animal["points"], len(skeleton.keypoints), number) for animal in each["animals"]
        )
    return Labels(skeleton, frames, dict(told.get("video") or {}))


def _animal(points: list, count: int, frame: int) -> tuple[Point, ...]:
    if len(points) != count:
        raise LabelsError(
            f"Expected {count} points for each animal, as the skeleton has; frame {frame} has "
            f"one with {len(points)}: these labels are of another skeleton."
        )
    found: list[Point] = []
    for point in points:
        if point is None:
            found.append(None)
            continue
        x, y = (float(value) for value in point)
        if not (math.isfinite(x) and math.isfinite(y)):
            raise LabelsError(f"Expected finite positions; frame {frame} has {point}.")
        found.append((x, y))
    return tuple(found)


def _seen(animal: tuple[Point, ...]) -> bool:
    return any(point is not None for point in animal)


def split(frames: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Frames to train on and frames that are held out, drawn without regard to what they show.

    At least one is held out, and at least one trained on.
    """
    import numpy as np

    order = np.random.default_rng(seed).permutation(np.asarray(frames))
    held = min(max(1, round(share * len(order))), len(order) - 1)
    return sorted(map(int, order[held:])), sorted(map(int, order[:held]))
