"""``Target``: what the model should do. An ``Observation`` holds values of named statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lanternfish.core.table import Column, Table, check_names


class Observation(Mapping):
    """Measured values of named statistics.

    >>> import lanternfish as lf
    >>> lf.Observation(rate=12.0, cv=0.4)["rate"]
    12.0

    Args:
        name: what was measured, for titles and reports.
        **values: one finite number for each statistic.

    Raises:
        ValueError: if a value is missing (NaN), infinite or not a number.
    """

    def __init__(self, name: str = "", /, **values: float) -> None:
        if not values:
            raise ValueError("Expected statistics, such as Observation(rate=12); got none.")
        self.name = name
        self.values_by_name: dict[str, float] = {k: _number(k, v) for k, v in values.items()}

    @classmethod
    def from_array(
        cls, values: Sequence[float], columns: Sequence[Column], name: str = ""
    ) -> Observation:
        """An observation from k numbers in the order of the columns."""
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(columns),):
            raise ValueError(f"Expected {len(columns)} statistics; got shape {array.shape}.")
        return cls(name, **dict(zip((c.name for c in columns), array.tolist(), strict=True)))

    def array_for(self, columns: Sequence[Column]) -> np.ndarray:
        """Values in the order of a model's statistics, shape (k,).

        Raises:
            ValueError: if the names are not exactly those of the columns.
        """
        names = [c.name for c in columns]
        check_names(self.values_by_name, names)
        return np.array([self.values_by_name[n] for n in names])

    def table_for(self, columns: Sequence[Column]) -> Table:
        """The same as a table of one row."""
        return Table(self.array_for(columns)[None], columns)

    def __getitem__(self, name: str) -> float:
        return self.values_by_name[name]

    def __iter__(self):
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={v:.6g}" for k, v in self.values_by_name.items())
        return f"Observation({inside})"


def _number(name: str, value: object) -> float:
    try:
        number = float(np.asarray(value, np.float64).item())
    except (TypeError, ValueError):
        raise ValueError(f"Expected a number for {name}; got {value!r}.") from None
    if not np.isfinite(number):
        raise ValueError(
            f"Expected a finite number for {name}; got {number}: "
            "leave the statistic out of both model and observation, or measure it."
        )
    return number
