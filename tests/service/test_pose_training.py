"""Training with sleap-nn, in its own environment: builds it on first use (2.4 GB)."""

import csv
import json

import pytest

from lanternfish.analyses.pose import results
from lanternfish.analyses.pose.labels import read_labels
from lanternfish.service.analyses import load
from lanternfish.service.analyses.local import run_here

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),  # of imageio-ffmpeg
]
REACH = 1.5  # px, median on frames that no network saw


def test_thirty_labelled_frames_teach_a_pose(tmp_path):
    import numpy as np

    demo = load("pose").demo
    metrics = []
    told = lambda event: event["kind"] == "metric" and metrics.append(event["data"]["name"])  # noqa: E731
    made = run_here(load("pose"), demo.settings, demo.inputs, tmp_path, tell=told)
    assert {"poses.csv", "labelled.mp4", "model.zip", "report.md", "nwb/animal1.nwb"} <= set(made)
    assert any("loss" in name for name in metrics)
    truth = read_labels(demo.inputs["truth"])
    frames = sorted(truth.frames)
    found = np.full((120, 2, 5, 2), np.nan)
    with open(tmp_path / "poses.csv", newline="") as file:
        for row in csv.DictReader(file):
            k = truth.skeleton.keypoints.index(row["keypoint"])
            if row["x_px"]:
                animal = int(row["animal"].removeprefix("animal")) - 1
                found[int(row["frame"]), animal, k] = float(row["x_px"]), float(row["y_px"])
    distances, hit, there = results.errors(found[frames], truth.array(frames))
    assert hit / there > 0.85
    assert np.median(distances) <= REACH, json.dumps(metrics[-3:])
    again = run_here(
        load("pose"),
        {"animals": 2, "video": False},
        {"video": demo.inputs["video"], "model": tmp_path / "model.zip"},
        tmp_path / "again",
    )
    assert again["poses.csv"] == made["poses.csv"]
