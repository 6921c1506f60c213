"""What is wrong with a request, before it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lanternfish.service.analyses import Problem

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
        found += _of_truth(inputs["truth"], header)
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
    if not settings.rate and not header.rate:
        text = "Expected the frame rate, as the file does not say it: set it in the form."
        return [Problem("rate", 0.0, text)]
    if settings.rate and header.rate and abs(settings.rate / header.rate - 1) > DIFFERS:
        text = (
            f"Expected {header.rate:g} frames a second, as the file says, or 0; got "
            f"{settings.rate:g}: set what is right (planes share the rate of the scanner)."
        )
        if not _is_part(settings.rate, header.rate):
            return [Problem("rate", settings.rate, text)]
    return []


def _is_part(rate: float, whole: float) -> bool:
    """Whether a rate is that of one of some planes of a scanner."""
    planes = round(whole / rate)
    return planes > 1 and abs(whole / rate / planes - 1) < DIFFERS


def _of_light(settings: Any, share: float, name: str) -> list[Problem]:
    if share <= settings.saturation:
        return []
    text = (
        f"Expected at most {settings.saturation:.1%} of the pixels at the top of their range; "
        f"{name} has {share:.1%}: traces there are cut off. Record with less light or gain, or "
        "put up with more under Saturated pixels."
    )
    return [Problem("inputs.movie", round(share, 4), text)]


def _of_truth(path: Path, header) -> list[Problem]:
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
