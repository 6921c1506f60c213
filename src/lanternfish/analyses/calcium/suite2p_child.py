"""The process that suite2p runs in: `python suite2p_child.py task.json`, of its own environment.

Reads a task and a movie of 16-bit integers (frames, height, width) in a plain file; writes an .npz
without pickles; says what it does in lines of JSON on its standard output that begin with
`LANTERNFISH `. It is the only file that imports suite2p (GPL-3.0), and nothing imports it.

Reference: Pachitariu et al., Suite2p, bioRxiv 061507, doi:10.1101/061507.
"""

from __future__ import annotations

import importlib.machinery
import json
import logging
import os
import sys
import types
from pathlib import Path

FEATURES = ("snr", "skew", "std", "compact", "npix", "radius", "npix_norm", "aspect_ratio")
DETECTION = "finding regions"
UNUSED = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.transforms._functional_tensor",
)
ABSENT = ("cellpose.models", "pynwb")  # whose absence suite2p puts up with
STAGES = {
    "----------- REGISTRATION": (0.02, "registering frames"),
    "----------- ROI DETECTION": (0.45, DETECTION),
    "----------- EXTRACTION": (0.70, "extracting traces"),
    "----------- SPIKE DECONVOLUTION": (0.85, "deconvolving"),
    "----------- ROI CLASSIFICATION": (0.90, "classifying regions"),
}


def say(**told) -> None:
    print("LANTERNFISH " + json.dumps(told), flush=True)


class Stages(logging.Handler):
    """Tells of the stages that suite2p logs, and of what registration has found once it has."""

    def __init__(self, task) -> None:
        super().__init__()
        self.task = task

    def emit(self, record) -> None:
        text = record.getMessage().strip()
        if text in STAGES:
            share, words = STAGES[text]
            if words == DETECTION:
                registered(self.task)
            say(share=share, stage=words)
        elif "%|" not in text:
            print(text, flush=True)


