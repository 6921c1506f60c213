"""Targets in files: one value for each named statistic, in CSV, JSON or NPZ."""

from __future__ import annotations

import csv
import json
from pathlib import Path

SUFFIXES = (".csv", ".json", ".npz")
_SHAPES = {
    ".csv": "a line of statistic names and a line of numbers",
    ".json": 'an object such as {"rate": 12.0, "cv": 0.4}',
    ".npz": "one number under each statistic's name",
}


def read_target(path: Path) -> dict[str, float]:
    """Values by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not one of the three kinds, or not one value for each name.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"Expected a target file that ends in {', '.join(SUFFIXES)}; got {path.name}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"Expected a target file at {path}; got none.")
    reader = {".csv": _read_csv, ".json": _read_json, ".npz": _read_npz}[suffix]
    try:
        return {name: _number(path, name, value) for name, value in reader(path).items()}
    except (UnicodeDecodeError, csv.Error, EOFError) as error:
        raise ValueError(_unfit(path, str(error))) from None


def _unfit(path: Path, got: str) -> str:
    return f"Expected {path.name} to hold {_SHAPES[path.suffix.lower()]}; got {got}."


def _number(path: Path, name: str, value) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"Expected a number for {name} in {path.name}; got {value!r}.") from None


def _read_csv(path: Path) -> dict[str, object]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
    if len(rows) != 2:
        raise ValueError(_unfit(path, f"{len(rows)} lines"))
    names, values = rows
    if len(names) != len(values):
        raise ValueError(_unfit(path, f"{len(names)} names and {len(values)} numbers"))
    return dict(zip(names, values, strict=True))


def _read_json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(_unfit(path, f"no JSON ({error})")) from None
    if not isinstance(found, dict):
        raise ValueError(_unfit(path, f"a {type(found).__name__}"))
    return found


def _read_npz(path: Path) -> dict[str, object]:
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(_unfit(path, f"no NPZ that can be read ({error})")) from None
    for name, array in arrays.items():
        if array.size != 1:
            raise ValueError(_unfit(path, f"shape {array.shape} under {name}"))
    return {name: array.item() for name, array in arrays.items()}
