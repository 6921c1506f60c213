"""Calcium imaging on generated movies with known cells: recall, precision, traces, cost, overhead.

    python benchmarks/calcium.py                      all of it
    python benchmarks/calcium.py --only 1             the first movie alone
    python benchmarks/calcium.py --no-memory          without the two large movies
    python benchmarks/calcium.py --seed 2000          other movies

Filters were chosen on seeds 106 to 200 (20 cells, 128 x 128 px, gains 6 to 100): the movies here
begin at seed 1000. Each is run with the defaults, then with suite2p called by hand (`run_s2p` on
the TIFF, with the same settings) in the same environment: overhead is the CPU time beyond that.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from lanternfish.analyses.calcium import generated, reading
from lanternfish.analyses.calcium.work import SCRIPT, task_of
from lanternfish.analyses.guests import python_with
from lanternfish.service.analyses import Job, load
from lanternfish.service.analyses.local import run_here

MOVIES = (  # noise grows from the first to the last
    generated.Movie(cells=20, size=(128, 128), gain=80.0, frames=1_000),
    generated.Movie(cells=40, size=(176, 176), gain=40.0, frames=1_000),
    generated.Movie(cells=60, size=(208, 208), gain=25.0, frames=1_000),
    generated.Movie(cells=80, size=(256, 256), gain=15.0, frames=1_000),
)
LARGE = (1_500, 3_000)  # frames, of 256 x 256 px
BY_HAND = """
import json, os, sys
task = json.loads(open(sys.argv[1]).read())
os.environ["HOME"] = folder = task["folder"]
import torch
try:
    import torchvision
except (RuntimeError, ImportError):  # its wheel was built for another torch
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name, more in (("nms", "float iou_threshold"), ("qnms", "float iou_threshold")):
        library.define(f"{name}(Tensor dets, Tensor scores, {more}) -> Tensor")
from suite2p import run_s2p
sys.path.insert(0, os.path.dirname(sys.argv[2]))
import suite2p_child as child
db = {"data_path": [folder], "save_path0": folder, "input_format": "tif"}
db["file_list"] = ["movie.tif"]
run_s2p(db=db, settings=child.settings_of(task))
sys.stdout.flush()
os._exit(0)
"""


class Peak:
    """Largest resident memory of this process's children together, while it is entered."""

    def __enter__(self):
        self.bytes, self.over = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        me = psutil.Process()
        while not self.over.wait(0.2):
            total = 0
            for child in me.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.bytes = max(self.bytes, total)

    def __exit__(self, *_) -> None:
        self.over.set()
        self.thread.join()


def cpu() -> float:
    """CPU seconds of this process and of children that ended."""
    return sum(
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def ours(movie: Path, truth: Path, rate: float, out: Path) -> dict:
    """Run the analysis; its metrics, CPU seconds and peak memory of its children."""
    told = []
    began = cpu()
    with Peak() as peak:
        inputs = {"movie": movie, "truth": truth}
        run_here(load("calcium"), {"rate": rate}, inputs, out, tell=told.append)
    found = {e["data"]["name"]: e["data"]["value"] for e in told if e["kind"] == "metric"}
    return found | {"cpu": cpu() - began, "bytes": peak.bytes}


def by_hand(movie: Path, rate: float, folder: Path, program) -> float:
    """CPU seconds of suite2p called by hand."""
    (folder / "movie.tif").symlink_to(movie)
    task = task_of(load("calcium").settings(rate=rate), reading.look(reading.Source(movie)), rate)
    file = folder / "task.json"
    file.write_text(json.dumps(task | {"folder": str(folder)}))
    began = cpu()
    python, variables = program
    subprocess.run(
        [python, "-c", BY_HAND, str(file), str(SCRIPT)],
        check=True, env={**os.environ, **variables}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return cpu() - began


def row(movie: generated.Movie, program, hand: bool) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generated.write(movie, folder / "movie.tif")
        (folder / "hand").mkdir()
        began = time.time()
        truth = folder / "movie.truth.h5"
        found = ours(folder / "movie.tif", truth, movie.rate, folder / "out")
        took = time.time() - began
        more = "-"
        if hand:
            spent = by_hand(folder / "movie.tif", movie.rate, folder / "hand", program)
            more = f"{found['cpu'] / spent - 1:+.1%}"
    size = f"{movie.size[0]} x {movie.size[1]} x {movie.frames}"
    return (
        f"| {movie.cells} | {size} | {movie.gain:g} | {found['recall']:.3f} | "
        f"{found['precision']:.3f} | {found['trace correlation']:.3f} | {found['cpu']:.0f} | "
        f"{took:.0f} | {found['bytes'] / 1e9:.2f} | {more} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1_000)
    parser.add_argument("--only", type=int, help="number of one movie, from 1")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--no-hand", action="store_true", help="without suite2p called by hand")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        job = Job(inputs={}, settings=None, seed=0, output=Path(name), checkpoint=Path(name),
                  tell=lambda message: None)  # fmt: skip
        program = python_with(job, "suite2p", "calcium")
    print("| cells | size | photons | recall | precision | trace r | CPU s | s | GB | overhead |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    chosen = [(k, m) for k, m in enumerate(MOVIES) if asked.only in (None, k + 1)]
    chosen += [] if asked.no_memory or asked.only else [
        (10 + k, generated.Movie(cells=80, size=(256, 256), gain=30.0, frames=n))
        for k, n in enumerate(LARGE)
    ]  # fmt: skip
    for k, movie in chosen:
        movie = generated.Movie(**{**vars(movie), "seed": asked.seed + k})
        print(row(movie, program, not asked.no_hand), flush=True)


if __name__ == "__main__":
    sys.exit(main())
