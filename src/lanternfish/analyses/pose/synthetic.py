"""Articulated animals whose pose is known: the demo, the benchmark and the tests.

Each animal is a chain of `n` discs that follows its head (as a snake's body follows): position of
the head by a smooth random walk in the arena; each joint lies one bone's length behind the one
before it, bent by a travelling wave. The rendered truth is the joints' centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lanternfish.analyses.pose.labels import Labels, Skeleton

if TYPE_CHECKING:
    import numpy as np

SKELETON = Skeleton(("nose", "neck", "back", "hip", "tail"), ((0, 1), (1, 2), (2, 3), (3, 4)))
BONE = 11.0  # px
RADII = (4.5, 6.5, 7.0, 5.5, 3.0)  # px
GREY = (40.0, 90.0, 110.0, 80.0, 55.0)


def poses(frames: int, animals: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Positions, shape (frames, animals, 5, 2), px, in an arena of (width, height) px."""
    import numpy as np

    rng = np.random.default_rng(seed)
    width, height = size
    margin = 22.0
    angle = rng.uniform(0, 2 * np.pi, animals)
    lane = (np.arange(animals) + 0.5) * width / animals
    head = np.stack([lane, rng.uniform(0.35, 0.65, animals) * height], 1)
    turn = np.zeros(animals)
    bend = np.tile(angle[:, None], (1, len(RADII)))
    found = np.zeros((frames, animals, len(RADII), 2))
    for t in range(frames):
        turn = 0.9 * turn + 0.05 * rng.normal(size=animals)
        centre = np.stack([lane - head[:, 0], height / 2 - head[:, 1]], 1)
        aim = np.arctan2(centre[:, 1], centre[:, 0])
        off = np.abs(centre) > np.array([width / animals / 2 - margin, height / 2 - margin])
        steer = 0.25 * np.sin(aim - angle) * off.any(1)
        angle = angle + turn + steer
        head = head + 2.0 * np.stack([np.cos(angle), np.sin(angle)], 1)
        head = np.clip(head, margin / 2, [width - margin / 2, height - margin / 2])
        bend[:, 0] = angle
        for j in range(1, len(RADII)):
            bend[:, j] += 0.25 * np.sin(bend[:, j - 1] - bend[:, j])
        wave = 0.25 * np.sin(0.5 * t - 1.2 * np.arange(len(RADII)))[None]
        step = np.stack([np.cos(bend + wave), np.sin(bend + wave)], -1) * BONE
        found[t] = head[:, None] - np.cumsum(step, 1) + step[:, :1]
    return found


def draw(found: np.ndarray, size: tuple[int, int], seed: int) -> Iterator[np.ndarray]:
    """Grey frames, uint8, shape (height, width): animals on a textured floor, with noise."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed + 1)
    width, height = size
    floor = 190 + 60 * gaussian_filter(rng.normal(size=(height, width)), 4)
    y, x = np.mgrid[:height, :width]
    for animals in found:
        image = floor + rng.normal(0, 5, floor.shape)
        for joints in animals:
            fine = np.linspace(0, len(RADII) - 1, 25)
            at = [np.interp(fine, np.arange(len(RADII)), joints[:, k]) for k in range(2)]
            for px, py, r, g in zip(
                *at, *(np.interp(fine, np.arange(len(RADII)), v) for v in (RADII, GREY)),
                strict=True,
            ):  # fmt: skip
                cover = np.clip(r + 0.5 - np.hypot(x - px, y - py), 0, 1)
                image = image * (1 - cover) + g * cover
            for joint in (0, 2, 4):  # marks by which an eye would know these joints
                cover = np.clip(2.5 - np.hypot(x - joints[joint, 0], y - joints[joint, 1]), 0, 1)
                image = image * (1 - cover) + (235 if joint != 2 else 20) * cover
        yield np.clip(image, 0, 255).astype(np.uint8)


def labels_of(found: np.ndarray, frames, video: dict) -> Labels:
    """Known positions of some frames, as labels."""
    return Labels(
        SKELETON,
        {
            int(f): tuple(
                tuple((round(float(x), 2), round(float(y), 2)) for x, y in animal)
                for animal in found[f]
            )
            for f in frames
        },
        video,
    )
