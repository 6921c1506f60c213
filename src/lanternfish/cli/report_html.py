"""The report as one self-contained HTML file: to look around in, and to send to somebody.

Everything is inside: data as JSON, style, script, and Plotly's script out of its wheel (extra
``html``). Points that can be chosen are posterior samples that were simulated: those of the
predictive check, where it stands in the folder, or some that are simulated now.
"""

from __future__ import annotations

import base64
import html
import importlib.resources
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lanternfish.cli.console import say, sentence
from lanternfish.cli.report import Report, gather

if TYPE_CHECKING:
    from lanternfish.core import Model, Simulations, Table
    from lanternfish.core.run import Run

POINTS = 150  # simulated samples that can be chosen
CLOUD = 2_000  # posterior samples behind them
TRACE = 1_500  # places of a drawn trace; twice as many numbers, its extremes at each
TRACED = 60  # points with a trace, so that the file stays small


def publish_html(run: Run, folder: Path, samples: Table) -> None:
    """Write ``report.html`` and say how large it is.

    Raises:
        ImportError: if Plotly is not there.
    """
    from lanternfish.core import Folder
    from lanternfish.diagnostics import constraints

    script = plotly_script()
    told = gather(run, folder, constraints(run.posterior, samples))
    model = _model(folder)
    points = _points(run, folder, model)
    page = to_html(run, told, samples, points, model, script)
    Folder(str(folder)).write("report.html", page.encode())
    say(f"{folder / 'report.html'} ({len(page.encode()) / 1e6:.1f} MB) opens in any browser.")


def plotly_script() -> str:
    """Plotly's script, out of its wheel."""
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError:
        raise ImportError(
            "Expected Plotly, whose script draws the page; got an environment without it: "
            "pip install 'lanternfish[html]'."
        ) from None
    return get_plotlyjs()


def to_html(
    run: Run, told: Report, samples: Table, points: Simulations | None, model: Model | None,
    script: str,
) -> str:  # fmt: skip
    """The page."""
    data = {
        "title": told.title,
        "passed": told.passed,
        "verdict": told.verdict,
        "asked": told.asked,
        "done": told.done,
        "steps": told.steps,
        "provenance": told.provenance,
        "findings": told.findings,
        "checks": _checks(run),
        "parameters": _parameters(run, told, samples),
        "cloud": _cloud(samples),
        "statistics": _statistics(run, points),
        "points": _chosen(points, model, run),
        "history": _history(run),
    }
    parts = {
        "title": html.escape(told.title),
        "style": _asset("report.css"),
        "plotly": script.replace("</script", "<\\/script"),
        "data": json.dumps(_plain(data), allow_nan=False).replace("</", "<\\/"),
        "script": _asset("report.js"),
    }
    page = _asset("report.html")
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text, 1)
    return page


def _asset(name: str) -> str:
    return (importlib.resources.files("lanternfish.cli") / "html" / name).read_text("utf-8")


def _model(folder: Path) -> Model | None:
    from lanternfish.cli.check import model_of

    try:
        return model_of(folder)
    except (ValueError, OSError) as error:
        say(f"No simulated points in the page: {sentence(error)}", "yellow")
        return None


def _points(run: Run, folder: Path, model: Model | None) -> Simulations | None:
    """Simulated posterior samples: those of the predictive check, or new ones."""
    from lanternfish.core.seeds import stream
    from lanternfish.simulation import open_store, simulate

    kept = sorted((folder / "checks").glob("predictive-*")) if folder.is_dir() else []
    if kept:
        return open_store(kept[-1]).load(0, POINTS)
    if model is None:
        return None
    theta = run.posterior.sample(POINTS, seed=stream(run.seed, "html points"))
    inside = theta[run.posterior.prior.contains(theta)]
    return simulate(model, theta=inside, seed=stream(run.seed, "html simulations"))


def _checks(run: Run) -> list[dict]:
    found = run.trust
    if found is None:
        return []
    made = [check.as_plain() for check in found.values()]
    rest = [{"name": name, "why": why} for name, why in found.left_out.items()]
    return made + rest


def _parameters(run: Run, told: Report, samples: Table) -> list[dict]:
    """Each parameter, with its axis and the density of its prior along it."""
    prior = run.posterior.prior.sample(10_000, seed=0)
    rows = []
    for i, c in enumerate(told.parameters):
        low, high = c.prior_low, c.prior_high
        logarithmic = low > 0 and high / low > 100
        values = prior[c.column.name]
        if logarithmic:
            low, high, values = np.log10(low), np.log10(high), np.log10(values)
        density, _ = np.histogram(values, 40, (low, high), density=True)
        rows.append(
            {
                "name": c.column.name,
                "unit": _unit(c.column.unit),
                "mean": c.mean,
                "low": c.low,
                "high": c.high,
                "axis": [low, high],
                "log": bool(logarithmic),
                "prior": density,
                "narrowing": c.narrowing,
                "edge": c.edge,
                "place": i,
            }
        )
    return rows


