"""Raw data in a few numbers, to be compared and drawn beside other statistics.

An array becomes its mean and its standard deviation, over time, space or trials, of each channel or
number by itself. That is little: two traces of other shape may share both.
"""

from __future__ import annotations

import numpy as np

from lanternfish.core.columns import Column
from lanternfish.core.table import Table

_AXES = {"trace": 1, "image": 2}  # of time or space


def in_numbers(table: Table) -> Table:
    """The table with two columns of numbers in place of each channel of an array."""
    if not any(c.is_array for c in table.columns):
        return table
    columns: list[Column] = []
    values: list[np.ndarray] = []
    for column in table.columns:
        if not column.is_array:
            columns.append(column)
            values.append(table[column.name])
            continue
        rows = _channels(table[column.name], column)
        many = rows.shape[1] > 1
        for i in range(rows.shape[1]):
            name = f"{column.name}_{i}" if many else column.name
            mean, sd = _mean_and_sd(rows[:, i])
            columns += [Column(f"{name}_mean", column.unit), Column(f"{name}_sd", column.unit)]
            values += [mean, sd]
    return Table(np.stack(values, axis=1), columns)


def _channels(array: np.ndarray, column: Column) -> np.ndarray:
    """Values as (n, channels, places)."""
    if column.kind == "trials":
        return np.moveaxis(array, 2, 1)
    kept = array.shape[1 : array.ndim - _AXES[column.kind]]
    return array.reshape(len(array), int(np.prod(kept, dtype=int)), -1)


def _mean_and_sd(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the finite values of each row (n, places); NaN where there is none."""
    there = np.isfinite(rows)
    count = there.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(there, rows, 0.0).sum(axis=1) / np.where(count, count, np.nan)
        away = np.where(there, rows - mean[:, None], 0.0)
        return mean, np.sqrt(np.sum(away**2, axis=1) / np.where(count, count, np.nan))
