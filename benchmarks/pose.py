"""Pose from labelled frames of drawn animals whose pose is known: errors on all other frames.

    python benchmarks/pose.py --labels 30 --frames 300
    python benchmarks/pose.py --demo          writes the data of the demo anew

Prints a table: labelled frames, CPU seconds, median error and its 95th percentile on frames that
no network saw, share of the keypoints that were found. To reach: a median of 1.5 px of 30 frames.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
from pathlib import Path

import numpy as np

from lanternfish.analyses.pose import results, synthetic, video
from lanternfish.service.analyses import load
from lanternfish.service.analyses.local import run_here

SIZE = (320, 240)
REACH = 1.5  # px


def make(folder: Path, frames: int, labels: int, seed: int) -> np.ndarray:
    """Write a video, labels and known positions; returns the latter, (frames, 2, 5, 2), px."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = synthetic.poses(frames, 2, SIZE, seed)
    path = folder / "two_animals.mp4"
    video.write(path, synthetic.draw(truth, SIZE, seed), 30)
    about = video.look(path).plain()
    chosen = np.random.default_rng(seed).choice(frames, labels, replace=False)
    synthetic.labels_of(truth, sorted(chosen), about).write(folder / "labels.json")
    others = sorted(set(range(frames)) - set(chosen.tolist()))
    synthetic.labels_of(truth, others, about).write(folder / "truth.json")
    return truth


def deeplabcut(truth: np.ndarray, path: Path) -> None:
    """Known positions as DeepLabCut writes positions of several animals."""
    names = synthetic.SKELETON.keypoints
    columns = [(a, k, c) for a in range(truth.shape[1]) for k in range(len(names))
               for c in ("x", "y", "likelihood")]  # fmt: skip
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["scorer", *["DLC_drawn"] * len(columns)])
        table.writerow(["individuals", *(f"animal{a + 1}" for a, _, _ in columns)])
        table.writerow(["bodyparts", *(names[k] for _, k, _ in columns)])
        table.writerow(["coords", *(c for _, _, c in columns)])
        for frame, each in enumerate(truth):
            places = {"x": each[..., 0], "y": each[..., 1], "likelihood": np.ones(each.shape[:2])}
            table.writerow([frame, *(round(float(places[c][a, k]), 3) for a, k, c in columns)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--labels", type=int, default=30)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--demo", action="store_true")
    asked = parser.parse_args()
    analysis = load("pose")
    if asked.demo:
        folder = Path(analysis.demo.inputs["video"]).parent
        deeplabcut(make(folder, 120, 30, asked.seed), folder / "deeplabcut.csv")
        return
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="lanternfish-pose-"))
    truth = make(folder, asked.frames, asked.labels, asked.seed)
    given = {name: folder / f"{name}.json" for name in ("labels", "truth")}
    given["video"] = folder / "two_animals.mp4"
    settings = {"animals": 2, "epochs": asked.epochs, "steps": asked.steps, "video": False}
    run_here(analysis, settings, given, folder / "out")
    from lanternfish.analyses.pose.labels import read_labels

    others = sorted(read_labels(given["truth"]).frames)
    places = np.full(truth.shape, np.nan)
    with open(folder / "out" / "poses.csv", newline="") as file:
        for row in csv.DictReader(file):
            k = synthetic.SKELETON.keypoints.index(row["keypoint"])
            if row["x_px"]:
                place = (int(row["frame"]), int(row["animal"].removeprefix("animal")) - 1, k)
                places[place] = float(row["x_px"]), float(row["y_px"])
    distances, hit, there = results.errors(places[others], truth[others])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    half, most = np.percentile(distances, [50, 95]) if len(distances) else (np.nan, np.nan)
    print("| labelled | CPU s | median error (px) | 95 % below (px) | found | reached |")
    print("|---|---|---|---|---|---|")
    print(f"| {asked.labels} | {used.ru_utime + used.ru_stime:.0f} | {half:.2f} | {most:.2f} "
          f"| {hit / there:.3f} | {'yes' if half <= REACH else 'no'} |")  # fmt: skip


if __name__ == "__main__":
    main()
