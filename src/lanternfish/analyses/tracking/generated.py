"""Videos with known truth: fish that swim in a dish, and cross or keep to their sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lanternfish.analyses.behaviour.encoder import encoder


@dataclass(frozen=True)
class Scene:
    """What a generated video shows.

    Attributes:
        lengths: of each fish, px. shades: grey level of each fish. cross: whether fish may meet;
        otherwise each has a compartment. noise: standard deviation of each pixel, grey levels.
    """

    frames: int = 300
    lengths: tuple[float, ...] = (30.0, 22.0)
    shades: tuple[int, ...] = (40, 90)
    width: int = 400
    height: int = 300
    rate: float = 30.0
    cross: bool = True
    noise: float = 3.0
    light: bool = False


def swim(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions (frames, fish, 2), px, and headings (frames, fish), rad, by a persistent walk."""
    count = len(scene.lengths)
    low, high = np.tile([25.0, 25.0], (count, 1)), np.tile([scene.width, scene.height], (count, 1))
    high = high - 25.0
    if not scene.cross:
        step = scene.width / count
        low[:, 0] = np.arange(count) * step + 25
        high[:, 0] = (np.arange(count) + 1) * step - 25
    places = np.zeros((scene.frames, count, 2))
    headings = np.zeros((scene.frames, count))
    place = rng.uniform(low, high)
    if scene.cross:
        place[:, 0] = 40 + np.arange(count) * (scene.width - 80) / max(1, count - 1)
    heading, turn = rng.uniform(-np.pi, np.pi, count), np.zeros(count)
    speed = rng.uniform(2.0, 4.0, count)
    for f in range(scene.frames):
        turn = 0.85 * turn + 0.08 * rng.standard_normal(count)
        speed = np.clip(speed + 0.2 * rng.standard_normal(count), 1.0, 5.0)
        middle = (low + high) / 2
        out = ((place < low) | (place > high)).any(1)
        home = np.arctan2(*(middle - place).T[::-1])
        bend = np.angle(np.exp(1j * (home - heading)))
        heading = heading + turn + np.where(out, 0.25 * bend, 0.0)
        if scene.cross and count > 1 and (f // 40) % 2 == 0:  # every other 40 frames fish approach
            other = np.roll(place, 1, axis=0) - place
            toward = np.angle(np.exp(1j * (np.arctan2(other[:, 1], other[:, 0]) - heading)))
            heading = heading + 0.12 * toward
        place = place + speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
        places[f], headings[f] = place, heading
    return places, headings


def render(scene: Scene, place: np.ndarray, heading: np.ndarray, background, rng) -> np.ndarray:
    """One grey frame, uint8. Truth is the centre of the drawn body, without blur or noise."""
    import cv2

    frame = background.copy()
    for xy, angle, length, shade in zip(place, heading, scene.lengths, scene.shades, strict=True):
        along = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        body = np.stack([length / 2 * np.cos(along), length / 6 * np.sin(along)], 1)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        points = np.round((body @ turn + xy) * 256).astype(np.int32)
        cv2.fillPoly(frame, [points], shade, cv2.LINE_AA, 8)
    noisy = frame + rng.standard_normal(frame.shape, np.float32) * np.float32(scene.noise)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def backdrop(scene: Scene) -> np.ndarray:
    """The dish without fish, (height, width), uint8."""
    base = 30 if scene.light else 190
    rows = np.linspace(-8, 8, scene.height)[:, None]
    return np.clip(base + rows + np.zeros(scene.width), 0, 255).astype(np.uint8)


def write(scene: Scene, path: Path, seed: int = 0, crf: int = 18) -> np.ndarray:
    """Write an H.264 video; returns the truth, (frames, fish, 2), px."""
    rng = np.random.default_rng(seed)
    places, headings = swim(scene, rng)
    background = backdrop(scene)
    options = ["-crf", str(crf), "-preset", "veryfast"]
    sink = encoder(path, (scene.width, scene.height), scene.rate, "gray", options)
    try:
        for place, heading in zip(places, headings, strict=True):
            sink.send(render(scene, place, heading, background, rng))
    finally:
        sink.close()
    return places
