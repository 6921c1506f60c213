"""What a job writes: tables, NWB, pictures, what the page of regions reads, and the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lanternfish.analyses.calcium import nwb, pictures, truth
from lanternfish.analyses.calcium.regions import Motion, Regions, accepted, outline, relative

if TYPE_CHECKING:
    from lanternfish.service.analyses import Job

MEASURES = ("snr", "skew", "compactness", "radius", "pixels")
MOST = 50_000_000  # values of a table of traces as text
FILTERS = ("snr", "skew", "compactness")
FORMAT = "lanternfish regions 1"


def write(job: Job, regions: Regions, software: str, cells: np.ndarray | None = None) -> None:
    """Write all that comes of regions; what costs least and is missed most first.

    Args:
        cells: which regions are taken for cells, (regions,) of bool; None: what the filters say.
    """
    s = job.settings
    changes = relative(regions, s.neuropil)
    own = cells is not None
    if cells is None:
        cells = accepted(regions.measures, s.snr, s.skew, s.compactness)
    chosen = np.flatnonzero(cells)
    write_motion(job, regions.motion, regions.rate)
    _table(job, regions, cells)
    _traces(job, regions, changes, chosen)
    _page(job, regions, changes, cells, own)
    job.progress(0.95, "writing NWB")
    fields = ("subject", "species", "sex", "age", "indicator", "place", "excitation", "recorded")
    about = {name: getattr(s, name) for name in fields}
    about |= {"movie": _name(job), "software": software, "identity": job.seed}
    nwb.write(regions, changes, cells, job.output / "calcium.nwb", about)
    job.progress(0.97, "drawing")
    _pictures(job, regions, changes, cells, chosen)
    _report(job, regions, changes, chosen, software, own)


def write_motion(job: Job, found: Motion, rate: float) -> None:
    """Write what registration has found: mean image, shifts, and a picture of them."""
    pictures.save_image(found.mean, job.output / "images" / "mean.png")
    if not len(found.shifts):
        return
    rows = [[t, f"{t / rate:.6g}", f"{y:g}", f"{x:g}"] for t, (y, x) in enumerate(found.shifts)]
    _rows(job.output / "shifts.csv", ["frame", "time_s", "y_px", "x_px"], rows)
    path = job.output / "figures" / "motion.png"
    if not path.is_file():  # it was drawn when registration ended
        _draw(job, pictures.motion(found, rate), path)


def _draw(job: Job, figure: Any, path: Path) -> None:
    from lanternfish.analyses.behaviour.pictures import save

    save(figure, path)
    job.picture(path)


def _name(job: Job) -> str:
    return next(iter(job.inputs.values())).name


def _rows(path, names, rows) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        sink = csv.writer(file, lineterminator="\n")
        sink.writerow(names)
        sink.writerows(rows)


def _table(job: Job, regions: Regions, cells: np.ndarray) -> None:
    names = ["region", "accepted", "x_px", "y_px", *MEASURES, "is_cell", "cell_probability"]
    rows = []
    for k in range(len(regions)):
        y, x = regions.pixels[k].mean(0)
        measured = [f"{float(regions.measures[name][k]):.6g}" for name in MEASURES]
        judged = [int(regions.classified[k, 0]), f"{float(regions.classified[k, 1]):.4f}"]
        rows.append([k + 1, int(cells[k]), f"{x:.2f}", f"{y:.2f}", *measured, *judged])
    _rows(job.output / "regions.csv", names, rows)


def _traces(job: Job, regions: Regions, changes: np.ndarray, chosen: np.ndarray) -> None:
    """Traces of the cells as text, where that is not too much."""
    if not len(chosen) or len(chosen) * regions.frames > MOST:
        return
    times = [f"{t / regions.rate:.6g}" for t in range(regions.frames)]
    names = ["time_s", *(f"region_{k + 1}" for k in chosen)]
    for name, values in (("dff.csv", changes), ("spikes.csv", regions.spikes)):
        text = ([time, *(f"{v:.5g}" for v in now)]
                for time, now in zip(times, values[chosen].T, strict=True))  # fmt: skip
        _rows(job.output / name, names, text)


def _page(job: Job, regions: Regions, changes: np.ndarray, cells: np.ndarray, own: bool) -> None:
    """`regions.json`, and `traces.f32`: of each region dF/F of all frames, then spikes."""
    pictures.save_image(regions.correlation, job.output / "images" / "correlation.png")
    with open(job.output / "traces.f32", "wb") as sink:
        for change, spikes in zip(changes, regions.spikes, strict=True):
            sink.write(np.asarray(change, "<f4").tobytes())
            sink.write(np.asarray(spikes, "<f4").tobytes())
    told = []
    for k in range(len(regions)):
        measured = {name: round(float(regions.measures[name][k]), 4) for name in MEASURES}
        measured = {n: v if np.isfinite(v) else None for n, v in measured.items()}
        line = [[round(float(x), 1), round(float(y), 1)] for x, y in outline(regions.mask(k))]
        told.append({"outline": line, "accepted": bool(cells[k]), **measured,
                     "is_cell": bool(regions.classified[k, 0] > 0),
                     "probability": round(float(regions.classified[k, 1]), 3)})  # fmt: skip
    s = job.settings
    page = {
        "format": FORMAT,
        "height": regions.size[0],
        "width": regions.size[1],
        "frames": regions.frames,
        "rate": regions.rate,
        "images": {"Mean": "images/mean.png", "Correlation": "images/correlation.png"},
        "filters": dict.fromkeys(FILTERS) if own else {n: getattr(s, n) for n in FILTERS},
        "own": own,  # cells are those of suite2p's classifier, or of who looked through them
        "regions": told,
    }
    (job.output / "regions.json").write_text(json.dumps(page), encoding="utf-8")


def _pictures(job: Job, regions: Regions, changes, cells, chosen) -> None:
    drawn = {"regions": lambda: pictures.numbered(regions, cells)}
    if len(chosen):
        drawn["traces"] = lambda: pictures.traces(changes, regions, chosen)
    for name, draw in drawn.items():
        _draw(job, draw(), job.output / "figures" / f"{name}.png")


def _report(job: Job, regions: Regions, changes, chosen, software: str, own: bool) -> None:
    s = job.settings
    told = "as marked by suite2p's classifier, or by who looked through them"
    if not own:
        told = (
            f"snr at least {s.snr:g}, skew at least {s.skew:g}, compactness at most "
            f"{s.compactness:g}; suite2p's own classifier takes "
            f"{int((regions.classified[:, 0] > 0).sum())}"
        )
    lines = [
        f"# Cells in {_name(job)}",
        f"{regions.frames} frames of {regions.size[1]} x {regions.size[0]} px at "
        f"{regions.rate:g} a second. Regions found by {software}: {len(regions)}; taken for cells: "
        f"{len(chosen)} ({told}).",
    ]
    if not len(chosen):
        lines.append(
            "**No region is taken for a cell.** "
            + ("Lower the filters, or look at the regions in the page." if len(regions) else
               "None was found: lower the threshold, or set the diameter of cells.")
        )  # fmt: skip
    if len(regions.motion.shifts):
        most = np.abs(regions.motion.shifts).max(0)
        lines.append(f"Largest shift of a frame: {most[0]:g} px in y, {most[1]:g} px in x.")
    if "truth" in job.inputs:
        lines += _scored(job, regions, changes, chosen)
    (job.output / "report.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def _scored(job: Job, regions: Regions, changes, chosen) -> list[str]:
    known = truth.read_known(job.inputs["truth"])
    found = truth.score(regions, chosen, changes, known)
    job.metric("recall", found.recall)
    job.metric("precision", found.precision)
    job.metric("trace correlation", found.correlation)
    table = (
        "| known cells | recall | precision | median correlation of traces |\n|---|---|---|---|\n"
        f"| {len(known.masks)} | {found.recall:.3f} | {found.precision:.3f} | "
        f"{found.correlation:.3f} |"
    )
    return ["## Against known cells", table]
