"""What the explorer of a posterior reads: simulated samples, walks along paths, turned directions.

`explore.json` has parameters and statistics by name and unit, the time of all traces, and

| key | content |
|---|---|
| `samples` | by number of the line of `samples.csv`: what the model does there |
| `walks` | paths between two samples on which the density stays high; directions |
| `notes` | sentences on what could not be computed |

A point is {"theta", "x", "sd", "valid", "trace"}: parameters; mean and standard deviation of each
statistic over the trials (null: it cannot be measured there); the share of valid trials; one trace
for each channel, thinned to the extremes of short windows, or null.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from lanternfish.core import Model, Posterior, Table, Traces

FILE, POSTERIOR = "explore.json", "posterior.zip"
SIMULATED = 24  # samples that are simulated for the explorer
POINTS = 15  # of a walk
TRIALS = 4  # simulations of each point of a walk
DIRECTIONS = 4  # at most: half of them the stiffest, half the sloppiest
AROUND = 0.5  # lengths around the mode, for stiff and sloppy directions: learned densities ripple
REACH = 2.0  # lengths that a direction is turned to either side
WINDOWS = 400  # of a thinned trace, each with two numbers
_DATE = (1980, 1, 1, 0, 0, 0)  # of files in the archive: the same posterior is the same bytes
_PARTS = ("posterior.json", "posterior.safetensors", "observation.npz")
_LARGEST = 1 << 30  # bytes of a posterior


class Explorer:
    """Simulates a model for the explorer; `tell` is given a share and words now and then."""

    def __init__(self, model: Model, posterior: Posterior, seed: int, tell=lambda *_: None) -> None:
        self.model, self.posterior, self.seed, self._tell = model, posterior, seed, tell
        self.told: dict[str, Any] = {
            "format": 1,
            "parameters": [[c.name, c.unit] for c in model.parameters],
            "statistics": [[c.name, c.unit] for c in model.statistics if not c.is_array],
            "samples": {},
            "walks": [],
            "notes": [],
        }

    def samples(self, samples: Table, rows: Sequence[int]) -> None:
        """What the model does at these lines of the samples."""
        self._tell(0.0, "simulating samples")
        points = self._points(samples.array[list(rows)], 1)
        self.told["samples"] = {str(row): point for row, point in zip(rows, points, strict=True)}

    def path(self, start: Mapping[str, float], end: Mapping[str, float], title: str) -> None:
        """A walk between two points along which the density stays high."""
        import numpy as np

        from lanternfish.landscape import path

        self._tell(0.3, f"bending a path: {title}")
        found = path(self.posterior, dict(start), dict(end), seed=self.seed)
        places = np.linspace(0, 1, POINTS)
        prior = self.model.prior
        theta = np.clip(found.at(places).array, prior.low, prior.high)
        self._walk("path", title, found.sentence, places * found.length, theta)

    def directions(self) -> None:
        """The stiffest and the sloppiest directions, turned from a mode to either side."""
        import numpy as np

        from lanternfish.landscape import sensitivity

        self._tell(0.6, "looking for stiff and sloppy directions")
        found = sensitivity(self.posterior, reach=AROUND, seed=self.seed)
        middle, arrows = found.at.array[0], found.arrows.array
        k = len(found)
        half = DIRECTIONS // 2
        chosen = range(k) if k <= DIRECTIONS else [*range(half), *range(k - half, k)]
        for i in chosen:
            low, high = _inside(middle, arrows[i], self.model.prior.low, self.model.prior.high)
            if high - low <= 0:
                continue
            steps = np.linspace(low, high, POINTS)
            kind = " (stiffest)" if i == 0 else " (sloppiest)" if i == k - 1 else ""
            about = ", ".join(
                f"{share:+.2f} {name}"
                for name, share in sorted(
                    zip(found.at.names, found.vectors[i], strict=True), key=lambda p: -abs(p[1])
                )[:3]
            )
            sentence = (
                f"Made of {about}, in widths of the prior. One length away the log density has "
                "fallen by about half a nat."
            )
            theta = middle + steps[:, None] * arrows[i]
            theta = np.clip(theta, self.model.prior.low, self.model.prior.high)
            self._walk("direction", f"Direction {i + 1}{kind}", sentence, steps, theta)

    def note(self, sentence: str) -> None:
        """Say what could not be computed."""
        self.told["notes"].append(sentence)

    def write(self, file: Path) -> None:
        """Keep all of it, in one step."""
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(self.told, allow_nan=False, separators=(",", ":")))
        temporary.replace(file)

    def _walk(
        self, kind: str, title: str, sentence: str, at: np.ndarray, theta: np.ndarray
    ) -> None:
        points = self._points(theta, TRIALS)
        told = {"kind": kind, "title": title, "sentence": sentence, "at": at.tolist()}
        density = self.posterior.log_prob(theta)
        told["log_density"] = [_number(v) for v in density]
        self.told["walks"].append({**told, "points": points})

    def _points(self, theta: np.ndarray, trials: int) -> list[dict]:
        import numpy as np

        from lanternfish.core.seeds import stream
        from lanternfish.simulation import simulate

        seed = stream(self.seed, "explorer")
        repeated = np.repeat(theta, trials, axis=0)
        found = simulate(self.model, theta=repeated, seed=seed, progress=False)
        names = [name for name, _ in self.told["statistics"]]
        x = np.stack([np.asarray(found.x[name], np.float64) for name in names], axis=1)
        x = x.reshape(len(theta), trials, len(names))
        valid = np.asarray(found.valid).reshape(len(theta), trials).mean(axis=1)
        traces = self._traces(theta, seed)
        return [
            {
                "theta": theta[i].tolist(),
                "x": [_number(_over(x[i, :, j], np.mean)) for j in range(len(names))],
                "sd": [_number(_over(x[i, :, j], np.std)) for j in range(len(names))],
                "valid": float(valid[i]),
                "trace": None if traces is None else traces[i],
            }
            for i in range(len(theta))
        ]

    def _traces(self, theta: np.ndarray, seed: int) -> list | None:
        """One trace of each point, with the same noise at all of them."""
        import numpy as np

        if self.model.traces is None:
            return None
        found: Traces = self.model.traces(theta, np.full(len(theta), seed, np.uint64))
        time, values = thinned(np.asarray(found.time), np.asarray(found.values, np.float64))
        self.told |= {"time": [float(f"{t:.6g}") for t in time], "time_unit": found.time_unit}
        self.told |= {"unit": found.unit, "channels": list(found.channels)}
        return [[[_number(v, 5) for v in channel] for channel in one] for one in values]


def prepare(job, model: Model, posterior: Posterior, samples: Table, file: Path) -> None:
    """Write what the explorer shows of a finished study: samples, one path, directions."""
    explorer = Explorer(model, posterior, job.seed, lambda _, words: job.progress(0.97, words))
    rows = range(min(SIMULATED, len(samples)))
    explorer.samples(samples, rows)
    for part in (lambda: _far(explorer, samples, rows), explorer.directions):
        try:
            part()
        except (ValueError, TypeError, RuntimeError, FloatingPointError) as error:
            explorer.note(str(error))
            job.log(f"The explorer will lack a part: {error}")
    explorer.write(file)


def pack(folder: Path, archive: Path) -> None:
    """The posterior of a run folder as one file, which the analysis `explore` takes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for name in _PARTS:
            if (folder / name).is_file():
                made.writestr(zipfile.ZipInfo(name, _DATE), (folder / name).read_bytes())


