"""The process that suite2p runs in: `python suite2p_child.py task.json`, of its own environment.

Reads a task and a movie of 16-bit integers (frames, height, width) in a plain file; writes an .npz
without pickles; says what it does in lines of JSON on its standard output that begin with
`LANTERNFISH `. It is the only file that imports suite2p (GPL-3.0), and nothing imports it.

Reference: Pachitariu et al., Suite2p, bioRxiv 061507, doi:10.1101/061507.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

FEATURES = ("snr", "skew", "std", "compact", "npix", "radius", "npix_norm", "aspect_ratio")
STAGES = {
    "----------- REGISTRATION": (0.02, "registering frames"),
    "----------- ROI DETECTION": (0.45, "finding regions"),
    "----------- EXTRACTION": (0.70, "extracting traces"),
    "----------- SPIKE DECONVOLUTION": (0.85, "deconvolving"),
    "----------- ROI CLASSIFICATION": (0.90, "classifying regions"),
}


def say(**told) -> None:
    print("LANTERNFISH " + json.dumps(told), flush=True)


class Stages(logging.Handler):
    """Tells of the stages that suite2p logs."""

    def emit(self, record) -> None:
        text = record.getMessage().strip()
        if text in STAGES:
            share, words = STAGES[text]
            say(share=share, stage=words)
        elif "%|" not in text:
            print(text, flush=True)


def heal_torchvision() -> None:
    """Declare torchvision's compiled operators where its wheel was built for another torch.

    They are needed to import it, and never called here.
    """
    import torch

    try:
        import torchvision
    except (RuntimeError, ImportError):
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        heal_torchvision.kept = library  # it ends with the object
        import torchvision  # noqa: F401


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


def plain(outputs, task) -> dict:
    """Results of suite2p as plain arrays; regions' pixels one after the other, with a count."""
    import numpy as np

    registered, _, stat, f, neuropil, _, _, spikes, iscell, *_ = outputs
    kept = {
        "mean": registered.get("meanImg", np.zeros((task["height"], task["width"]))),
        "shift_y": registered.get("yoff", np.zeros(0)),
        "shift_x": registered.get("xoff", np.zeros(0)),
        "correlation": correlation(task),
        "yrange": registered["yrange"],
        "xrange": registered["xrange"],
    }
    for axis in "yx":
        local = registered.get(f"{axis}off1")
        if local is not None:
            kept[f"local_{axis}"] = np.abs(np.asarray(local)).max(axis=-1)
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
    import numpy as np
    from suite2p.run_s2p import run_plane

    for name in ("suite2p", ""):
        logging.getLogger(name).handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    teller = logging.getLogger("suite2p")
    teller.setLevel(logging.INFO)
    teller.propagate = False
    teller.addHandler(Stages())
    try:
        outputs = run_plane(database_of(task), settings_of(task))
    except ValueError as error:
        if "no ROIs were found" not in str(error):
            raise
        told = np.load(Path(task["folder"]) / "reg_outputs.npy", allow_pickle=True).item()
        outputs = (told, None, None, *[None] * 6)
    say(share=0.92, stage="writing")
    kept = {k: np.asarray(v) for k, v in plain(outputs, task).items()}
    kept = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in kept.items()}
    np.savez(task["out"], **kept)


def version() -> str:
    from importlib.metadata import version

    return version("suite2p")


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    os.environ["HOME"] = task["folder"]  # suite2p keeps and looks for a user's choices there
    say(share=0.0, stage="loading suite2p")
    heal_torchvision()
    run(task)
    say(done=version())


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of libraries may wait for each other
