"""The ``[method]`` table of a study file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lanternfish.cli.zoo import suggest

if TYPE_CHECKING:
    from lanternfish.inference import NLE, NPE, SMC, Rejection, Sweep

    AnyMethod = NPE | NLE | SMC | Rejection | Sweep

METHODS = ("NPE", "NLE", "SMC", "Rejection", "Sweep")
Wrong = Callable[[str, str], None]


def read_method(values: object, wrong: Wrong) -> AnyMethod | None:
    """The method, or None after ``wrong(key, sentence)`` was called for each mistake."""
    from lanternfish import flows, inference

    if not isinstance(values, Mapping):
        wrong("method", f'Expected a table, such as [method] with name = "NPE"; got {values!r}.')
        return None
    name = values.get("name", METHODS[0])
    name = {known.lower(): known for known in METHODS}.get(str(name).lower(), name)
    if name not in METHODS:
        wrong("method.name", f'Expected {", ".join(METHODS)}; got "{name}"{suggest(name, METHODS)}')
    given = {key: value for key, value in values.items() if key != "name"}
    parts = {"training": inference.Training, "density": flows.Architecture}
    for key, kind in parts.items():
        if isinstance(given.get(key), Mapping):
            given[key] = _build(kind, given[key], f"method.{key}", wrong)
            if given[key] is None:
                del given[key]
    kind = getattr(inference, name if name in METHODS else METHODS[0])
    return _build(kind, given, "method", wrong, extra=("name",))


def _build(kind: type, values: Mapping, key: str, wrong: Wrong, extra: tuple[str, ...] = ()) -> Any:
    """An object of a dataclass from a table of its fields; None where one does not fit."""
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    kept = {}
    for name, value in values.items():
        if name not in fields:
            known = (*extra, *fields)
            wrong(
                f"{key}.{name}", f'Expected {", ".join(known)}; got "{name}"{suggest(name, known)}'
            )
        elif (expected := _unfit(fields[name], value)) is not None:
            wrong(f"{key}.{name}", f"Expected {expected}; got {value!r}.")
        else:
            kept[name] = value
    try:
        built = kind(**kept)
    except (ValueError, TypeError) as error:
        named = [name for name in fields if name in str(error)]
        wrong(f"{key}.{named[0]}" if named else key, str(error))
        return None
    return built if len(kept) == len(values) else None


def _unfit(annotation: str, value: object) -> str | None:
    """What was expected of a field with this annotation, if the value is something else."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if "Mapping" in annotation:
        whole = annotation.startswith("int") and type(value) is int
        if isinstance(value, Mapping) or whole:
            return None
        return "a whole number or a table" if annotation.startswith("int") else "a table of numbers"
    if annotation.startswith("int"):
        return None if number and type(value) is int else "a whole number"
    if annotation.startswith("float"):
        return None if number else "a number"
    if annotation.startswith("bool"):
        return None if isinstance(value, bool) else "true or false"
    if annotation == "Training":
        return None if dataclasses.is_dataclass(value) else "a table, [method.training]"
    if annotation.startswith("str"):
        return None if isinstance(value, str) or dataclasses.is_dataclass(value) else "text"
    return None
