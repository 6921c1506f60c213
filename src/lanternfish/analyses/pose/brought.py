"""Labels of other programs as ours: COCO keypoints (JSON) and DeepLabCut's CollectedData (CSV).

    COCO        images (id, file_name, width, height), annotations (image_id, category_id,
                keypoints x1 y1 v1 x2 ..., v = 0: not labelled), categories (keypoints, skeleton:
                pairs counted from 1)
    DeepLabCut  header rows scorer, [individuals,] bodyparts, coords (x, y); each row an image, as
                labeled-data/VIDEO/img0042.png in one cell or in three. Its HDF5 twin holds pickles
                and is not read.

The number of the frame is the last number in the image's name. Of images of several videos those
are taken whose folder is named as the video.

References: cocodataset.org/#format-data; Nath et al., Nature Protocols 2019.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from lanternfish.analyses.pose.labels import (
    FORMAT,
    Labels,
    LabelsError,
    Point,
    Skeleton,
    read_labels,
)

HEADS = ("scorer", "individuals", "bodyparts", "coords")
ALONE = "single"  # DeepLabCut's name for points that are of no animal


def read_any(path: Path, video: str = "") -> Labels:
    """Labels of a file of ours, of COCO or of DeepLabCut.

    Args:
        video: name of the video that they are for.

    Raises:
        LabelsError: it is none of them, or of other videos.
    """
    if path.suffix.lower() == ".csv":
        return _deeplabcut(path, Path(video).stem)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return read_labels(path)  # which says what is wrong
    if isinstance(told, dict) and "annotations" in told and told.get("format") != FORMAT:
        try:
            return _coco(told, Path(video).stem)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, LabelsError):
                raise
            raise LabelsError(
                f"Expected {path.name} to hold images, annotations and categories with keypoints, "
                f"as COCO describes them; it does not: {type(error).__name__} {error}."
            ) from None
    return read_labels(path)


def _coco(told: dict[str, Any], video: str) -> Labels:
    kinds = {
        (tuple(each["keypoints"]), tuple(tuple(pair) for pair in each.get("skeleton", ())))
        for each in told["categories"]
        if each.get("keypoints")
    }
    if len(kinds) != 1:
        raise LabelsError(
            f"Expected categories with one skeleton; got {len(kinds)}: export the labels of one "
            "kind of animal."
        )
    [(names, edges)] = kinds
    bones = Skeleton(names, tuple((int(a) - 1, int(b) - 1) for a, b in edges))
    images = {each["id"]: each for each in told["images"]}
    frames = _numbered({key: str(each["file_name"]) for key, each in images.items()}, video)
    found: dict[int, list[tuple[Point, ...]]] = {frame: [] for frame in frames.values()}
    for each in told["annotations"]:
        flat = each.get("keypoints", [])
        if each["image_id"] not in frames or not flat:
            continue
        if len(flat) != 3 * len(names):
            raise LabelsError(
                f"Expected {3 * len(names)} numbers (x, y, v) for each animal, as the category "
                f"has {len(names)} keypoints; an annotation has {len(flat)}: these labels are of "
                "another skeleton."
            )
        triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        points = tuple((float(x), float(y)) if v else None for x, y, v in triples)
        found[frames[each["image_id"]]].append(points)
    sizes = {(images[key].get("width"), images[key].get("height")) for key in frames}
    about: dict[str, Any] = {}
    if len(sizes) == 1:
        width, height = sizes.pop()
        about = {"width": width, "height": height} if width and height else {}
    return Labels(bones, {f: tuple(animals) for f, animals in sorted(found.items())}, about)


def _deeplabcut(path: Path, video: str) -> Labels:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if any(row)]
    except UnicodeDecodeError:
        raise LabelsError(f"Expected text, UTF-8; {path.name} is not.") from None
    head = {row[0]: row for row in rows if row[0] in HEADS}
    body = [row for row in rows if row[0] not in HEADS]
    if not {"bodyparts", "coords"} <= head.keys() or not body or "x" not in head["coords"]:
        raise LabelsError(
            f"Expected rows scorer, bodyparts, coords and one for each image, as DeepLabCut's "
            f"CollectedData has them; {path.name} is another kind of table."
        )
    first = head["coords"].index("x")  # one cell or three name the image
    parts, kinds = head["bodyparts"][first:], head["coords"][first:]
    who = head.get("individuals", [""] * (first + len(parts)))[first:]
    if "likelihood" in kinds:
        raise LabelsError(
            f"Expected labels (CollectedData_NAME.csv); {path.name} holds predictions, which are "
            "no labels: use them as results of others."
        )
    animals = [name for name in dict.fromkeys(who) if name != ALONE] or [ALONE]
    names = tuple(dict.fromkeys(p for p, w in zip(parts, who, strict=True) if w in animals))
    frames = _numbered(
        {n: "/".join(filter(None, row[:first])) for n, row in enumerate(body)}, video
    )
    found = {}
    for n, frame in frames.items():
        row = body[n][first:]
        if len(row) != len(kinds):
            raise LabelsError(
                f"Expected {first + len(kinds)} cells in each row; that of frame {frame} has "
                f"{len(body[n])}."
            )
        cells = {(w, p, k): cell for w, p, k, cell in zip(who, parts, kinds, row, strict=True)}
        marked = (tuple(_point(cells, w, p, frame) for p in names) for w in animals)
        found[frame] = tuple(each for each in marked if any(point for point in each))
    return Labels(Skeleton(names), dict(sorted(found.items())))


def _point(cells: dict[tuple[str, str, str], str], who: str, part: str, frame: int) -> Point:
    texts = [cells.get((who, part, axis), "").strip() for axis in "xy"]
    if not all(texts) or any(text.lower() == "nan" for text in texts):
        return None
    try:
        x, y = map(float, texts)
    except ValueError:
        raise LabelsError(
            f"Expected numbers; {part} in frame {frame} is at {', '.join(texts)}."
        ) from None
    return x, y


def _numbered(images: dict[Any, str], video: str) -> dict[Any, int]:
    """Number of the frame of each image of the video."""
    places = {key: PurePosixPath(name.replace("\\", "/")) for key, name in images.items()}
    folders = {place.parent.name for place in places.values()}
    if len(folders) > 1:
        if video not in folders:
            raise LabelsError(
                f"Expected images of one video, or a folder named {video}; got folders "
                f"{_few(folders)}: bring the labels of one video."
            )
        places = {key: place for key, place in places.items() if place.parent.name == video}
    frames: dict[Any, int] = {}
    for key, place in places.items():
        digits = re.findall(r"\d+", place.stem)
        if not digits:
            raise LabelsError(
                f"Expected the number of the frame in an image's name, as img0042.png; got "
                f"{place.name}."
            )
        frames[key] = int(digits[-1])
    if len(set(frames.values())) < len(frames):
        raise LabelsError(
            "Expected one image for each frame; two have the same number in their names: are they "
            "of several videos?"
        )
    return frames


def _few(names: Iterable[str]) -> str:
    some = sorted(names)
    return ", ".join(some[:4]) + (" and others" if len(some) > 4 else "")
