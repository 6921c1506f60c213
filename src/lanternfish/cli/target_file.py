"""Targets in files: one value for each named statistic, in CSV, JSON or NPZ (arrays, too)."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

SUFFIXES = (".csv", ".json", ".npz")
_SHAPES = {
    ".csv": "a line of statistic names and a line of numbers",
    ".json": 'an object such as {"rate": 12.0, "cv": 0.4}',
    ".npz": "a number, or an array of raw data, under each statistic's name",
}


def read_target(path: Path) -> dict[str, Any]:
    """Values by name: numbers, and from NPZ also arrays of raw data.

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
        return {name: _value(path, name, value) for name, value in reader(path).items()}
    except (UnicodeDecodeError, csv.Error, EOFError) as error:
        raise ValueError(_unfit(path, str(error))) from None


def _unfit(path: Path, got: str) -> str:
    return f"Expected {path.name} to hold {_SHAPES[path.suffix.lower()]}; got {got}."


def _value(path: Path, name: str, value):
    """An array of numbers as it is, all else as a number."""
    numbers = hasattr(value, "dtype") and value.dtype.kind in "fiu"
    return value if numbers and value.size > 1 else _number(path, name, value)


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
    return {name: array.item() if array.size == 1 else array for name, array in arrays.items()}
