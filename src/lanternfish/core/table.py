"""Tables by name: rows are parameter sets or simulations, columns carry name, unit and label.

Names, units and labels follow parameters and statistics from the prior to every table and plot;
``Table`` is the one thing that carries them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One named quantity.

    Args:
        name: key in tables, dictionaries and files.
        unit: physical unit, for example ``"mS/cm2"``; empty for a number without one.
        label: LaTeX or plain label for plots; the name where empty.
    """

    name: str
    unit: str = ""
    label: str = ""

    @property
    def axis_label(self) -> str:
        """Label with its unit, for an axis."""
        text = self.label or self.name.replace("_", " ")
        return f"{text} ({self.unit})" if self.unit else text


def as_columns(columns: Sequence[str | Column]) -> tuple[Column, ...]:
    """Columns from names or columns.

    Raises:
        ValueError: if there is none, or a name comes twice.
    """
    if isinstance(columns, str):
        raise ValueError(f'Expected a sequence of names, such as ("{columns}",); got "{columns}".')
    found = tuple(c if isinstance(c, Column) else Column(c) for c in columns)
    names = [c.name for c in found]
    twice = sorted({n for n in names if names.count(n) > 1})
    if not found or twice:
        got = f"{', '.join(twice)} more than once" if twice else "none"
        raise ValueError(f"Expected at least one name and each name once; got {got}.")
    return found


class Table:
    """Rows by named columns, read-only, shape (n, k) float64.

    ``table["a"]`` is one column, shape (n,); ``table[["a", "b"]]``, ``table[mask]`` and
    ``table[2:5]`` are tables. ``numpy.asarray(table)`` is the array.
    """

    def __init__(self, array: np.ndarray, columns: Sequence[str | Column]) -> None:
        self.columns = as_columns(columns)
        array = np.asarray(array, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.columns):
            raise ValueError(
                f"Expected an array of shape (n, {len(self.columns)}), one column for each of "
                f"{', '.join(self.names)}; got shape {array.shape}."
            )
        self.array = array.view()
        self.array.flags.writeable = False

    @classmethod
    def from_mapping(cls, values: Mapping[str, np.ndarray], columns: Sequence[Column]) -> Table:
        """A table from one array, or one number, for each column's name."""
        check_names(values, [c.name for c in columns])
        arrays = [np.atleast_1d(np.asarray(values[c.name], np.float64)) for c in columns]
        lengths = {a.shape for a in arrays} - {(1,)}
        if len(lengths) > 1 or any(len(shape) != 1 for shape in lengths):
            got = ", ".join(f"{c.name} {a.shape}" for c, a in zip(columns, arrays, strict=True))
            raise ValueError(f"Expected one number, or n of them, for each name; got {got}.")
        return cls(np.stack(np.broadcast_arrays(*arrays), axis=1), columns)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Rows as dictionaries."""
        return (dict(zip(self.names, row.tolist(), strict=True)) for row in self.array)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.array, dtype=dtype, copy=copy)

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: Any) -> Table: ...

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.array[:, self._position(key)]
        if isinstance(key, list | tuple) and key and all(isinstance(k, str) for k in key):
            chosen = [self._position(k) for k in key]
            return Table(self.array[:, chosen], [self.columns[i] for i in chosen])
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
        """The same as a pandas data frame (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(np.array(self.array), columns=list(self.names))

    def to_csv(self, path: str) -> None:
        """Write a comma-separated file with a header of names."""
        np.savetxt(path, self.array, delimiter=",", header=",".join(self.names), comments="")

    def __repr__(self) -> str:
        width = max(len(n) for n in self.names)
        lines = [f"Table: {len(self)} rows"]
        finite = np.where(np.isfinite(self.array), self.array, np.nan)
        for column, values in zip(self.columns, finite.T, strict=True):
            known = values[np.isfinite(values)]
            if len(known):
                low, mid, high = np.quantile(known, [0.05, 0.5, 0.95])
                spread = f"{mid:.4g} [{low:.4g}, {high:.4g}]"
            else:
                spread = "no finite value"
            lines.append(f"  {column.name:<{width}}  {spread} {column.unit}".rstrip())
        return "\n".join(lines)


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
            f"Expected {what} as numbers of shape (n, {len(columns)}); got {values!r:.80}."
        ) from None
    if array.ndim not in (1, 2) or array.shape[-1] != len(columns):
        raise ValueError(f"Expected {what} of shape (n, {len(columns)}); got {array.shape}.")
    return Table(np.atleast_2d(array), columns)
