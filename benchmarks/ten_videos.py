"""Ten videos at once through the platform: how well workers use the cores, and what one bad costs.

    python benchmarks/ten_videos.py                    as many workers as cores, and one alone
    python benchmarks/ten_videos.py --workers 1 2 4

Videos of two generated fish are submitted in one click as tracking jobs, one of them with nothing
that moves, which passes the first look and fails. Real workers, each a process, real child
processes, SQLite. `cores used` is CPU seconds of all jobs over wall seconds; bounded by the cores
means that it comes near the number of workers as long as there are cores for them. Every position
of the good videos is compared with the same video tracked alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from lanternfish.analyses.behaviour.encoder import encoder
from lanternfish.analyses.tracking import generated
from lanternfish.service import store
from lanternfish.service.analyses import find_manifest
from lanternfish.service.jobs import ENDED, State
from lanternfish.service.worker import start_workers

SETTINGS = {"animals": 2}
PATIENCE = 3_600.0  # seconds


def videos(folder: Path, count: int, frames: int) -> list[Path]:
    """Write videos; nothing moves in the fourth."""
    paths = []
    for number in range(count):
        path = folder / f"video {number}.mp4"
        scene = generated.Scene(frames=frames, width=220, height=170)
        if number == 3:
            sink = encoder(path, (220, 170), 30, "gray")
            for _ in range(frames):
                sink.send(np.full((170, 220), 190, np.uint8))
            sink.close()
        else:
            generated.write(scene, path, 1_000 + number)
        paths.append(path)
    return paths


def at_once(paths: list[Path], folder: Path, workers: int) -> dict:
    """Submit all, let workers run, and tell what came of it."""
    db = store.open(None, folder)
    user = store.create_user(db, "ada")
    group = store.create_group(db, "lab", owner=user.id)
    settings = {**find_manifest("tracking").defaults, **SETTINGS}
    asked = []
    for path in paths:
        sha256, size = db.blobs.put(path)
        data = store.add_dataset(db, group.id, user.id, path.name, size, sha256)
        inputs = (store.Input("video", data.id),)
        version = find_manifest("tracking").version
        asked.append(
            store.Submission(group.id, user.id, "tracking", version, settings, inputs=inputs)
        )
    jobs = [row.id for row in store.submit_all(db, asked)]
    began = time.monotonic()
    children = start_workers(workers, folder)
    try:
        while any(store.find_job(db, job).state not in ENDED for job in jobs):
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError(f"Expected {len(jobs)} jobs within {PATIENCE:.0f} s.")
            time.sleep(0.1)
        wall = time.monotonic() - began
    finally:
        for child in children:
            child.terminate()
            child.wait(60)
    rows = [store.find_job(db, job) for job in jobs]
    hashes = {}
    for path, job in zip(paths, jobs, strict=True):
        found = {each.path: each.sha256 for each in store.artifacts_of(db, job)}
        hashes[path.name] = found.get("positions.csv")
    db.close()
    return {
        "wall": wall,
        "cpu": sum(row.spent for row in rows) * 0.0036,  # micro core-hours
        "good": sum(row.state == State.SUCCEEDED for row in rows),
        "reasons": [row.reason for row in rows if row.state == State.FAILED],
        "hashes": hashes,
    }


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--videos", type=int, default=10)
    options.add_argument("--frames", type=int, default=300)
    cores = len(os.sched_getaffinity(0))
    options.add_argument("--workers", type=int, nargs="+", default=sorted({1, cores}))
    chosen = options.parse_args()
    print(f"{cores} cores; load before: {os.getloadavg()[0]:.1f}")
    print("workers  wall s  CPU s  cores used  videos/min  succeeded  failed  as when alone")
    alone: dict[str, str | None] = {}
    with tempfile.TemporaryDirectory() as made:
        paths = videos(Path(made), chosen.videos, chosen.frames)
        for workers in chosen.workers:
            with tempfile.TemporaryDirectory() as folder:
                got = at_once(paths, Path(folder), workers)
            alone = alone or got["hashes"]
            same = sum(got["hashes"][name] == alone[name] is not None for name in alone)
            failed = len(got["reasons"])
            print(f"{workers:7d}  {got['wall']:6.1f}  {got['cpu']:5.1f}"
                  f"  {got['cpu'] / got['wall']:10.2f}  {60 * len(paths) / got['wall']:10.1f}"
                  f"  {got['good']:9d}  {failed:6d}  {same:13d}", flush=True)  # fmt: skip
    print("\n".join(f"failed: {reason}" for reason in got["reasons"]))


if __name__ == "__main__":
    main()
