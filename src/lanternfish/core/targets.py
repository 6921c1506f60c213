"""``Target``: what the model should do. An ``Observation`` holds values of named statistics.

The other kind, a distribution of statistics, is an ``EmergentProperty`` (``properties``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lanternfish.core.columns import Column, fitted, spans, width
from lanternfish.core.table import Table, check_names


class Observation(Mapping):
    """Measured values of named statistics: numbers, or arrays of raw data.

    >>> import lanternfish as lf
    >>> lf.Observation(rate=12.0, cv=0.4)["rate"]
    12.0
    >>> lf.Observation(voltage=[-65.0, -64.2, -64.9], rate=3.0)
    Observation(voltage=array (3,), rate=3)

    Args:
        name: what was measured, for titles and reports.
        **values: one finite number, or one array of them, for each statistic. Trials that are
            absent are rows of NaN, or left out.

    Raises:
        ValueError: if a value is missing (NaN), infinite or not a number.
    """

    def __init__(self, name: str = "", /, **values) -> None:
        if not values:
            raise ValueError("Expected statistics, such as Observation(rate=12); got none.")
        self.name = name
        self.values_by_name: dict[str, Any] = {k: _value(k, v) for k, v in values.items()}

    @classmethod
    def from_array(
        cls, values: Sequence[float] | np.ndarray, columns: Sequence[Column], name: str = ""
    ) -> Observation:
        """An observation from k numbers in the order of the columns."""
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (width(columns),):
            raise ValueError(f"Expected {width(columns)} statistics; got shape {array.shape}.")
        parts = zip(columns, spans(columns), strict=True)
        return cls(name, **{c.name: array[span].reshape(c.shape) for c, span in parts})

    def array_for(self, columns: Sequence[Column]) -> np.ndarray:
        """Values in the order of a model's statistics, flat, shape (k,).

        Raises:
            ValueError: if the names are not exactly those of the columns, an array is of another
                shape, or numbers are missing in other places than absent trials.
        """
        check_names(self.values_by_name, [c.name for c in columns])
        parts = [fitted(self.values_by_name[c.name], c).ravel() for c in columns]
        return np.concatenate(parts)

    def check(self, columns: Sequence[Column]) -> None:
        """Raise one sentence if the observation does not fit statistics of these columns."""
        self.array_for(columns)

    def table_for(self, columns: Sequence[Column]) -> Table:
        """The same as a table of one row."""
        return Table(self.array_for(columns)[None], columns)

    def arrays(self) -> dict[str, np.ndarray]:
        """The values that are arrays, by name."""
        return {k: v for k, v in self.values_by_name.items() if isinstance(v, np.ndarray)}

    def as_plain(self) -> dict[str, Any]:
        """Values for JSON: numbers, and of an array its shape and a digest to recognise it by."""
        return self.values_by_name | {k: _digest(v) for k, v in self.arrays().items()}

    def __getitem__(self, name: str) -> Any:
        return self.values_by_name[name]

    def __iter__(self):
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping) or self.keys() != other.keys():
            return False
        return all(np.array_equal(v, other[k], equal_nan=True) for k, v in self.items())

    __hash__ = None

    def __repr__(self) -> str:
        inside = ", ".join(
            f"{k}=array {v.shape}" if isinstance(v, np.ndarray) else f"{k}={v:.6g}"
            for k, v in self.values_by_name.items()
        )
        return f"Observation({inside})"


def _value(name: str, value: object) -> float | np.ndarray:
    """A number as it is, an array read-only; what can be told without the column is checked."""
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        array = None
    if array is None or value is None or array.size == 0:
        raise ValueError(f"Expected a number or an array for {name}; got {value!r:.80}.")
    if array.size == 1:
        return _number(name, array.item())
    rows = array if array.ndim == 2 else array.reshape(-1, 1)
    absent = np.isnan(rows).all(axis=1) if array.ndim <= 2 else np.zeros(len(rows), bool)
    if absent.all() or not np.isfinite(rows[~absent]).all():
        raise ValueError(
            f"Expected finite numbers in {name}, whole absent trials excepted; got others: "
            "leave the statistic out of both model and observation, or measure it."
        )
    array.flags.writeable = False
    return array


def _number(name: str, number: float) -> float:
    if not np.isfinite(number):
        raise ValueError(
            f"Expected a finite number for {name}; got {number}: "
            "leave the statistic out of both model and observation, or measure it."
        )
    return number


def _digest(array: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(array).tobytes()
    return {"shape": list(array.shape), "sha256": hashlib.sha256(data).hexdigest()}
