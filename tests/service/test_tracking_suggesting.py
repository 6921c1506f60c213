"""What a video suggests: arena, number of animals and their sizes, of generated videos."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lanternfish.analyses.behaviour.encoder import encoder
from lanternfish.analyses.tracking import analysis, arena, generated, suggesting
from lanternfish.service.analyses import suggest_settings

# imageio-ffmpeg forks to start ffmpeg; nothing of JAX runs in its child
pytestmark = pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")
SIZE = (320, 256)
DISHES = {
    "circle": "circle 160 128 112",
    "rectangle": "rectangle 62 45 200 166",
    "polygon": "polygon 160 14 268 90 240 226 80 226 52 90",
}
FISH = {1: (26.0,), 2: (28.0, 22.0), 3: (24.0, 24.0, 24.0)}


def frames_of(dish, lengths, seed, inside=190, outside=120, wall=None, count=41):
    """Frames of fish that swim in a dish: (frames, height, width), uint8, and their areas, px."""
    small = generated.Scene(frames=count, width=150, height=120, lengths=lengths,
                            shades=(60,) * len(lengths))  # fmt: skip
    rng = np.random.default_rng(seed)
    places, headings = generated.swim(replace(small, frames=8 * count), rng)
    background = np.full(SIZE[::-1], outside, np.uint8)
    if dish:
        corners = np.round(arena.outline(dish)).astype(np.int32)
        cv2.fillPoly(background, [corners], inside)
        if wall is not None:
            cv2.polylines(background, [corners], True, wall, 4)
    middle = np.array(SIZE) / 2 - (75, 60)
    frames = [
        generated.render(small, place + middle, heading, background, rng)
        for place, heading in zip(places[::8], headings[::8], strict=True)
    ]
    return np.stack(frames), np.pi / 12 * np.array(lengths) ** 2


def overlap(one, other):
    """Common share of two shapes."""
    a, b = (arena.mask_of(arena.outline(shape), *SIZE) for shape in (one, other))
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("kind", DISHES)
@pytest.mark.parametrize(
    "look",
    [
        {},  # a light dish
        {"inside": 110, "outside": 200},  # a dark one
        {"inside": 190, "outside": 190, "wall": 90},  # only its wall is seen
    ],
    ids=["light", "dark", "wall"],
)
def test_an_arena_that_is_seen_is_suggested_as_what_it_is(kind, look):
    frames, _ = frames_of(DISHES[kind], FISH[2], 3, **look)
    found = suggesting.arena_of(frames)
    assert found.startswith(kind)
    # A wall of 4 px is outside of the arena, and as wide again is smoothed.
    assert overlap(found, DISHES[kind]) > (0.85 if "wall" in look else 0.93)


@pytest.mark.parametrize("seed", range(3))
def test_no_arena_is_invented(seed):
    frames, _ = frames_of("", FISH[2], seed)
    assert suggesting.arena_of(frames) == ""


@pytest.mark.parametrize("count", FISH)
@pytest.mark.parametrize("seed", range(4))
def test_animals_are_counted(count, seed):
    frames, _ = frames_of(DISHES["circle"], FISH[count], seed)
    mask = arena.mask_of(arena.outline(DISHES["circle"]), *SIZE)
    assert suggesting.count(frames, mask) == count


def test_a_video_suggests_settings_through_the_child(tmp_path):
    frames, areas = frames_of(DISHES["circle"], FISH[2], 1)
    sink = encoder(tmp_path / "a.mp4", SIZE, 25, "gray", ["-crf", "18"])
    for frame in frames:
        sink.send(frame)
    sink.close()
    values, words = suggest_settings("tracking", {"video": tmp_path / "a.mp4"})
    assert values["animals"] == 2
    assert overlap(values["arena"], DISHES["circle"]) > 0.95
    assert values["smallest"] < areas.min() < areas.max() < values["largest"]
    assert analysis.settings(**values)  # the form takes them
    assert words.startswith("Seen in 41 frames: the arena as a circle, 2 animals of ")
    still = np.repeat(frames[:1], 5, 0)
    sink = encoder(tmp_path / "still.mp4", SIZE, 25, "gray")
    for frame in still:
        sink.send(frame)
    sink.close()
    values, words = suggest_settings("tracking", {"video": tmp_path / "still.mp4"})
    assert values == {}
    assert words.startswith("Nothing is suggested. Expected animals that move")
    values, words = suggest_settings("tracking", {"video": tmp_path / "none.mp4"})
    assert "there is none" in words
