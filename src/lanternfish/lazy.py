"""Names of a room that are loaded on first use, so that importing it loads no module of theirs."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def loader(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A room's ``__getattr__`` (PEP 562): it imports a name's module and keeps the name.

    Args:
        room: the package's ``__name__``.
        homes: module, within the package, of each name.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{room}.{homes[name]}"), name)
        setattr(sys.modules[room], name, value)
        return value

    return load
