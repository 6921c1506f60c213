"""Tables by name: rows are parameter sets or simulations, columns carry name, unit and label.

Names, units and labels follow parameters and statistics from the prior to every table and plot;
``Table`` is the one thing that carries them. Its array is flat: a trace of 4,096 points takes as
many places of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from lanternfish.core.columns import Column, as_columns, flat_names, spans, width

if TYPE_CHECKING:
    import pandas as pd


class Table:
    """Rows by named columns, read-only, shape (n, k) float64, with k numbers in a row.

    ``table["a"]`` is one column, shape (n,), or (n, *shape) where its values are arrays;
    ``table[["a", "b"]]``, ``table[mask]`` and ``table[2:5]`` are tables.
    ``numpy.asarray(table)`` is the array.
    """

    def __init__(self, array: np.ndarray, columns: Sequence[str | Column]) -> None:
        self.columns = as_columns(columns)
        array = np.asarray(array, dtype=np.float64)
        k = width(self.columns)
        if array.ndim != 2 or array.shape[1] != k:
            raise ValueError(
                f"Expected an array of shape (n, {k}), one column for each of "
                f"{', '.join(self.names)}; got shape {array.shape}."
            )
        self.array = array.view()
        self.array.flags.writeable = False

    @classmethod
    def from_mapping(cls, values: Mapping[str, np.ndarray], columns: Sequence[Column]) -> Table:
        """A table from one value, or n of them, for each column's name."""
        check_names(values, [c.name for c in columns])
        arrays = [_rows_of(values[c.name], c) for c in columns]
        lengths = {len(a) for a in arrays} - {1}
        fit = [a.shape[1:] == c.shape for a, c in zip(arrays, columns, strict=True)]
        if len(lengths) > 1 or not all(fit):
            got = ", ".join(f"{c.name} {a.shape}" for c, a in zip(columns, arrays, strict=True))
            what = "value" if any(c.is_array for c in columns) else "number"
            raise ValueError(f"Expected one {what}, or n of them, for each name; got {got}.")
        n = lengths.pop() if lengths else 1
        flat = [
            np.broadcast_to(a, (n, *c.shape)).reshape(n, c.size)
            for a, c in zip(arrays, columns, strict=True)
        ]
        return cls(np.concatenate(flat, axis=1), columns)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Rows as dictionaries."""
        parts = list(zip(self.columns, spans(self.columns), strict=True))
        for row in self.array:
            yield {
                c.name: row[span].reshape(c.shape) if c.is_array else float(row[span.start])
                for c, span in parts
            }

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.array, dtype=dtype, copy=copy)

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: Any) -> Table: ...

    def __getitem__(self, key):
        if isinstance(key, str):
            i = self._position(key)
            part = self.array[:, spans(self.columns)[i]]
            return part.reshape(len(part), *self.columns[i].shape)
        if isinstance(key, list | tuple) and key and all(isinstance(k, str) for k in key):
            chosen = [self._position(k) for k in key]
            places = spans(self.columns)
            parts = [self.array[:, places[i]] for i in chosen]
            return Table(np.concatenate(parts, axis=1), [self.columns[i] for i in chosen])
        if isinstance(key, int | np.integer):
            if not -len(self) <= key < len(self):
                raise IndexError(f"Expected a row from 0 to {len(self) - 1}; got {key}.")
            key = slice(key, key + 1 or None)
        return Table(self.array[key], self.columns)

    def _position(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(f"Expected one of {', '.join(self.names)}; got {name}.")
        return self.names.index(name)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a pandas data frame (needs pandas); of an array, a column for each number."""
        import pandas as pd

        return pd.DataFrame(np.array(self.array), columns=flat_names(self.columns))

    def to_csv(self, path: str) -> None:
        """Write a comma-separated file with a header of names, such as ``rate,voltage[0]``."""
        names = [f'"{name}"' if "," in name else name for name in flat_names(self.columns)]
        np.savetxt(path, self.array, delimiter=",", header=",".join(names), comments="")

    def __repr__(self) -> str:
        names = [f"{c.name} {c.shape}" if c.is_array else c.name for c in self.columns]
        longest = max(map(len, names))
        lines = [f"Table: {len(self)} rows"]
        for name, column in zip(names, self.columns, strict=True):
            values = self[column.name]
            known = values[np.isfinite(values)]
            if len(known):
                low, mid, high = np.quantile(known, [0.05, 0.5, 0.95])
                spread = f"{mid:.4g} [{low:.4g}, {high:.4g}]"
            else:
                spread = "no finite value"
            lines.append(f"  {name:<{longest}}  {spread} {column.unit}".rstrip())
        return "\n".join(lines)


def _rows_of(value, column: Column) -> np.ndarray:
    """One value or n of them as (n, *shape), as far as that can be told."""
    array = np.asarray(value, np.float64)
    return array[None] if array.ndim == len(column.shape) else array


def check_names(given: Mapping[str, object], expected: Sequence[str]) -> None:
    """Raise one sentence if the names given are not exactly those expected."""
    missing = [n for n in expected if n not in given]
    unknown = [n for n in given if n not in expected]
    if missing or unknown:
        parts = []
        if missing:
            parts.append(f"{', '.join(missing)} missing")
        if unknown:
            parts.append(f"{', '.join(map(str, unknown))} unknown")
        raise ValueError(f"Expected values for {', '.join(expected)}; got {' and '.join(parts)}.")


def as_table(values, columns: Sequence[Column], what: str) -> Table:
    """A table from a table, a mapping of names, or an array of shape (n, k) or (k,).

    Raises:
        ValueError: if shape or names do not fit; the sentence calls the values ``what``.
    """
    names = [c.name for c in columns]
    if isinstance(values, Table):
        if list(values.names) == names:
            return values
        check_names(dict.fromkeys(values.names), names)
        return values[names]
    if isinstance(values, Mapping):
        return Table.from_mapping(values, columns)
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected {what} as numbers of shape (n, {width(columns)}); got {values!r:.80}."
        ) from None
    if array.ndim not in (1, 2) or array.shape[-1] != width(columns):
        raise ValueError(f"Expected {what} of shape (n, {width(columns)}); got {array.shape}.")
    return Table(np.atleast_2d(array), columns)
