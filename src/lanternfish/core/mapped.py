"""Arrays that are too large to keep in memory: mapped from temporary files that nobody sees.

Small arrays are ordinary ones. Large ones lie in a file without a name, which vanishes with the
last array on it; what was read or written of them leaves memory on ``release``. So a function that
fills and reads arrays a block at a time needs as much memory as a block, whatever their size.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

LARGE = 2**28  # bytes from which an array is mapped
_BLOCK = 2**25  # bytes of a block


def allocate(shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """An array to be filled, in memory or, from ``LARGE`` bytes on, mapped from a temporary file.

    Raises:
        OSError: if the disk that holds temporary files is full.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size < LARGE or size == 0:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape)


def release(*arrays: np.ndarray) -> None:
    """Let what was touched of mapped arrays leave memory; others are left alone."""
    for array in arrays:
        held = _mapping(array)
        if held is not None:
            held.flush()
            held.madvise(mmap.MADV_DONTNEED)


def _mapping(array: Any) -> mmap.mmap | None:
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Rows of an array in blocks of some 32 MB."""
    each = max(array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)), 1)
    size = max(_BLOCK // each, 1)
    for start in range(0, len(array), size):
        yield slice(start, min(start + size, len(array)))


def take(array: np.ndarray, rows: Any) -> np.ndarray:
    """``array[rows]``, and mapped where it is large and not a view."""
    if isinstance(rows, slice):
        return array[rows]
    rows = np.asarray(rows)
    places = np.flatnonzero(rows) if rows.dtype == bool else rows
    found = allocate((len(places), *array.shape[1:]), array.dtype)
    for block in blocks(found):
        found[block] = array[places[block]]
        release(found, array)
    return found


def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One after the other, and mapped where that is large; an empty part costs nothing."""
    if not len(first) or not len(second):
        return second if len(second) else first
    found = allocate((len(first) + len(second), *first.shape[1:]), first.dtype)
    for part, start in ((first, 0), (second, len(first))):
        for block in blocks(part):
            found[start + block.start : start + block.stop] = part[block]
            release(found, part)
    return found
