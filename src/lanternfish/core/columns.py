"""Columns: named quantities, numbers or whole arrays of them.

A parameter is a number. A statistic is a number, or raw data: a trace, an image, or trials. Tables
and files hold rows of flat float64; a column knows which part of a row is its own and its shape.

A trial that is absent is a row of NaN, so that the number of trials may vary between simulations.
Numbers are missing nowhere else, and at least one trial is there, in what is called complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KINDS = {"number": (0,), "trace": (1, 2), "image": (2, 3), "trials": (2,)}  # and their dimensions


@dataclass(frozen=True)
class Column:
    """One named quantity.

    Args:
        name: key in tables, dictionaries and files.
        unit: physical unit, for example ``"mS/cm2"``; empty for a number without one.
        label: LaTeX or plain label for plots; the name where empty.
        shape: of the array; ``()`` for a number.
        kind: ``"number"``, ``"trace"``, ``"image"`` or ``"trials"``; see ``Trace``, ``Image`` and
            ``Trials``.

    Raises:
        ValueError: if there is no such kind, or a shape that it cannot have.
    """

    name: str
    unit: str = ""
    label: str = ""
    shape: tuple[int, ...] = ()
    kind: str = "number"

    def __post_init__(self) -> None:
        shape = _as_shape(self.shape)
        if self.kind not in KINDS:
            raise ValueError(f"Expected a kind out of {', '.join(KINDS)}; got {self.kind!r}.")
        whole = all(isinstance(n, int | np.integer) and n > 0 for n in shape)
        if len(shape) not in KINDS[self.kind] or not whole:
            axes = " or ".join(map(str, KINDS[self.kind]))
            raise ValueError(
                f"Expected a shape of {axes} positive whole numbers for {self.name}, a "
                f"{self.kind}; got {self.shape}."
            )
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))

    @property
    def axis_label(self) -> str:
        """Label with its unit, for an axis."""
        text = self.label or self.name.replace("_", " ")
        return f"{text} ({self.unit})" if self.unit else text

    @property
    def size(self) -> int:
        """How many numbers of a row belong to the column."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def is_array(self) -> bool:
        return self.kind != "number"

    @property
    def spec(self) -> tuple[str, tuple[int, ...], str]:
        """Name, shape and kind, for processes that know nothing of columns."""
        return self.name, self.shape, self.kind

    def as_list(self) -> list:
        """As it is stored: ``Column(*stored)`` is the column again."""
        plain = [self.name, self.unit, self.label]
        return [*plain, list(self.shape), self.kind] if self.is_array else plain

    def in_words(self, value, digits: int = 5) -> str:
        """A value of the column as text; of an array its kind and shape."""
        return f"{self.kind} {np.shape(value)}" if self.is_array else f"{value:.{digits}g}"


def Trace(name: str, shape: int | tuple[int, ...], *, unit: str = "", label: str = "") -> Column:
    """A recording over time, as a statistic.

    >>> import lanternfish as lf
    >>> lf.Trace("voltage", 4096, unit="mV").shape
    (4096,)

    Args:
        shape: number of points, ``(time,)`` or ``(channels, time)``.
    """
    return Column(name, unit, label, _as_shape(shape), "trace")


def Image(name: str, shape: tuple[int, ...], *, unit: str = "", label: str = "") -> Column:
    """A picture, map or receptive field, as a statistic.

    Args:
        shape: ``(height, width)`` or ``(channels, height, width)``.
    """
    return Column(name, unit, label, _as_shape(shape), "image")


def Trials(name: str, shape: int | tuple[int, ...], *, unit: str = "", label: str = "") -> Column:
    """Exchangeable repetitions, as a statistic: their order carries nothing.

    Trials that are absent are rows of NaN; their number may vary between simulations.

    Args:
        shape: ``(most, numbers)``: the largest number of trials, and numbers of each; a whole
            number for trials of one number.
    """
    shape = _as_shape(shape)
    return Column(name, unit, label, (*shape, 1) if len(shape) == 1 else shape, "trials")


def _as_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def as_columns(columns: Sequence[str | Column]) -> tuple[Column, ...]:
    """Columns from names or columns.

    Raises:
        ValueError: if there is none, or a name comes twice.
    """
    if isinstance(columns, str):
        raise ValueError(f'Expected a sequence of names, such as ("{columns}",); got "{columns}".')
    if isinstance(columns, Column):
        columns = [columns]
    found = tuple(c if isinstance(c, Column) else Column(c) for c in columns)
    names = [c.name for c in found]
    twice = sorted({n for n in names if names.count(n) > 1})
    if not found or twice:
        got = f"{', '.join(twice)} more than once" if twice else "none"
        raise ValueError(f"Expected at least one name and each name once; got {got}.")
    return found


def width(columns: Sequence[Column]) -> int:
    """How many numbers a row of these columns has."""
    return sum(c.size for c in columns)


def spans(columns: Sequence[Column]) -> list[slice]:
    """Which part of a row belongs to each column."""
    ends = np.cumsum([c.size for c in columns]).tolist()
    return [slice(stop - c.size, stop) for c, stop in zip(columns, ends, strict=True)]


def flat_names(columns: Sequence[Column]) -> list[str]:
    """A name for each number of a row: ``rate``, ``voltage[17]``, ``field[3,4]``."""
    return [
        f"{c.name}[{','.join(map(str, place))}]" if c.is_array else c.name
        for c in columns
        for place in np.ndindex(c.shape)
    ]


def known(array: np.ndarray, column: Column) -> np.ndarray:
    """Which rows of values of a column, (n, size), are complete, (n,) of bool."""
    if column.kind != "trials":
        return np.all(np.isfinite(array), axis=1)
    trials = array.reshape(len(array), *column.shape)
    there, absent = np.all(np.isfinite(trials), axis=2), np.all(np.isnan(trials), axis=2)
    return np.all(np.logical_or(there, absent), axis=1) & np.any(there, axis=1)


def known_by_column(array: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Which columns of rows (n, width) are complete, (n, number of columns) of bool."""
    parts = zip(columns, spans(columns), strict=True)
    return np.stack([known(array[:, span], column) for column, span in parts], axis=1)


def fitted(value, column: Column) -> np.ndarray:
    """One value of a column in its shape; fewer trials than there is room for are filled up.

    Raises:
        ValueError: if the shape is another, or the value is not complete.
    """
    array = np.asarray(value, np.float64)
    if array.size == column.size == 1:
        array = array.reshape(column.shape)
    if column.kind == "trials":
        array = _filled_up(array, column.shape)
    if array.shape != column.shape:
        room = "up to " if column.kind == "trials" else ""
        raise ValueError(
            f"Expected {column.name} of shape {room}{column.shape}; got shape {np.shape(value)}."
            if column.is_array
            else f"Expected a number for {column.name}; got shape {array.shape}."
        )
    if not known(array.reshape(1, -1), column)[0]:
        allowed = "; NaN stands only for whole trials that are absent, not for all of them"
        raise ValueError(
            f"Expected finite numbers in {column.name}; got NaN or infinity: "
            f"measure them{allowed if column.kind == 'trials' else ''}."
        )
    return array


def _filled_up(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Trials (m, k), or (m,) where k is 1, with rows of NaN up to the shape (n, k)."""
    if array.ndim < 2 and shape[1] == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != shape[1] or len(array) > shape[0]:
        return array
    return np.concatenate([array, np.full((shape[0] - len(array), shape[1]), np.nan)])
