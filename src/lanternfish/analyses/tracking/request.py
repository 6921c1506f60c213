"""What is wrong with a request, before it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lanternfish.service.analyses import Problem

NEEDED = ("cv2", "imageio_ffmpeg", "scipy", "matplotlib", "pynwb", "ndx_pose")


def problems_of(settings: Any, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at what is installed, the video's header, the arena, the regions and the truth."""
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return [
            Problem(
                "inputs.video",
                ", ".join(missing),
                "Expected the packages of tracking: `pip install lanternfish[tracking]`.",
            )
        ]
    from lanternfish.analyses.tracking.reading import VideoError, read_header

    try:
        header = read_header(inputs["video"])
    except VideoError as error:
        return [Problem("inputs.video", inputs["video"].name, str(error))]
    return [
        *_of_video(header, inputs["video"]),
        *_of_shapes(settings, header.width, header.height),
        *_of_files(settings, inputs, header.width, header.height),
    ]


def _of_video(header, path: Path) -> list[Problem]:
    found = []
    if header.frames < 2:
        text = "Expected two frames or more; got one: a background needs more."
        found.append(Problem("inputs.video", header.frames, text))
    if min(header.width, header.height) < 16 or max(header.width, header.height) > 8_192:
        size = f"{header.width} x {header.height}"
        text = f"Expected frames of 16 to 8192 px; got {size}: crop or scale the video."
        found.append(Problem("inputs.video", size, text))
    if not header.whole:
        text = (
            f"Expected {header.frames} frames, as {path.name} says of itself; the last cannot be "
            "read whole: it was cut off or is damaged: copy it again, or convert what there is "
            "with ffmpeg."
        )
        found.append(Problem("inputs.video", path.name, text))
    return found


def _of_shapes(settings, width: int, height: int) -> list[Problem]:
    from lanternfish.analyses.tracking.arena import inside_frame, mask_of, outline

    found = []
    shapes = {"arena": settings.arena} if settings.arena else {}
    shapes |= {f"regions.{name}": text for name, text in settings.regions.items()}
    for field, text in shapes.items():
        try:
            points = outline(text)
        except ValueError as error:
            found.append(Problem(field, text, str(error)))
            continue
        if not inside_frame(points, width, height):
            found.append(
                Problem(
                    field,
                    text,
                    f"Expected a shape inside of the frame, {width} x {height} px; it reaches "
                    f"from {points.min(0).round().tolist()} to {points.max(0).round().tolist()}.",
                )
            )
        elif not mask_of(points, width, height).any():
            found.append(Problem(field, text, "Expected a shape with an area; got none."))
    if 0 < settings.largest <= settings.smallest:
        text = f"Expected more than the smallest area, {settings.smallest:g} px."
        found.append(Problem("largest", settings.largest, text))
    return found


def _of_files(settings, inputs: Mapping[str, Path], width: int, height: int) -> list[Problem]:
    from lanternfish.analyses.behaviour.tables import read_positions
    from lanternfish.analyses.tracking.arena import read_mask

    found = []
    if "mask" in inputs:
        if settings.arena:
            text = "Expected a mask picture or an arena in the settings; got both: leave one out."
            found.append(Problem("arena", settings.arena, text))
        try:
            read_mask(inputs["mask"], width, height)
        except ValueError as error:
            found.append(Problem("inputs.mask", inputs["mask"].name, str(error)))
    if "truth" in inputs:
        try:
            _, names = read_positions(inputs["truth"])
        except (ValueError, UnicodeDecodeError) as error:
            found.append(Problem("inputs.truth", inputs["truth"].name, str(error)))
        else:
            if len(names) != settings.animals:
                text = f"Expected known positions of {settings.animals} animals; got {len(names)}."
                found.append(Problem("inputs.truth", len(names), text))
    return found
