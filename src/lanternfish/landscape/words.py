"""Results as text: aligned tables, numbers with their units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lanternfish.core import Column


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of texts in columns two spaces apart: the first to the left, the others to the right."""
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        right = [text.rjust(w) for text, w in zip(rest, widths[1:], strict=True)]
        lines.append("  " + "  ".join([first.ljust(widths[0]), *right]).rstrip())
    return "\n".join(lines)


def named(column: Column) -> str:
    """Name and unit of a column."""
    return f"{column.name} ({column.unit})" if column.unit else column.name


def point_in_words(columns: Sequence[Column], values: np.ndarray, most: int = 4) -> str:
    """A point as ``g_el = 5.1 nS, g_synA = 2 nS``; of many parameters the first few."""
    told = [f"{c.name} = {v:.4g} {c.unit}".rstrip() for c, v in zip(columns, values, strict=True)]
    rest = len(told) - most
    return ", ".join(told[:most]) + (f" and {rest} more parameters" if rest > 0 else "")


def percent(share: float) -> str:
    """A share in per cent."""
    hundred = 100 * share
    return f"{hundred:.0f} %" if hundred >= 10 or hundred == 0 else f"{hundred:.2g} %"
