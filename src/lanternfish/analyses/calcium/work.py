"""The work of a job: convert the movie, run suite2p in its own process, write results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanternfish.analyses.calcium import reading
from lanternfish.analyses.guests import attend, python_with

if TYPE_CHECKING:
    from lanternfish.service.analyses import Job

SCRIPT = Path(__file__).with_name("suite2p_child.py")
RESULT = "result.npz"
REGISTERED = "registered.npz"
BLOCKS = (128, 96, 64, 48, 32)  # px, sides of a part that is registered by itself


def source_of(settings: Any, path: Path) -> reading.Source:
    """Where the movie is in a file."""
    order = {"auto": "auto", "frames_first": "frames first", "frames_last": "frames last"}
    return reading.Source(path, settings.dataset, order[settings.order])


def planes_of(settings: Any, header: reading.Header) -> int:
    """Planes that share the file's frame rate: as the form says, or else the file."""
    return settings.planes if settings.planes > 1 else header.planes


def rate_of(settings: Any, header: reading.Header) -> float:
    """Frames a second of this plane; 0 where nothing says it."""
    return float(settings.rate or (header.rate or 0.0) / planes_of(settings, header))


def process(job: Job) -> None:
    """Run a job, or what an attempt that was killed has left of it."""
    from lanternfish.analyses.calcium import regions as found
    from lanternfish.analyses.calcium import results

    source = source_of(job.settings, job.inputs["movie"])
    header = reading.look(source)
    rate = rate_of(job.settings, header)
    version, kept = job.checkpoint / "suite2p.json", job.checkpoint / RESULT
    if not version.is_file():
        _suite2p(job, source, rate, version)
    told = json.loads(version.read_text())
    regions = found.read_result(kept, rate, told["offset"], told["scale"])
    job.progress(0.93, f"{len(regions)} regions")
    results.write(job, regions, f"suite2p {told['version']}")
    job.progress(1.0, "done")


def _suite2p(job: Job, source: reading.Source, rate: float, version: Path) -> None:
    """Convert and run; the movie's copy is deleted, whatever happens.

    Motion and the mean image are written once registration has ended: they stay where a job is
    cancelled after that.
    """
    from lanternfish.analyses.calcium.regions import read_motion
    from lanternfish.analyses.calcium.results import write_motion

    movie = job.checkpoint / "data.bin"
    said: dict[str, str] = {}

    def converting(share: float) -> None:
        if job.cancelled:
            raise KeyboardInterrupt
        job.progress(0.1 * share, f"reading the movie, {share:.0%}")

    def hear(lines: list[dict]) -> bool:
        for told in lines:
            said.update(told)
            if "registered" in told:
                found = read_motion(Path(told["registered"]), converted.offset, converted.scale)
                write_motion(job, found, rate)
            if "stage" in told:
                job.log(told["stage"])
                job.progress(0.1 + 0.82 * told["share"], told["stage"])
        return "done" in said

    try:
        converted = reading.convert(source, movie, converting)
        task = task_of(job.settings, converted.header, rate)
        task |= {"folder": str(job.checkpoint.resolve()), "movie": str(movie.resolve())}
        task["out"] = str((job.checkpoint / RESULT).resolve())
        task["registered"] = str((job.checkpoint / REGISTERED).resolve())
        attend(job, python_with(job, "suite2p", "calcium"), SCRIPT, task, hear)
    finally:
        movie.unlink(missing_ok=True)
        for pickled in job.checkpoint.glob("*.npy"):
            pickled.unlink()
    about = {"version": said["done"], "offset": converted.offset, "scale": converted.scale}
    version.write_text(json.dumps(about))


def task_of(settings: Any, header: reading.Header, rate: float) -> dict[str, Any]:
    """What the child is told: the movie's shape, and settings by suite2p's names."""
    side = min(header.height, header.width)
    block = next((b for b in BLOCKS if 2 * b <= side), 0)
    diameter = settings.diameter or 12.0
    wanted = {
        "torch_device": "cpu",
        "fs": rate,
        "tau": settings.tau,
        "diameter": [diameter, diameter],
        "run.do_registration": int(settings.registration),
        "run.do_regmetrics": False,
        "io.save_ops_orig": False,
        "registration.nonrigid": bool(settings.nonrigid and block),
        "registration.block_size": [block or side, block or side],
        "registration.maxregshift": settings.largest_shift,
        "detection.threshold_scaling": settings.threshold,
        "detection.sparsery_settings.spatial_scale": scale_of(settings.diameter),
        "extraction.neuropil_coefficient": settings.neuropil,
        "classification.use_builtin_classifier": True,
    }
    return {
        "frames": header.frames,
        "height": header.height,
        "width": header.width,
        "settings": wanted,
        "bin": max(1, round(settings.tau * rate / 2)),
    }


def scale_of(diameter: float) -> int:
    """Number of suite2p's scale of 6, 12, 24 or 48 px next to a diameter; 0: it looks itself."""
    import math

    return min(max(round(math.log2(diameter / 6)) + 1, 1), 4) if diameter else 0
