"""The ``target`` of a study file: the name of one, a file, or a table of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.cli.console import sentence
from lanternfish.cli.target_file import SUFFIXES, read_target
from lanternfish.cli.zoo import suggest

if TYPE_CHECKING:
    from lanternfish.core import Model, Observation

Wrong = Callable[[str, str], None]


def read_target_of(
    value: object, model: Model | None, base: Path, wrong: Wrong
) -> Observation | None:
    """The observation, or None after ``wrong(key, sentence)`` was called for each mistake.

    Without a model only the form is looked at.
    """
    if isinstance(value, Mapping):
        return _from_numbers(value, model, "target", "", wrong)
    if isinstance(value, str) and Path(value).suffix.lower() in SUFFIXES:
        return _from_file(base / Path(value).expanduser(), model, wrong)
    if value is not None and not isinstance(value, str):
        wrong("target", f"Expected a name, a file or a table of numbers; got {value!r}.")
        return None
    return None if model is None else _named(value, model, wrong)


def _named(name: str | None, model: Model, wrong: Wrong) -> Observation | None:
    from lanternfish.core import Observation

    known = {n: t for n, t in model.targets.items() if isinstance(t, Observation)}
    if name in model.targets and name not in known:
        wrong(
            "target",
            f'Expected an observation; got the emergent property "{name}": properties are for '
            f'`lf.infer(model, model.targets["{name}"], lf.EPI())` in Python.',
        )
        return None
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name in known:
        return known[name]
    options = [f"a target of {model.name} ({', '.join(known)})"] if known else []
    options += [f"a file ({', '.join(SUFFIXES)})", "a table of numbers"]
    got = "none" if name is None else f'"{name}"'
    wrong("target", f"Expected {' or '.join(options)}; got {got}{suggest(name, known)}")
    return None


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
