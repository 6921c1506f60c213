"""What is wrong with a request, before it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lanternfish.service.analyses import Problem

if TYPE_CHECKING:
    from lanternfish.analyses.calcium.reading import Header

FEWEST = 50  # frames
SMALLEST = 32  # px
DIFFERS = 0.02  # of the frame rate
NEEDED = ("h5py", "tifffile")


def problems_of(settings: Any, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the header, the rate, a few frames for saturation, and known cells."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        text = "Expected the packages of the platform: `pip install lanternfish[service]`."
        return [Problem("inputs.movie", ", ".join(missing), text)]
    from lanternfish.analyses.calcium import reading
    from lanternfish.analyses.calcium.work import source_of

    source = source_of(settings, inputs["movie"])
    try:
        header = reading.look(source)
        found = [*_of_size(header), *_of_rate(settings, header)]
        if not found:
            found += _of_light(settings, reading.saturated(source), inputs["movie"].name)
    except reading.MovieError as error:
        return [Problem("inputs.movie", inputs["movie"].name, str(error))]
    if "truth" in inputs and not found:
        found += of_truth(inputs["truth"], header)
    return found


def _of_size(header) -> list[Problem]:
    size = f"{header.width} x {header.height}"
    if header.frames < FEWEST:
        had = "one frame" if header.frames == 1 else f"{header.frames} frames"
        text = f"Expected {FEWEST} frames or more; got {had} of {size} px: drop the whole movie."
        return [Problem("inputs.movie", header.frames, text)]
    if min(header.width, header.height) < SMALLEST:
        text = (
            f"Expected frames of {SMALLEST} px or more a side; got {header.frames} of {size} px: "
            "check the axis order."
        )
        return [Problem("inputs.movie", size, text)]
    return []


def _of_rate(settings: Any, header) -> list[Problem]:
    """Whether the rate is told, and is that of the file (or of one of the planes it shares)."""
    if not settings.rate and not header.rate:
        text = "Expected the frame rate, as the file does not say it: set it in the form."
        return [Problem("rate", 0.0, text)]
    from lanternfish.analyses.calcium.work import planes_of

    planes = planes_of(settings, header)
    right = header.rate / planes if header.rate else 0.0
    if settings.rate and right and abs(settings.rate / right - 1) > DIFFERS:
        whence = f"{header.rate:g} shared by {planes} planes" if planes > 1 else "as the file says"
        text = (
            f"Expected {right:g} frames a second, {whence}, or 0; got {settings.rate:g}: set what "
            "is right, and Planes where the scanner shares its rate among several."
        )
        return [Problem("rate", settings.rate, text)]
    return []


def _of_light(settings: Any, share: float, name: str) -> list[Problem]:
    if share <= settings.saturation:
        return []
    text = (
        f"Expected at most {settings.saturation:.1%} of the pixels at the top of their range; "
        f"{name} has {share:.1%}: traces there are cut off. Record with less light or gain, or "
        "put up with more under Saturated pixels."
    )
    return [Problem("inputs.movie", round(share, 4), text)]


class Shape(NamedTuple):
    """What known cells must fit."""

    frames: int
    height: int
    width: int


def of_truth(path: Path, header: Shape | Header) -> list[Problem]:
    """What is wrong with known cells, for a movie."""
    from lanternfish.analyses.calcium.truth import read_known

    try:
        known = read_known(path)
    except ValueError as error:
        return [Problem("inputs.truth", path.name, str(error))]
    wanted = (header.height, header.width), header.frames
    got = known.masks.shape[1:], known.traces.shape[1]
    if wanted != got:
        text = (
            f"Expected masks of {wanted[0]} and traces of {wanted[1]} frames, as the movie; got "
            f"{got[0]} and {got[1]}: they are of another movie."
        )
        return [Problem("inputs.truth", path.name, text)]
    return []
