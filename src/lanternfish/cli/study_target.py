"""The ``target`` of a study file: the name of one, a file, or a table.

A table holds a number for each statistic (an observation), or mean and standard deviation of some
of them (an emergent property).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.cli.console import sentence
from lanternfish.cli.target_file import SUFFIXES, read_target
from lanternfish.cli.zoo import suggest

if TYPE_CHECKING:
    from lanternfish.core import EmergentProperty, Model, Observation

    Target = Observation | EmergentProperty

Wrong = Callable[[str, str], None]
TOTAL = "total_variance"


def read_target_of(value: object, model: Model | None, base: Path, wrong: Wrong) -> Target | None:
    """The target, or None after ``wrong(key, sentence)`` was called for each mistake.

    Without a model only the form is looked at.
    """
    if isinstance(value, Mapping) and (
        TOTAL in value or any(isinstance(v, list) for v in value.values())
    ):
        return _from_moments(value, model, wrong)
    if isinstance(value, Mapping):
        return _from_numbers(value, model, "target", "", wrong)
    if isinstance(value, str) and Path(value).suffix.lower() in SUFFIXES:
        return _from_file(base / Path(value).expanduser(), model, wrong)
    if value is not None and not isinstance(value, str):
        wrong("target", f"Expected a name, a file or a table of numbers; got {value!r}.")
        return None
    return None if model is None else _named(value, model, wrong)


def plain_target(target: Target) -> dict:
    """A target that has no name, as a table of a study file."""
    from lanternfish.core import EmergentProperty, PropertyRange

    if not isinstance(target, EmergentProperty):
        return dict(target)
    total = {TOTAL: list(target.total_variance)} if target.total_variance else {}
    ranges = target.ranges if isinstance(target, PropertyRange) else {}
    means = {name: list(ranges.get(name, ())) or m.mean for name, m in target.items()}
    return {name: [means[name], m.sd] for name, m in target.items()} | total


def _named(name: str | None, model: Model, wrong: Wrong) -> Target | None:
    known = model.targets
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name is not None and name in known:
        return known[name]
    options = [f"a target of {model.name} ({', '.join(known)})"] if known else []
    options += [f"a file ({', '.join(SUFFIXES)})", "a table of numbers"]
    got = "none" if name is None else f'"{name}"'
    wrong("target", f"Expected {' or '.join(options)}; got {got}{suggest(name, known)}")
    return None


def _from_moments(values: Mapping, model: Model | None, wrong: Wrong) -> EmergentProperty | None:
    from lanternfish.core import EmergentProperty, PropertyRange

    moments = {name: value for name, value in values.items() if name != TOTAL}
    total, wrongs = values.get(TOTAL, False), 0
    for name, pair in moments.items():
        if not (_is_pair(pair) or _is_pair(pair, _is_pair)):
            wrongs += 1
            wrong(
                f"target.{name}",
                f"Expected [mean, standard deviation], as in {name} = [0.5, 0.1]; got {pair!r}: "
                "give a number to each statistic for a measurement, or a pair to some for a "
                f"property; {name} = [[0.3, 0.8], 0.1] asks for any mean of an interval.",
            )
    if not isinstance(total, bool | list):
        wrongs += 1
        wrong(f"target.{TOTAL}", f"Expected true, or a list of statistics; got {total!r}.")
    if wrongs:
        return None
    try:
        ranged = any(isinstance(mean, list) for mean, _ in moments.values())
        kind = PropertyRange if ranged else EmergentProperty
        found = kind(total_variance=total, **moments)
        if model is not None:
            found.check(model.statistics)
    except ValueError as error:
        wrong("target", str(error))
        return None
    return None if model is None else found


def _is_pair(value: object, first: Callable[[object], bool] | None = None) -> bool:
    """Whether a value is [number, number], or [first, number]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and (first or _is_number)(value[0])
        and _is_number(value[1])
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _from_file(path: Path, model: Model | None, wrong: Wrong) -> Observation | None:
    try:
        values = read_target(path)
    except (ValueError, OSError) as error:
        wrong("target", sentence(error))
        return None
    return _from_numbers(values, model, f"target ({path.name})", path.stem, wrong)


def _from_numbers(
    values: Mapping, model: Model | None, key: str, name: str, wrong: Wrong
) -> Observation | None:
    from lanternfish.core import Observation

    good = {}
    for statistic, value in values.items():
        if hasattr(value, "shape"):  # an array of raw data, which the observation looks at
            good[statistic] = value
        elif isinstance(value, bool) or not isinstance(value, int | float):
            wrong(f"{key}.{statistic}", f"Expected a number; got {value!r}.")
        elif not math.isfinite(value):
            wrong(
                f"{key}.{statistic}",
                f"Expected a finite number; got {value}: measure the statistic, or leave it out of "
                "both model and target.",
            )
        else:
            good[statistic] = value
    if model is None:
        return None
    names = [column.name for column in model.statistics]
    for statistic in values:
        if statistic not in names:
            allowed = ", ".join(names)
            hint = suggest(statistic, names)
            wrong(
                f"{key}.{statistic}",
                f'Expected statistics of {model.name} ({allowed}); got "{statistic}"{hint}',
            )
    missing = [n for n in names if n not in values]
    if missing:
        wrong(
            key,
            f"Expected a number for each statistic of {model.name}; got none for "
            f"{', '.join(missing)}.",
        )
    if missing or set(good) != set(names):
        return None
    try:
        found = Observation(name, **{n: good[n] for n in names})
        found.array_for(model.statistics)
    except ValueError as error:
        wrong(key, str(error))
        return None
    return found
