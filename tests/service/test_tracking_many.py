"""Ten videos at once: workers share them, and one that fails does not touch the others."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from test_worker_jobs import at_work, until

from lanternfish.analyses.behaviour.encoder import encoder
from lanternfish.analyses.tracking import generated
from lanternfish.service import store
from lanternfish.service.analyses import find_manifest
from lanternfish.service.jobs import ENDED, State

# imageio-ffmpeg forks to start ffmpeg; nothing of JAX runs in its child
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),
]
SCENE = generated.Scene(frames=50, width=160, height=120, lengths=(24.0,), shades=(40,))
STILL = 3  # nothing moves in it


def test_ten_videos_at_once_of_which_one_fails(lab, tmp_path):
    db, group, user = lab
    truth, sets = {}, []
    for n in range(10):
        path = tmp_path / f"{n}.mp4"
        truth[n] = _video(path, n)
        sha256, size = db.blobs.put(path)
        sets.append(store.add_dataset(db, group, user, path.name, size, sha256).id)
    settings = {**find_manifest("tracking").defaults, "labelled_video": False}
    asked = [
        store.Submission(group, user, "tracking", find_manifest("tracking").version, settings,
                         inputs=(store.Input("video", each),)) for each in sets
    ]  # fmt: skip
    jobs = [row.id for row in store.submit_all(db, asked)]
    together = 0
    with at_work(db, lease=60.0), at_work(db, lease=60.0):

        def over():
            nonlocal together
            counts = store.counts_of(db, group)  # of one moment
            together = max(together, counts[State.RUNNING])
            return sum(counts[state] for state in ENDED) == len(jobs)

        until(over, 900)
    rows = [store.find_job(db, job) for job in jobs]
    assert together == 2  # as many as there are workers, and no more
    assert len({row.batch for row in rows}) == 1
    for n, row in enumerate(rows):
        if n == STILL:
            assert row.state == State.FAILED
            assert row.reason.startswith("Expected animals that move")
            continue
        assert row.state == State.SUCCEEDED, (n, row.reason)
        found = {each.path: each.sha256 for each in store.artifacts_of(db, row.id)}
        got = _positions(db, found["positions.csv"])
        assert row.attempts == 1
        assert len(got) == SCENE.frames
        assert np.abs(got - truth[n][: len(got), 0]).max() < 2


def _video(path, seed):
    """Write a video; the truth."""
    rng = np.random.default_rng(seed)
    places, headings = generated.swim(SCENE, rng)
    sink = encoder(path, (160, 120), 30, "gray", ["-crf", "10"])
    empty = generated.backdrop(SCENE)
    for place, heading in zip(places, headings, strict=True):
        still = seed == STILL
        sink.send(empty if still else generated.render(SCENE, place, heading, empty, rng))
    sink.close()
    return places


def _positions(db, sha256):
    with db.blobs.open(sha256) as file:
        text = file.read().decode().splitlines()
    return np.array([[float(row["x_px"]), float(row["y_px"])] for row in csv.DictReader(text)])