def _unit(unit: str) -> str:
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    head, *tail = unit.split("/")
    powers = [p[:-1] + p[-1].translate(raised) if p and p[-1].isdigit() else p for p in tail]
    return "/".join([head, *powers])


def _cloud(samples: Table) -> dict:
    return _packed(samples.array[:CLOUD].T)


def _statistics(run: Run, points: Simulations | None) -> list[dict]:
    """Each statistic as a number: its target, spread, and unit."""
    from lanternfish.core import EmergentProperty
    from lanternfish.core.summaries import in_numbers

    target = run.posterior.target
    if isinstance(target, EmergentProperty):
        columns = {c.name: c for c in run.posterior.statistics}
        return [
            {"name": n, "unit": _unit(columns[n].unit), "target": m.mean, "spread": m.sd}
            for n, m in target.items()
        ]
    table = in_numbers(target.table_for(run.posterior.statistics))
    valid = run.simulations[run.simulations.valid]
    spread = np.ones(len(table.columns))
    if len(valid) > 1:
        low, high = np.quantile(in_numbers(valid.x).array, [0.16, 0.84], axis=0)
        spread = np.where(high > low, (high - low) / 2, 1.0)
    return [
        {"name": c.name, "unit": _unit(c.unit), "target": float(value), "spread": float(s)}
        for c, value, s in zip(table.columns, table.array[0], spread, strict=True)
    ]


def _chosen(points: Simulations | None, model: Model | None, run: Run) -> dict | None:
    """Points with their statistics, and traces of the first of them."""
    from lanternfish.core.summaries import in_numbers

    if points is None or not len(points):
        return None
    points = points[:POINTS]
    x = in_numbers(points.x)
    return {
        "theta": points.theta.array.T,
        "x": {name: x[name] for name in x.names},
        "valid": points.valid,
        "traces": _traces(points, model),
        "raw": _raw(points, run),
    }


def _traces(points: Simulations, model: Model | None) -> dict | None:
    """What the model records at the points; the extremes of each stretch, as single precision."""
    if model is None or model.traces is None:
        return None
    seen = points[:TRACED]
    found = model.traces(seen.theta.array, seen.seeds)
    time, values = np.asarray(found.time), np.asarray(found.values)
    place, drawn = decimated(time, values, TRACE)
    return {
        "time": _packed(place[None]),
        "values": _packed(drawn.reshape(-1, drawn.shape[-1])),
        "channels": list(found.channels),
        "unit": found.unit,
        "time_unit": found.time_unit,
        "n": len(seen),
    }


def _raw(points: Simulations, run: Run) -> list[dict] | None:
    """Traces that the model reports as statistics, and those that were measured."""
    found = []
    for column in points.x.columns:
        if column.kind != "trace":
            continue
        values = points.x[column.name][:TRACED]
        rows = values.reshape(len(values), -1, column.shape[-1])
        steps = np.arange(column.shape[-1], dtype=float)
        place, drawn = decimated(steps, rows, TRACE)
        measured = np.asarray(run.posterior.target[column.name], float).reshape(1, *rows.shape[1:])
        found.append(
            {
                "name": column.name,
                "unit": _unit(column.unit),
                "time": _packed(place[None]),
                "values": _packed(drawn.reshape(-1, drawn.shape[-1])),
                "measured": _packed(decimated(steps, measured, TRACE)[1][0]),
                "channels": rows.shape[1],
                "n": len(values),
            }
        )
    return found or None


def decimated(time: np.ndarray, values: np.ndarray, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and values (n, channels, t) with least and greatest value of each of ``places``."""
    n = values.shape[-1]
    if n <= 2 * places:
        return time, values
    size = n // places
    held = values[..., : size * places].reshape(*values.shape[:-1], places, size)
    ends = np.stack([held.min(axis=-1), held.max(axis=-1)], axis=-1)
    stretch = time[: size * places].reshape(places, size)
    both = np.stack([stretch[:, 0], stretch[:, size // 2]], axis=-1)
    return both.ravel(), ends.reshape(*values.shape[:-1], 2 * places)


def _history(run: Run) -> list[dict]:
    keys = ("train", "validation", "best_epoch", "simulations", "valid_fraction", "tolerance")
    return [
        {key: entry[key] for key in keys if key in entry} for entry in run.history.get("rounds", [])
    ]


def _packed(rows: np.ndarray) -> dict:
    """Rows (n, m) as base64 of little-endian single precision."""
    array = np.ascontiguousarray(rows, "<f4")
    return {"rows": len(array), "data": base64.b64encode(array.tobytes()).decode()}


def _plain(value: Any):
    """As JSON holds it; what is not finite as null, numbers with six digits."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
