"""Which track is which animal after animals were merged, and how sure that is.

At the end of each merger the tracks i before it and j after it are compared,

    log P(j is i) = w log t(q_j - p_i(d)) + v log t(a_j - a_i; s),

q_j the place after the merger and p_i(d) the place expected d frames after the last one alone, t a
Student distribution whose width is that of the same prediction in the parts of this video where
animals are alone, a the look (root of area, contrast), s its spread between stretches of the same
animal. Permutations of the tracks of a merger have probabilities proportional to the product; the
likeliest is taken. Mergers count as independent, so that the probability that a name is still on
the same animal is the diagonal of the product of the mergers' expected permutation matrices.

The weights w and v calibrate these probabilities: they are the logistic regression of what was true
on both sums, in mergers of two animals in generated videos of seeds 5000 to 5119 (two that look
alike) and 7000 to 7079 (two to four, alike or nearly so): w = .56 (standard error .06), v = 1.8
(.3), of 717 mergers; `benchmarks/tracking.py --learn` finds them anew. Animals that meet turn more
than animals alone: w is under 1. Other constants were chosen on seeds 0 to 11, and seeds 100 to 106
were looked at. `benchmarks/tracking.py` measures on seeds from 1000 on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import t as student

from lanternfish.analyses.tracking.linking import ALONE

MEMORY = 300  # frames alone, before a merger, that tell how an animal looks
STRETCH = 25  # frames whose mean look is compared between stretches of one animal
BRIDGE = 8  # frames between two mergers up to which they are one
_EDGE = 2  # frames beside a merger in which a look may be that of a part of an animal
_FREEDOM = 3.0  # of the Student distribution: animals that fight turn sharply
_LOOKS = 4.0  # freedom of the Student distribution of looks: posture and light change them
_FLOOR = 0.03  # least spread of looks, as a share of them
_MOTION, _LOOK = 0.56, 1.8  # w and v, see above
_SWAP = 0.002  # least chance of any other permutation: what no model foresees


@dataclass(frozen=True)
class Merger:
    """Frames in which tracks could not be told apart: first to last, and the tracks."""

    first: int
    last: int
    tracks: tuple[int, ...]


@dataclass(frozen=True)
class Identities:
    """Tracks sorted by animal.

    Attributes:
        order: (frames, animals): the track that is each animal.
        confidence: (frames, animals), probability that a name is on the animal of frame 0.
        mergers: that were found. swapped: how many tracks changed names.
        chances: (mergers,), probability of the permutation that was taken; NaN where the video ends
            in a merger or begins with it.
    """

    order: np.ndarray
    confidence: np.ndarray
    mergers: tuple[Merger, ...]
    swapped: int
    chances: np.ndarray


def mergers(states: np.ndarray, groups: np.ndarray) -> list[Merger]:
    """Find mergers: from the first frame in which tracks are not alone until all are again.

    A track that is lost while no other is merged is no merger: it is found again by its place.
    """
    frames, animals = states.shape
    found: list[Merger] = []
    begun, members = -1, set()
    for f in range(frames):
        away = np.flatnonzero(states[f] != ALONE)
        if len(away) and animals > 1:
            begun = f if begun < 0 else begun
            members |= set(away.tolist())
            continue
        if begun >= 0 and len(members) > 1:
            found.append(Merger(begun, f - 1, tuple(sorted(members))))
        begun, members = -1, set()
    if begun >= 0 and len(members) > 1:
        found.append(Merger(begun, frames - 1, tuple(sorted(members))))
    return _joined(found)


def _joined(found: list[Merger]) -> list[Merger]:
    """Mergers with few frames between them count as one: too few to see how an animal looks."""
    joined: list[Merger] = []
    for each in found:
        if joined and each.first - joined[-1].last <= BRIDGE:
            members = set(joined[-1].tracks) | set(each.tracks)
            joined[-1] = Merger(joined[-1].first, each.last, tuple(sorted(members)))
        else:
            joined.append(each)
    return joined


def resolve(tracks: dict[str, np.ndarray]) -> Identities:
    """Follow animals over all mergers.

    Args:
        tracks: the arrays of `Tracks.arrays`.
    """
    states, places, looks = tracks["states"], tracks["positions"], tracks["looks"]
    frames, animals = states.shape
    order = np.tile(np.arange(animals), (frames, 1))
    sure = np.ones((frames, animals))
    spread = _spread(looks)
    width = _widths(places, states)
    belief, swapped = np.eye(animals), 0
    known = mergers(states, tracks["groups"])
    chances = np.full(len(known), np.nan)
    for number, event in enumerate(known):
        after = event.last + 1
        until = known[number + 1].first if number + 1 < len(known) else frames
        expected, chosen = np.eye(animals), np.arange(animals)
        current, held = order[event.first].copy(), np.diag(belief)
        members = [a for a in range(animals) if current[a] in event.tracks]
        if after < frames:
            score = _scores(event, until, members, order, (places, looks), (spread, width))
            best, matrix, chance = _choose(score)
            chances[number] = chance if event.first > 0 else np.nan
            chosen[members] = np.array(members)[best]
            expected[np.ix_(members, members)] = matrix[:, best]
            order[(event.first + after) // 2 :] = current[chosen]
            belief = belief @ expected
        else:
            belief = _blur(belief, members)
        changed = chosen != np.arange(animals)
        swapped += int(changed.sum())
        within = np.linspace(-1, 1, after - event.first)[:, None]
        # Tracks that changed names did so somewhere in the merger: half-way it is least sure.
        doubt = np.where(changed, 0.5 + 0.5 * np.abs(within), 1.0)
        sure[event.first : after] = np.minimum(held, np.diag(belief)) * doubt
        sure[after:] = np.diag(belief)
    return Identities(order, np.clip(sure, 0, 1), tuple(known), swapped, chances)


def _scores(event, until, members, order, found, scales) -> np.ndarray:
    """log P(animal i before is track of animal j after), (members, members)."""
    motion, look = evidence(event, until, members, order, found, scales)
    return _MOTION * motion + _LOOK * look


def evidence(event, until, members, order, found, scales) -> tuple[np.ndarray, np.ndarray]:
    """log t of places and of looks, each (members, members): animals before, tracks after."""
    (places, looks), (spread, width) = found, scales
    before = event.first - 1
    after = event.last + 1
    motion = np.zeros((len(members), len(members)))
    look = np.zeros_like(motion)
    if before < 0:
        return motion, look
    gap = after - before
    slots = order[event.first]
    for r, i in enumerate(members):
        past = _look(looks, order[:, i], max(0, event.first - 10 * MEMORY), event.first - _EDGE)
        expected = _expected(places, slots[i], before, gap)
        for c, j in enumerate(members):
            off = places[after, slots[j]] - expected
            motion[r, c] = student.logpdf(off / width(gap), _FREEDOM).sum()
            future = looks[after + _EDGE : until - _EDGE, slots[j]][:MEMORY]
            look[r, c] = _alike(past, future, spread)
    return motion, look


def _look(looks: np.ndarray, slots: np.ndarray, start: int, end: int) -> np.ndarray:
    """The last looks of an animal while alone, (up to MEMORY, 2)."""
    end = max(start, end)
    mine = looks[np.arange(start, end), slots[start:end]]
    return mine[np.isfinite(mine[:, 0])][-MEMORY:]


def _alike(past: np.ndarray, future: np.ndarray, spread: np.ndarray) -> float:
    future = future[np.isfinite(future[:, 0])]
    if len(past) < 3 or len(future) < 3:
        return 0.0
    lengths = (max(1.0, len(past) / STRETCH), max(1.0, len(future) / STRETCH))
    # A stretch's mean has variance spread^2; half of it averages out over stretches, half stays.
    share = sum(0.5 + 0.5 / n for n in lengths)
    share *= max(1.0, STRETCH / len(future))
    off = (np.median(past, 0) - np.median(future, 0)) / (spread * np.sqrt(share))
    return float(student.logpdf(off, _LOOKS).sum())


def _choose(score: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The likeliest permutation, the expected permutation matrix, and that one's probability."""
    count = len(score)
    if count > 6:  # 720 permutations are summed; more are decided by the best one
        _, best = linear_sum_assignment(-score)
        matrix = np.exp(score - score.max(1, keepdims=True))
        matrix = matrix / matrix.sum(1, keepdims=True)
        return best, matrix, float(np.prod(matrix[np.arange(count), best]))
    every = np.array(list(permutations(range(count))))
    value = score[np.arange(count), every].sum(1)
    weight = np.exp(value - value.max())
    weight = weight / weight.sum()
    weight = (1 - _SWAP) * weight + _SWAP / len(weight)
    matrix = np.zeros((count, count))
    for permutation, share in zip(every, weight, strict=True):
        matrix[np.arange(count), permutation] += share
    return every[weight.argmax()], matrix, float(weight.max())


