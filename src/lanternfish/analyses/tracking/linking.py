"""From blobs to tracks: a Hungarian assignment from frame to frame, and through merged blobs.

Each animal has one track. A frame's blobs are given to tracks by the least sum of distances from
where each track should be by its speed. Tracks left over whose place lies in a blob that another
track took are merged with it: the blob's pixels are divided among them (k-means from where they
should be). Which track is which animal after a merger is decided later (`identity`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from lanternfish.analyses.tracking.detection import Blobs, Detector

LOST, MERGED, ALONE = 0, 1, 2  # what is known of a track in a frame
_FORGET = 0.8  # share of its speed that a track that is not alone keeps each frame


@dataclass
class Tracks:
    """Tracks over frames, as they grow.

    Attributes:
        positions: one (animals, 2) a frame, px, NaN while lost. states: (animals,), see above.
        groups: (animals,), number of the blob; animals of one merged blob share it, -1 while lost.
        looks: (animals, 2): root of area (px) and contrast, of animals that are alone; else NaN.
        extra: blobs that were large enough for an animal and no animal's, one number a frame.
        times: s.
    """

    animals: int
    positions: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    groups: list[np.ndarray] = field(default_factory=list)
    looks: list[np.ndarray] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)

    def arrays(self) -> dict[str, np.ndarray]:
        """All as arrays, frames first."""
        n, length = self.animals, len(self)
        return {
            "positions": np.array(self.positions, np.float64).reshape(length, n, 2),
            "states": np.array(self.states, np.int64).reshape(length, n),
            "groups": np.array(self.groups, np.int64).reshape(length, n),
            "looks": np.array(self.looks, np.float64).reshape(length, n, 2),
            "extra": np.array(self.extra, np.int64),
            "times": np.array(self.times, np.float64),
        }


class Linker:
    """Gives each frame's blobs to the tracks.

    Args:
        how: the detector that found the blobs. animals: how many there are.
    """

    def __init__(self, how: Detector, animals: int) -> None:
        self.tracks = Tracks(animals)
        self._largest = how.largest
        self._reach = 4 * np.sqrt(how.largest)
        self._last = np.full((animals, 2), np.nan)
        self._speed = np.zeros((animals, 2))
        self._missing = np.zeros(animals, int)

    def add(self, time: float, blobs: Blobs) -> None:
        """Take one more frame."""
        where = self._last + self._speed
        owner = self._assign(where, blobs)
        shared = self._merge(where, owner, blobs)
        positions = np.full_like(self._last, np.nan)
        states = np.full(len(owner), LOST)
        looks = np.full((len(owner), 2), np.nan)
        for blob in np.unique(shared[shared >= 0]):
            members = np.flatnonzero(shared == blob)
            if len(members) == 1:
                positions[members] = blobs.centres[blob]
                if blobs.areas[blob] <= self._largest:
                    states[members] = ALONE
                    looks[members] = np.sqrt(blobs.areas[blob]), blobs.contrasts[blob]
                else:
                    states[members] = MERGED
            else:
                positions[members] = divide(blobs.pixels(blob), where[members])
                states[members] = MERGED
        self._remember(positions, states)
        tracks = self.tracks
        tracks.positions.append(positions)
        tracks.states.append(states)
        tracks.groups.append(shared)
        tracks.looks.append(looks)
        tracks.extra.append(int(len(blobs.areas) - len(np.unique(shared[shared >= 0]))))
        tracks.times.append(time)

    def state(self) -> dict[str, np.ndarray]:
        """All that is needed to go on."""
        now = {"last": self._last, "speed": self._speed, "missing": self._missing}
        return {**self.tracks.arrays(), **now}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""
        for name in ("positions", "states", "groups", "looks"):
            setattr(self.tracks, name, list(state[name]))
        self.tracks.extra = state["extra"].tolist()
        self.tracks.times = state["times"].tolist()
        self._last, self._speed = state["last"].copy(), state["speed"].copy()
        self._missing = state["missing"].copy()

    def _assign(self, where: np.ndarray, blobs: Blobs) -> np.ndarray:
        """Blob of each track, or -1; a track that was never seen takes a free blob."""
        owner = np.full(len(where), -1)
        known = np.flatnonzero(np.isfinite(where[:, 0]))
        if len(known) and len(blobs.areas):
            cost = np.linalg.norm(where[known, None] - blobs.centres[None], axis=-1)
            reach = self._reach * (1 + np.minimum(self._missing[known], 20))[:, None]
            cost = np.where(cost <= reach, cost, 1e6)
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < 1e6:
                    owner[known[row]] = column
        unseen = np.flatnonzero(~np.isfinite(where[:, 0]))
        free = [blob for blob in range(len(blobs.areas)) if blob not in owner]
        for track, blob in zip(unseen, free, strict=False):
            owner[track] = blob
        return owner

    def _merge(self, where: np.ndarray, owner: np.ndarray, blobs: Blobs) -> np.ndarray:
        """Give tracks without a blob to the one in or beside which they should be."""
        shared = owner.copy()
        for track in np.flatnonzero((owner < 0) & np.isfinite(where[:, 0])):
            best, gap = -1, np.sqrt(self._largest)
            for blob in np.unique(owner[owner >= 0]):
                x, y, w, h = blobs.boxes[blob]
                near = np.clip(where[track], (x, y), (x + w - 1, y + h - 1))
                far = float(np.linalg.norm(near - where[track]))
                if far <= gap:
                    best, gap = int(blob), far
            shared[track] = best
        return shared

    def _remember(self, positions: np.ndarray, states: np.ndarray) -> None:
        seen = states != LOST
        fresh = seen & np.isfinite(self._last[:, 0]) & (self._missing == 0)
        step = np.where(fresh[:, None], positions - self._last, 0.0)
        alone = states == ALONE
        mixed = np.where(alone[:, None], 0.5 * self._speed + 0.5 * step, _FORGET * self._speed)
        self._speed = np.where(fresh[:, None], mixed, 0.0)
        self._last = np.where(seen[:, None], positions, self._last)
        self._missing = np.where(seen, 0, self._missing + 1)


def divide(pixels: np.ndarray, seeds: np.ndarray, rounds: int = 4) -> np.ndarray:
    """Centres of the parts of a merged blob, (animals, 2), px: k-means that begins at the seeds."""
    centres = np.where(np.isfinite(seeds), seeds, pixels.mean(0))
    for _ in range(rounds):
        nearest = np.linalg.norm(pixels[:, None] - centres[None], axis=-1).argmin(1)
        moved = centres.copy()
        for k in range(len(centres)):
            part = pixels[nearest == k]
            moved[k] = part.mean(0) if len(part) else pixels.mean(0)
        centres = moved
    return centres
