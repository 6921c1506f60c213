"""Results of other programs as poses: DeepLabCut CSV and HDF5, SLEAP .slp and analysis .h5.

HDF5 is read with h5py, and never a pickled object in it.

    DeepLabCut CSV    header rows scorer, [individuals,] bodyparts, coords (x, y, likelihood)
    DeepLabCut HDF5   a pandas table "df_with_missing/table": values_block_0 (frames, columns), and
                      the names of its columns as the CSV's header rows, which pandas pickles: lists
                      and text of it are read opcode by opcode, anything else is refused
    SLEAP analysis    tracks (animals, 2, keypoints, frames), point_scores, node_names, edge_inds
    SLEAP .slp        frames, instances, points, pred_points; skeleton as JSON in "metadata"

References: Mathis et al., Nature Neuroscience 2018; Pereira et al., Nature Methods 2022.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class ForeignError(ValueError):
    """A file that is not what it should be; the text says what was expected."""


@dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes:
        points: (frames, animals, keypoints, 2), px; NaN where there is none.
        score: (frames, animals, keypoints), 0 to 1.
        program: who made it.
    """

    points: np.ndarray
    score: np.ndarray
    animals: tuple[str, ...]
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    program: str


def read_foreign(path: Path) -> Found:
    """Read a file of any of the formats.

    Raises:
        ForeignError: it is none of them.
    """
    if path.suffix.lower() == ".csv":
        return _dlc_csv(path)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "tracks" in file and "node_names" in file:
                return _sleap_analysis(file)
            if "metadata" in file and "instances" in file:
                return _slp(file, path)
            if "df_with_missing" in file:
                return _dlc_hdf5(file, path)
    except OSError as error:
        raise ForeignError(f"Expected HDF5; {path.name} cannot be read: {error}.") from None
    raise ForeignError(
        f"Expected results of DeepLabCut or SLEAP; {path.name} is another kind of HDF5 file."
    )


def _dlc_csv(path: Path) -> Found:
    import numpy as np

    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    head = []
    while rows and rows[0] and rows[0][0] in ("scorer", "individuals", "bodyparts", "coords"):
        head.append(rows.pop(0))
    named = {row[0]: row[1:] for row in head}
    if not {"bodyparts", "coords"} <= named.keys() or not rows:
        raise ForeignError(
            f"Expected rows scorer, bodyparts, coords and numbers, as DeepLabCut writes them; "
            f"{path.name} is another kind of table."
        )
    wide = len(named["coords"])
    numbers = np.full((len(rows), wide), np.nan)
    frames = []
    for r, row in enumerate(rows):
        if len(row) != wide + 1:
            raise ForeignError(
                f"Expected {wide + 1} cells in each row; row {r} of {path.name} has {len(row)}."
            )
        try:
            frames.append(int(float(row[0])))
            numbers[r] = [float(cell) if cell.strip() else np.nan for cell in row[1:]]
        except ValueError as error:
            raise ForeignError(f"Expected numbers; row {r} of {path.name}: {error}.") from None
    return _dlc(numbers, frames, named)


def _dlc(numbers, frames: list[int], named: dict[str, list[str]]) -> Found:
    import numpy as np

    who = named.get("individuals", ["animal1"] * len(named["coords"]))
    if frames and (min(frames) < 0 or len(set(frames)) < len(frames)):
        raise ForeignError("Expected each frame once, counted from 0.")
    animals = tuple(dict.fromkeys(who))
    parts = tuple(dict.fromkeys(named["bodyparts"]))
    points = np.full((max(frames) + 1, len(animals), len(parts), 2), np.nan)
    score = np.zeros(points.shape[:3])
    for column, (animal, part, kind) in enumerate(
        zip(who, named["bodyparts"], named["coords"], strict=True)
    ):
        place = (frames, animals.index(animal), parts.index(part))
        if kind == "likelihood":
            score[place] = np.nan_to_num(numbers[:, column])
        elif kind in ("x", "y"):
            points[(*place, "xy".index(kind))] = numbers[:, column]
        else:
            raise ForeignError(f"Expected coords x, y, likelihood; got {kind!r}.")
    if "likelihood" not in named["coords"]:
        score[np.isfinite(points).all(-1)] = 1.0
    return Found(points, score, animals, parts, (), "DeepLabCut")


def _dlc_hdf5(file, path: Path) -> Found:
    table = file["df_with_missing"].get("table")
    advice = "export it as CSV (deeplabcut.analyze_videos(..., save_as_csv=True))."
    if table is None or table.dtype.names is None or "values_block_0" not in table.dtype.names:
        raise ForeignError(
            f"Expected a pandas table, as DeepLabCut writes it; {path.name} has another layout: "
            f"{advice}"
        )
    kept = table.attrs.get("values_block_0_kind", b"")
    values = table["values_block_0"]
    try:
        names = plain_pickle(bytes(kept) if not isinstance(kept, str) else kept.encode("latin-1"))
        columns = [[str(word) for word in column] for column in names]
        levels = {len(column) for column in columns}
        if len(columns) != values.shape[1] or len(levels) != 1 or not levels <= {3, 4}:
            raise ValueError("the names do not fit the columns")
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ForeignError(
            f"Expected names of columns as plain text; those of {path.name} are not ({error}): "
            f"{advice}"
        ) from None
    keys = ("scorer", "bodyparts", "coords")
    if levels == {4}:
        keys = ("scorer", "individuals", "bodyparts", "coords")
    levelled = (list(level) for level in zip(*columns, strict=True))
    head: dict[str, list[str]] = dict(zip(keys, levelled, strict=True))
    return _dlc(values, [int(each) for each in table["index"]], head)


