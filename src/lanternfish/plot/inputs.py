"""What users hand to a figure, made into tables: samples, points, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lanternfish.core import Posterior, Prior, Table
from lanternfish.core.table import as_table

_DRAWS = 5_000


def as_samples(samples: Table | Posterior, what: str = "samples") -> Table:
    """A table of finite samples; a posterior is sampled.

    Raises:
        TypeError: if it is neither.
        ValueError: if there is no row, or one that is not finite.
    """
    table = samples.sample(_DRAWS) if isinstance(samples, Posterior) else samples
    if not isinstance(table, Table):
        raise TypeError(f"Expected {what} as a Table or a Posterior; got {type(table).__name__}.")
    if not len(table):
        raise ValueError(f"Expected {what} with at least one row; got none.")
    finite = np.isfinite(table.array).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"Expected finite {what}; got {np.sum(~finite):,} of {len(table):,} rows with NaN or "
            "infinity: pass the valid rows, table[mask]."
        )
    return table


def prior_of(samples: Table | Posterior, prior: Prior | None, table: Table) -> Prior | None:
    """The prior given, or the posterior's own; it must know every parameter shown."""
    if prior is None:
        return samples.prior if isinstance(samples, Posterior) else None
    if not isinstance(prior, Prior):
        raise TypeError(f"Expected a Prior; got {type(prior).__name__}.")
    unknown = [name for name in table.names if name not in prior.names]
    if unknown:
        raise ValueError(
            f"Expected a prior of the parameters shown; got one without {', '.join(unknown)}."
        )
    return prior


def chosen(table: Table, names: Sequence[str] | None) -> Table:
    """The columns by name, in the order of the names; all where there is none."""
    if names is None:
        return table
    if isinstance(names, str) or not len(names):
        raise ValueError(f'Expected a list of names, such as ["{table.names[0]}"]; got {names!r}.')
    unknown = [name for name in names if name not in table.names]
    if unknown:
        raise ValueError(
            f"Expected names among {', '.join(table.names)}; got {', '.join(unknown)}."
        )
    return table[list(names)]


def as_point(point, table: Table, what: str) -> np.ndarray | None:
    """One point in the order of the table's columns, shape (d,); names not shown are left out."""
    if point is None:
        return None
    if isinstance(point, Table):
        point = dict(zip(point.names, point.array[0], strict=True)) if len(point) == 1 else point
    if isinstance(point, Mapping):
        point = {name: point[name] for name in table.names if name in point}
    found = as_table(point, table.columns, what).array
    if len(found) != 1:
        raise ValueError(f"Expected {what} as one point; got {len(found)} rows.")
    return found[0]


def as_arrows(arrows, table: Table) -> np.ndarray:
    """Changes of the parameters shown, shape (k, d); none where there is no table.

    Raises:
        ValueError: if they are not finite numbers of these parameters.
    """
    if arrows is None:
        return np.zeros((0, len(table.names)))
    if isinstance(arrows, Table):
        arrows = chosen(arrows, table.names)
    found = as_table(arrows, table.columns, "arrows").array
    if not np.isfinite(found).all():
        raise ValueError("Expected finite arrows; got NaN or infinity: leave those out.")
    return np.array(found)


def check_limits(limits: str) -> None:
    if limits not in ("prior", "samples"):
        raise ValueError(f'Expected limits "prior" or "samples"; got {limits!r}.')
