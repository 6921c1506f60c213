"""Texts that people type as values: numbers, choices, JSON; what is none is told in a sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def choice(schema: Mapping[str, Any], text: str) -> Any:
    allowed = list(schema.get("enum", [schema["const"]] if "const" in schema else []))
    for item in [*allowed, None]:
        if text == json.dumps(item):
            return item
    raise ValueError(f"Expected one of {', '.join(map(str, allowed))}; got {text!r}.")


def plain_json(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"Expected finite numbers; got {constant}.")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Expected JSON; got something else at line {error.lineno}, column {error.colno}: "
            f"{error.msg}."
        ) from None


def whole(text: str) -> int:
    """An integer, also as `100 000`, `100,000` or `1e5`."""
    plain = text.strip().replace(",", "").replace(" ", "").replace("\u202f", "").replace("_", "")
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        value = float(plain)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"Expected a whole number; got {text.strip()!r}.")
    return int(value)


def number(text: str) -> float | int:
    """A finite number, decimal point or exponent; whole numbers stay whole."""
    plain = text.strip().replace("_", "").replace("−", "-")
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        value = float(plain)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = " Write the decimal point as a point." if "," in plain else ""
        raise ValueError(f"Expected a number; got {text.strip()!r}.{hint}")
    return value