class Unused(types.ModuleType):
    """Stands for a module that suite2p imports and, as it is called here, never uses."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"{self.__name__}.{name} was wanted; it is left out to start sooner.")


def spare() -> None:
    """Leave out what costs seconds of each start: torchvision, networks of cellpose, and PyNWB.

    suite2p imports them for finding cells by their looks and for NWB, which we write ourselves.
    torchvision's wheel may be built for another torch, too, and fail to import.
    """
    for name in UNUSED:
        room, _, last = name.rpartition(".")
        sys.modules[name] = made = Unused(name)
        made.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        made.__path__ = []
        if room in sys.modules:
            setattr(sys.modules[room], last, made)
    for name in ABSENT:
        sys.modules[name] = None  # importing it fails, as where it is not installed


def settings_of(task) -> dict:
    """Settings of suite2p: its defaults, and what a task names ("detection.nbins": 5000)."""
    from suite2p import default_settings

    settings = default_settings()
    for name, value in task["settings"].items():
        *rooms, last = name.split(".")
        place = settings
        for room in rooms:
            place = place[room]
        if last not in place:
            raise KeyError(f"Expected a setting of suite2p; got {name}.")
        place[last] = value
    return settings


def database_of(task) -> dict:
    from suite2p import default_db

    folder = str(Path(task["folder"]).resolve())
    return {
        **default_db(),
        "data_path": [folder],
        "save_path0": folder,
        "save_path": folder,
        "fast_disk": folder,
        "reg_file": task["movie"],
        "nframes": task["frames"],
        "Ly": task["height"],
        "Lx": task["width"],
        "nchannels": 1,
        "nplanes": 1,
        "keep_movie_raw": False,
    }


def correlation(task):
    """Mean correlation of each pixel with its eight neighbours, over averages of some frames."""
    import numpy as np

    size = task["height"], task["width"]
    movie = np.memmap(task["movie"], np.int16, "r", shape=(task["frames"], *size))
    bin_ = task["bin"]
    steps = ((0, 1), (1, 0), (1, 1), (1, -1))
    count = max(1, task["frames"] // bin_)
    total, square = np.zeros(size), np.zeros(size)
    cross = [np.zeros(size) for _ in steps]
    first = movie[: bin_ * 10].mean(0, dtype=np.float64)
    for k in range(count):
        now = movie[k * bin_ : (k + 1) * bin_].mean(0, dtype=np.float32) - first
        total += now
        square += now * now
        for held, (dy, dx) in zip(cross, steps, strict=True):
            held += now * np.roll(now, (-dy, -dx), (0, 1))
    mean, spread = total / count, np.sqrt(np.maximum(square / count - (total / count) ** 2, 1e-9))
    shown, seen = np.zeros(size), np.zeros(size)
    for held, (dy, dx) in zip(cross, steps, strict=True):
        there = held / count - mean * np.roll(mean, (-dy, -dx), (0, 1))
        there /= spread * np.roll(spread, (-dy, -dx), (0, 1))
        valid = np.ones(size, bool)
        if dy:
            valid[-dy:] = False
        if dx:
            valid[:, (-dx if dx > 0 else 0) : (None if dx > 0 else -dx)] = False
        there = np.where(valid, there, 0)
        shown += there + np.roll(there, (dy, dx), (0, 1))
        seen += valid + np.roll(valid, (dy, dx), (0, 1))
    return (shown / np.maximum(seen, 1)).astype(np.float32)


def told_of_registration(task) -> dict:
    """What suite2p has kept of registration."""
    import numpy as np

    return np.load(Path(task["folder"]) / "reg_outputs.npy", allow_pickle=True).item()


def registered(task) -> None:
    """Write the mean image and shifts while the rest goes on."""
    save(motion(told_of_registration(task), task), task["registered"])
    say(registered=task["registered"])


def save(kept, place) -> None:
    import numpy as np

    kept = {k: np.asarray(v) for k, v in kept.items()}
    kept = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in kept.items()}
    np.savez(place, **kept)


def motion(registered, task) -> dict:
    """Mean image, shifts of frames, and the largest shift of a part of each, as plain arrays."""
    import numpy as np

    kept = {
        "mean": registered.get("meanImg", np.zeros((task["height"], task["width"]))),
        "shift_y": registered.get("yoff", np.zeros(0)),
        "shift_x": registered.get("xoff", np.zeros(0)),
    }
    for axis in "yx":
        local = registered.get(f"{axis}off1")
        if local is not None:
            kept[f"local_{axis}"] = np.abs(np.asarray(local)).max(axis=-1)
    return kept


def plain(outputs, task) -> dict:
    """Results of suite2p as plain arrays; regions' pixels one after the other, with a count."""
    import numpy as np

    registered, _, stat, f, neuropil, _, _, spikes, iscell, *_ = outputs
    kept = motion(registered, task) | {
        "correlation": correlation(task),
        "yrange": registered["yrange"],
        "xrange": registered["xrange"],
    }
    if stat is None or not len(stat) or f is None:
        return kept | {"count": np.zeros(0, int)}
    kept["count"] = np.array([len(each["ypix"]) for each in stat])
    for name in ("ypix", "xpix", "lam", "overlap"):
        kept[name] = np.concatenate([np.asarray(each[name]) for each in stat])
    for name in FEATURES:
        kept[name] = np.array([float(each.get(name, np.nan)) for each in stat])
    kept |= {"F": f, "Fneu": neuropil, "spikes": spikes, "iscell": iscell}
    return kept


def run(task) -> None:
    from suite2p.run_s2p import run_plane

    for name in ("suite2p", ""):
        logging.getLogger(name).handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    teller = logging.getLogger("suite2p")
    teller.setLevel(logging.INFO)
    teller.propagate = False
    teller.addHandler(Stages(task))
    try:
        outputs = run_plane(database_of(task), settings_of(task))
    except ValueError as error:
        if "no ROIs were found" not in str(error):
            raise
        outputs = (told_of_registration(task), None, None, *[None] * 6)
    say(share=0.92, stage="writing")
    save(plain(outputs, task), task["out"])


def version() -> str:
    from importlib.metadata import version

    return version("suite2p")


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    os.environ["HOME"] = task["folder"]  # suite2p keeps and looks for a user's choices there
    say(share=0.0, stage="loading suite2p")
    spare()
    run(task)
    say(done=version())


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of libraries may wait for each other