def plain_pickle(data: bytes) -> list:
    """Lists, tuples and text of a pickle, read opcode by opcode; nothing is imported or called.

    Raises:
        ValueError: there is anything else in it.
    """
    import pickletools

    stack: list = []
    memo: dict = {}
    mark = object()

    def since() -> list:
        start = max(i for i, each in enumerate(stack) if each is mark)
        found = stack[start + 1 :]
        del stack[start:]
        return found

    for opcode, value, _ in pickletools.genops(data):
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            stack.append(mark)
        elif name in ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"):
            stack.append(value)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[value] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name in ("LIST", "TUPLE"):
            found = since()
            stack.append(found if name == "LIST" else tuple(found))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            found = stack[-count:]
            del stack[-count:]
            stack.append(tuple(found))
        elif name in ("APPEND", "APPENDS"):
            found = since() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(found)
        else:
            raise ValueError(f"a packed object ({name})")
    raise ValueError("cut off")


def _sleap_analysis(file) -> Found:
    import numpy as np

    tracks = np.asarray(file["tracks"])  # (animals, 2, keypoints, frames)
    keypoints = tuple(_text(name) for name in file["node_names"])
    if tracks.ndim != 4 or tracks.shape[1:3] != (2, len(keypoints)):
        raise ForeignError(
            f"Expected tracks of shape (animals, 2, {len(keypoints)}, frames); got {tracks.shape}."
        )
    points = np.ascontiguousarray(tracks.transpose(3, 0, 2, 1)).astype(float)
    score = np.asarray(file["point_scores"]) if "point_scores" in file else None
    if score is not None and score.size:
        score = np.nan_to_num(np.clip(score.transpose(2, 0, 1), 0, 1)).astype(float)
    else:
        score = np.isfinite(points).all(-1).astype(float)
    names = [_text(name) for name in file["track_names"]] if "track_names" in file else []
    if len(names) != tracks.shape[0] or len(set(names)) < len(names):
        names = [f"animal{n + 1}" for n in range(tracks.shape[0])]
    edges = np.asarray(file["edge_inds"]).reshape(-1, 2) if "edge_inds" in file else []
    pairs = tuple((int(a), int(b)) for a, b in edges)
    return Found(points, score, tuple(names), keypoints, pairs, "SLEAP")


def _slp(file, path: Path) -> Found:
    import numpy as np

    told = json.loads(_text(file["metadata"].attrs["json"]))
    keypoints, edges = _slp_skeleton(told)
    frames, instances = file["frames"][()], file["instances"][()]
    both = {0: file["points"][()], 1: file["pred_points"][()]}
    first = frames["video"].min() if len(frames) else 0
    frames = frames[frames["video"] == first]
    if not len(frames):
        raise ForeignError(f"Expected frames with animals; {path.name} has none.")
    offset = 0.5 if float(file["metadata"].attrs.get("format_id", 1.2)) < 1.1 else 0.0
    count = int(frames["frame_idx"].max()) + 1
    tracked = sorted({int(t) for t in instances["track"] if t >= 0})
    most = int((frames["instance_id_end"] - frames["instance_id_start"]).max())
    slots = max(most, len(tracked))
    points = np.full((count, slots, len(keypoints), 2), np.nan)
    score = np.zeros(points.shape[:3])
    for frame in frames:
        free = list(range(len(tracked), slots)) if tracked else list(range(slots))
        for each in instances[int(frame["instance_id_start"]) : int(frame["instance_id_end"])]:
            kind, track = int(each["instance_type"]), int(each["track"])
            slot = tracked.index(track) if track >= 0 else (free.pop(0) if free else None)
            if slot is None:
                continue
            some = both[kind][int(each["point_id_start"]) : int(each["point_id_end"])]
            place = (int(frame["frame_idx"]), slot)
            points[place] = np.stack([some["x"], some["y"]], -1) - offset
            points[place][~some["visible"].astype(bool)] = np.nan
            score[place] = np.clip(some["score"], 0, 1) if kind == 1 else 1.0
    score[~np.isfinite(points).all(-1)] = 0.0
    names = tuple(f"animal{n + 1}" for n in range(slots))
    return Found(points, score, names, keypoints, edges, "SLEAP")


def _slp_skeleton(told: dict) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Names of keypoints and edges; links hold the index of a node in the list of all nodes."""
    everyone = [node["name"] for node in told["nodes"]]
    skeleton = told["skeletons"][0]
    order = [int(node["id"]) for node in skeleton["nodes"]]
    edges, second = [], None
    for each in skeleton.get("links", ()):
        kind = each.get("type", {})
        if "py/id" not in kind or second is None:
            reduced = kind.get("py/reduce", [{}, {"py/tuple": [1]}])
            value = reduced[1].get("py/tuple", [1])[0]
            second = value if second is None else second
        else:
            value = kind["py/id"]
        if value == 1:
            edges.append((order.index(int(each["source"])), order.index(int(each["target"]))))
    return tuple(everyone[i] for i in order), tuple(edges)


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
