"""Training with sleap-nn, in its own environment: builds it on first use (2.4 GB)."""

import csv
import json
import re

import pytest
from server_kit import share_environments
from test_worker_jobs import at_work, until

from lanternfish.analyses.pose import results, synthetic
from lanternfish.analyses.pose.labels import read_labels
from lanternfish.analyses.pose.video import write
from lanternfish.service import store
from lanternfish.service.analyses import find_manifest, load
from lanternfish.service.analyses.local import run_here
from lanternfish.service.jobs import ENDED, State

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


def test_a_training_that_is_cancelled_on_the_platform_leaves_a_model_that_predicts(lab, tmp_path):
    db, group, user = lab
    share_environments(db.folder)
    truth = synthetic.poses(40, 1, (128, 96), 3)
    write(tmp_path / "a.mp4", synthetic.draw(truth, (128, 96), 3), 25)
    synthetic.labels_of(truth, range(0, 36, 3), {}).write(tmp_path / "labels.json")
    sets = {name: _dataset(db, group, user, tmp_path / file)
            for name, file in (("video", "a.mp4"), ("labels", "labels.json"))}  # fmt: skip
    settings = {"epochs": 200, "steps": 20, "patience": 1}
    job = _asked(db, group, user, settings, sets)
    with at_work(db, lease=60.0):
        until(lambda: _has(db, job, "instance: loss of frames not learnt"), 3_000)
        store.cancel(db, job, user)
        until(lambda: store.find_job(db, job).state == State.CANCELLED, 60)
        log = store.log_from(db, job)[0].decode()
        assert re.search(r"best weights so far, of \d+ and [1-9]\d* epoch", log), log
        kept = {each.path: each for each in store.artifacts_of(db, job)}
        model = kept["model.zip"]
        place = tmp_path / "model.zip"
        db.blobs.fetch(model.sha256, place)
        sets = {"video": sets["video"], "model": _dataset(db, group, user, place)}
        again = _asked(db, group, user, {"video": False, "threshold": 0.0}, sets)
        until(lambda: store.find_job(db, again).state in ENDED, 1_500)
    row = store.find_job(db, again)
    log = store.log_from(db, again)[0].decode()
    assert row.state == State.SUCCEEDED, (row.reason, log)
    assert "poses.csv" in {each.path for each in store.artifacts_of(db, again)}


def _dataset(db, group, user, path):
    sha256, size = db.blobs.put(path)
    return store.add_dataset(db, group, user, path.name, size, sha256).id


def _asked(db, group, user, settings, sets):
    settings = {**find_manifest("pose").defaults, **settings}
    inputs = tuple(store.Input(name, each) for name, each in sets.items())
    asked = store.Submission(group, user, "pose", "0.1.0", settings, inputs=inputs)
    return store.submit(db, asked).id


def _has(db, job, name):
    """Whether a metric has come; fails where the job has ended before."""
    row = store.find_job(db, job)
    assert row.state not in ENDED, (row.reason, store.log_from(db, job)[0].decode())
    events = store.events_after(db, job=job, kinds=("metric",))
    return any(each.data.get("name") == name for each in events)