def unpack(archive: Path, folder: Path) -> None:
    """The files of `pack`, and no others.

    Raises:
        ValueError: the archive holds no posterior, or something else.
    """
    sentence = f"Expected a posterior.zip of a finished study; got {archive.name}"
    try:
        with zipfile.ZipFile(archive) as opened:
            inside = opened.infolist()
            strange = [each.filename for each in inside if each.filename not in _PARTS]
            if strange or "posterior.json" not in {each.filename for each in inside}:
                raise ValueError(f"{sentence}, which holds {', '.join(strange) or 'none'}.")
            if sum(each.file_size for each in inside) > _LARGEST:
                raise ValueError(f"{sentence}, which unpacks to more than {_LARGEST:,} bytes.")
            for each in inside:
                (folder / each.filename).write_bytes(opened.read(each))
    except zipfile.BadZipFile:
        raise ValueError(f"{sentence}, which is no ZIP archive.") from None


def thinned(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Traces (n, channels, t) as the least and the largest value of each window, in their order."""
    import numpy as np

    width = len(time) // WINDOWS
    if width <= 2:
        return time, values
    count = len(time) // width
    windows = values[..., : count * width].reshape(*values.shape[:-1], count, width)
    low, high = windows.min(axis=-1), windows.max(axis=-1)
    falling = windows.argmax(axis=-1) < windows.argmin(axis=-1)
    first, second = np.where(falling, high, low), np.where(falling, low, high)
    pairs = np.stack([first, second], axis=-1).reshape(*values.shape[:-1], 2 * count)
    starts = time[: count * width : width]
    middles = time[width // 2 : count * width : width]
    return np.stack([starts, middles], axis=-1).ravel(), pairs


def _far(explorer: Explorer, samples: Table, rows: Sequence[int]) -> None:
    """A path between the two simulated samples that lie farthest apart, valid ones if possible."""
    import numpy as np

    theta = samples.array[list(rows)]
    valid = [p["valid"] for p in explorer.told["samples"].values()]
    good = np.flatnonzero(np.asarray(valid) > 0)
    good = good if len(good) > 1 else np.arange(len(theta))
    spread = theta[good] / np.maximum(samples.array.std(axis=0), 1e-300)
    distance = np.linalg.norm(spread[:, None] - spread[None], axis=-1)
    i, j = (int(good[k]) for k in np.unravel_index(np.argmax(distance), distance.shape))
    start, end = (dict(zip(samples.names, theta[k].tolist(), strict=True)) for k in (i, j))
    explorer.path(start, end, f"From sample {rows[i] + 1} to sample {rows[j] + 1}")


def _inside(middle, arrow, low, high) -> tuple[float, float]:
    """How far along an arrow one can go to either side, within the prior and the reach."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - middle) / arrow, (high - middle) / arrow
    least = np.where(arrow == 0, -np.inf, np.minimum(a, b))
    most = np.where(arrow == 0, np.inf, np.maximum(a, b))
    return max(-REACH, float(least.max())), min(REACH, float(most.min()))


def _over(values: np.ndarray, of) -> float:
    """A moment over the trials in which the statistic is finite; NaN where there is none."""
    import numpy as np

    known = values[np.isfinite(values)]
    return float(of(known)) if len(known) else float("nan")


def _number(value: float, digits: int = 7) -> float | None:
    """A number of JSON; None for what is not finite."""
    import math

    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
