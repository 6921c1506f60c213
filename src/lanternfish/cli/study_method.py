"""The ``[method]`` table of a study file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lanternfish.cli.zoo import suggest

if TYPE_CHECKING:
    from lanternfish.inference import EPI, NLE, NPE, SMC, Rejection, Sweep

    AnyMethod = NPE | NLE | EPI | SMC | Rejection | Sweep

METHODS = ("NPE", "NLE", "EPI", "SMC", "Rejection", "Sweep")
Wrong = Callable[[str, str], None]


def read_method(values: object, wrong: Wrong, default: str = METHODS[0]) -> AnyMethod | None:
    """The method, or None after ``wrong(key, sentence)`` was called for each mistake.

    Args:
        default: the method where the values name none.
    """
    from lanternfish import inference

    if not isinstance(values, Mapping):
        wrong("method", f'Expected a table, such as [method] with name = "NPE"; got {values!r}.')
        return None
    name = values.get("name", default)
    name = {known.lower(): known for known in METHODS}.get(str(name).lower(), name)
    if name not in METHODS:
        wrong("method.name", f'Expected {", ".join(METHODS)}; got "{name}"{suggest(name, METHODS)}')
    given = {key: value for key, value in values.items() if key != "name"}
    kind = getattr(inference, name if name in METHODS else default)
    for key, part in _parts(kind).items():
        if isinstance(given.get(key), Mapping):
            given[key] = _build(part, given[key], f"method.{key}", wrong)
            if given[key] is None:
                del given[key]
    return _build(kind, given, "method", wrong, extra=("name",))


def _parts(method: type) -> dict[str, type]:
    """Settings that are tables of their own."""
    from lanternfish import flows
    from lanternfish.inference.training import Training

    made: dict[str, Any] = {
        field.name: Training if str(field.type) == "Training" else field.default_factory
        for field in dataclasses.fields(method)
        if isinstance(field.default_factory, type) or str(field.type) == "Training"
    }
    return {"density": flows.Architecture, "push": flows.Push} | made


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
    if annotation in ("Training", "Loop", "Tolerance") or annotation.startswith("flows.Push"):
        key = annotation.removeprefix("flows.").split()[0].lower()
        return None if dataclasses.is_dataclass(value) else f"a table, [method.{key}]"
    if annotation.startswith("str"):
        return None if isinstance(value, str) or dataclasses.is_dataclass(value) else "text"
    return None