def _blur(belief: np.ndarray, members: list[int]) -> np.ndarray:
    """Belief where a merger is not over: any of its animals may be any."""
    matrix = np.eye(len(belief))
    matrix[np.ix_(members, members)] = 1 / len(members)
    return belief @ matrix


def _expected(places: np.ndarray, slot: int, before: int, gap: int) -> np.ndarray:
    """Where a track should be `gap` frames after `before` at its speed of the last frames."""
    start = max(0, before - 3)
    way = places[start : before + 1, slot]
    speed = (way[-1] - way[0]) / max(1, before - start)
    speed = np.where(np.isfinite(speed), speed, 0.0)
    return way[-1] + speed * gap


def _widths(places: np.ndarray, states: np.ndarray):
    """Scale (px) of the error of `_expected` by the gap, from where animals are alone."""
    frames, animals = states.shape
    known: dict[int, float] = {}

    def scale(gap: int) -> float:
        if gap not in known:
            errors = []
            stride = max(1, frames // 400)
            for f in range(3, frames - gap, stride):
                for a in range(animals):
                    if (states[f - 3 : f + gap + 1, a] == ALONE).all():
                        errors.append(places[f + gap, a] - _expected(places, a, f, gap))
            typical = np.median(np.abs(errors)) if len(errors) >= 20 else 2.0 * gap
            known[gap] = max(0.7, float(typical) / float(student.ppf(0.75, _FREEDOM)))
        return known[gap]

    return scale


def _spread(looks: np.ndarray) -> np.ndarray:
    """Standard deviation of the mean look between stretches of one animal alone, (2,)."""
    means = []
    for a in range(looks.shape[1]):
        alone = np.isfinite(looks[:, a, 0])
        edges = np.flatnonzero(np.diff(np.r_[False, alone, False].astype(int)))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            parts = (end - start) // STRETCH
            if parts >= 2:
                kept = looks[start : start + parts * STRETCH, a].reshape(parts, STRETCH, 2)
                means.append(np.diff(kept.mean(1), axis=0) / np.sqrt(2))
    if not means:
        return np.array([1.0, 5.0])
    floor = _FLOOR * np.nanmedian(looks.reshape(-1, 2), 0)
    return np.maximum(np.sqrt((np.concatenate(means) ** 2).mean(0)), floor)
