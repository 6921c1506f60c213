"""Tables as files: posterior samples, parameters and statistics."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanternfish.cli.console import Mistake

if TYPE_CHECKING:
    from lanternfish.core import Table
    from lanternfish.core.run import Run
    from lanternfish.diagnostics import Constraint

FORMATS = ("csv", "npz", "json")


def posterior_samples(run: Run, n: int, seed: int | None = None, at: Sequence[str] = ()) -> Table:
    """Samples; those of the run's own seed where none is given.

    Args:
        at: of a range of properties, means such as ``rate=12``.
    """
    from lanternfish.core.seeds import stream

    posterior = _posterior_at(run, at) if at else run.posterior
    return posterior.sample(n, seed=stream(run.seed, "samples") if seed is None else seed)


def _posterior_at(run: Run, at: Sequence[str]):
    learned = getattr(run.posterior, "range", None)
    if learned is None:
        raise Mistake(
            "Expected a run for a range of properties, such as {rate = [[5, 20], 1]}, to choose "
            f"one with --at; got one for {run.posterior.target!r:.80}."
        )
    means = {}
    for text in at:
        name, _, value = text.partition("=")
        try:
            means[name.strip()] = float(value)
        except ValueError:
            raise Mistake(
                f"Expected --at STATISTIC=MEAN, such as --at {next(iter(learned.ranges))}=1; got "
                f'"{text}".'
            ) from None
    return run.posterior.at(learned.at(**means))


def write_samples(samples: Table, folder: Path) -> None:
    """``samples.csv`` of a run folder, unless it is there."""
    if not (folder / "samples.csv").is_file():
        _write(folder, "samples.csv", as_csv(samples))


def write_summaries(
    constraints: Sequence[Constraint], statistics: Iterable[dict], folder: Path
) -> None:
    """``parameters.csv`` and ``statistics.csv`` of a run folder."""
    names = ("mean", "low", "high", "prior_low", "prior_high", "narrowing")
    rows = [
        [c.column.name, c.column.unit, *(f"{getattr(c, n):.6g}" for n in names)]
        for c in constraints
    ]
    _write(folder, "parameters.csv", _lines(["parameter", "unit", *names], rows))
    names = ("observed", "median", "low", "high", "inside", "distance", "spread")
    statistics = list(statistics)
    if statistics and "wanted_mean" in statistics[0]:
        names = ("wanted_mean", "wanted_sd", "mean", "sd", "median", "low", "high", "holds")
    rows = [[s["name"], s["unit"], *(_cell(s[n]) for n in names)] for s in statistics]
    if rows:
        _write(folder, "statistics.csv", _lines(["statistic", "unit", *names], rows))


def _cell(value: float | bool | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}"


def _lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _write(folder: Path, name: str, text: str) -> None:
    from lanternfish.core import Folder

    Folder(str(folder)).write(name, text.encode())


def as_csv(samples: Table) -> str:
    """A line of names, then a line for each sample."""
    return _lines(samples.names, ([f"{v:.9g}" for v in row] for row in samples.array.tolist()))


def as_json(samples: Table) -> str:
    """Values by parameter name, and the units."""
    values = {
        "units": {c.name: c.unit for c in samples.columns},
        "samples": {name: samples[name].tolist() for name in samples.names},
    }
    return json.dumps(values, allow_nan=False) + "\n"


def as_npz(samples: Table) -> bytes:
    """One array under each parameter's name."""
    import numpy as np

    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: samples[name] for name in samples.names}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def encoded(samples: Table, kind: str) -> bytes:
    """Samples in one of ``FORMATS``."""
    if kind == "npz":
        return as_npz(samples)
    return (as_csv(samples) if kind == "csv" else as_json(samples)).encode()
