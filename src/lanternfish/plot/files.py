"""Figures on disk, whole or absent."""

from __future__ import annotations

import io
import os
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lanternfish.core import Folder
from lanternfish.plot import style

FORMATS = ("png", "pdf", "svg")
_FONTS: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "lanternfish"}


def save(figure: Figure, path: str | os.PathLike, *, dpi: float = 200) -> str:
    """Write a figure to a local path or fsspec URL; its ending says the format.

    Args:
        path: ends in ``.png``, ``.pdf`` or ``.svg``. PDF holds its fonts, as journals ask.
        dpi: dots per inch of PNG and of shaded densities inside PDF and SVG.

    Returns:
        The path.

    Raises:
        ValueError: if the ending is another.
        OSError: with one sentence, if the disk is full or refuses.
    """
    path = os.fspath(path)
    kind = path.rpartition(".")[2].lower()
    if kind not in FORMATS or "." not in os.path.basename(path):
        raise ValueError(f"Expected a path that ends in .png, .pdf or .svg; got {path!r}.")
    if not dpi > 0:
        raise ValueError(f"Expected dpi above 0; got {dpi}.")
    buffer = io.BytesIO()
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with style.LOCK, matplotlib.rc_context(_FONTS):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=dates)
    cut = path.rfind("/") + 1
    Folder(path[:cut] or ".").write(path[cut:], buffer.getvalue())
    return path
