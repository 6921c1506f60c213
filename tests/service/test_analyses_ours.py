"""Our own analyses on a real worker: what comes out, also of jobs that were killed."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from typing import get_args

import numpy as np
import pytest

from lanternfish.analyses import exploring
from lanternfish.service import store
from lanternfish.service.analyses import find_manifest
from lanternfish.service.store import Input, Submission
from lanternfish.service.worker import Worker, work


@pytest.fixture
def demo(tmp_path):
    """Submit a demo; returns the store and the job."""
    db = store.open(None, tmp_path)
    user = store.create_user(db, "ada").id
    group = store.create_group(db, "lab", owner=user).id

    def submit(name, **changes):
        found = find_manifest(name)
        inputs = []
        for key, each in found.demo["inputs"].items():
            sha256, size = db.blobs.put(each["path"])
            data = store.add_dataset(db, group, user, each["filename"], size, sha256)
            inputs.append(Input(key, data.id))
        settings = {**found.demo["settings"], **changes}
        asked = Submission(
            group, user, name, found.version, settings, 3, tuple(inputs), code=found.code
        )
        return store.submit(db, asked)

    yield db, submit
    db.close()


def test_every_model_of_the_zoo_can_be_chosen():
    from lanternfish.analyses.studies import FILE, ModelChoice
    from lanternfish.cli.zoo import ZOO

    assert set(get_args(ModelChoice)) == {*ZOO, FILE}


def weights(db, job):
    return store.find_artifact(db, job, "run/posterior.safetensors").sha256


def test_a_study_on_the_platform_says_what_it_found(demo):
    db, submit = demo
    job = submit("npe", simulations=500, check_samples=50)
    work(db, Worker(once=True))
    ended = store.find_job(db, job.id)
    assert ended.state == "succeeded", store.log_from(db, job.id)[0].decode()
    paths = {each.path: each.kind for each in store.artifacts_of(db, job.id)}
    assert paths["report.md"] == "report"
    assert paths["samples.csv"] == "table"
    assert paths["figures/pair.png"] == "picture"
    assert paths["run/run.json"] == "run"
    metrics = store.events_after(db, job=job.id, kinds=("metric",), limit=5_000)
    losses = [e.data["value"] for e in metrics if e.data["name"] == "loss"]
    assert len(losses) > 5
    assert losses[-1] < losses[0]
    pictures = [e.data["path"] for e in store.events_after(db, job=job.id, kinds=("picture",))]
    assert "figures/growing.png" in pictures  # as it stood, before the check
    with db.blobs.open(store.find_artifact(db, job.id, "samples.csv").sha256) as file:
        assert file.readline() == b"gain,drive\n"
        first = [float(v) for v in file.readline().split(b",")]
    _what_the_explorer_shows(db, job, first)


def _what_the_explorer_shows(db, job, first):
    """The demo's mean is known: rate = 8 gain + 1.5 drive, cv = 0.9 - 0.2 drive."""
    told = _explored(db, job.id)
    assert told["notes"] == []
    assert [name for name, _ in told["parameters"]] == ["gain", "drive"]
    assert np.allclose(told["samples"]["0"]["theta"], first, rtol=1e-6)
    kinds = [walk["kind"] for walk in told["walks"]]
    assert kinds == ["path", "direction", "direction"]
    points = [point for walk in told["walks"] for point in walk["points"]]
    theta, x = (np.array([point[n] for point in points]) for n in ("theta", "x"))
    mean = np.stack([8 * theta[:, 0] + 1.5 * theta[:, 1], 0.9 - 0.2 * theta[:, 1]], axis=1)
    noise = np.array([0.5, 0.05]) / np.sqrt(exploring.TRIALS)
    assert (np.abs(x - mean) < 5 * noise).all()
    low, high = np.array([0, -2]), np.array([3, 2])
    assert ((theta >= low) & (theta <= high)).all()
    path = told["walks"][0]
    title = re.fullmatch(r"From sample (\d+) to sample (\d+)", path["title"])
    for place, number in zip((0, -1), title.groups(), strict=True):
        end = told["samples"][str(int(number) - 1)]["theta"]
        assert np.allclose(path["points"][place]["theta"], end, rtol=1e-4)
    for walk in told["walks"][1:]:  # turned from the mode: the density is highest there
        middle = np.interp(0, walk["at"], walk["log_density"])
        assert middle >= max(walk["log_density"]) - 0.2

    followed = _follow(db, job, path["points"][7]["theta"])
    again = _explored(db, followed)["samples"]
    assert list(again) == ["99"]
    assert again["99"]["theta"] == path["points"][7]["theta"]
    with db.blobs.open(store.find_artifact(db, followed, "walk.csv").sha256) as file:
        rows = list(csv.reader(file.read().decode().splitlines()))
    assert rows[0][:5] == ["of", "at", "log density", "gain", "drive"]
    assert [rows[1][0], float(rows[1][3])] == ["sample 100", again["99"]["theta"][0]]


def _explored(db, job):
    with db.blobs.open(store.find_artifact(db, job, "explore.json").sha256) as file:
        return json.load(file)


def _follow(db, job, start):
    """A job of the analysis `explore`, which goes on from this one's posterior."""
    zipped = store.find_artifact(db, job.id, "posterior.zip")
    data = store.add_dataset(
        db, job.group_id, job.user_id, "posterior.zip", zipped.size, zipped.sha256
    )
    inputs = [Input("posterior", data.id)]
    inputs += [
        Input(i.name, i.dataset_id) for i in store.inputs_of(db, job.id) if i.name == "model"
    ]
    settings = {"what": "sample", "model": "of my file", "sample": 99}
    settings["start"] = dict(zip(("gain", "drive"), start, strict=True))
    found = find_manifest("explore")
    asked = Submission(
        job.group_id,
        job.user_id,
        "explore",
        found.version,
        settings,
        3,
        tuple(inputs),
        code=found.code,
        parent=job.id,
        relation="next",
    )
    made = store.submit(db, asked).id
    work(db, Worker(once=True))
    ended = store.find_job(db, made)
    assert ended.state == "succeeded", store.log_from(db, made)[0].decode()
    return made


def test_archives_that_are_no_posterior_are_refused(tmp_path):
    wrong = tmp_path / "posterior.zip"
    for names in ((), ("../posterior.json",), ("posterior.json", "more.py")):
        with zipfile.ZipFile(wrong, "w") as made:
            for name in names:
                made.writestr(name, "{}")
        with pytest.raises(ValueError, match=r"^Expected a posterior.zip"):
            exploring.unpack(wrong, tmp_path)
    wrong.write_bytes(b"PK, or so")
    with pytest.raises(ValueError, match="no ZIP archive"):
        exploring.unpack(wrong, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["posterior.zip"]


def test_thinned_traces_keep_every_peak():
    time_ = np.linspace(0, 1, 20_000)
    values = np.zeros((1, 2, 20_000))
    peaks = np.arange(7, 20_000, 1_111)
    values[0, 0, peaks], values[0, 1, peaks] = 1.0, -1.0
    t, thin = exploring.thinned(time_, values)
    assert thin.shape == (1, 2, len(t))
    assert len(t) == 2 * exploring.WINDOWS
    width = time_[1] * (20_000 // exploring.WINDOWS)
    for peak in time_[peaks]:
        near = np.abs(t - peak) <= width
        assert thin[0, 0, near].max() == 1.0
        assert thin[0, 1, near].min() == -1.0
    assert exploring.thinned(time_[:500], values[..., :500])[1].shape == (1, 2, 500)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "when"), [("npe", "training_loss"), ("epi", "entropy")])
def test_a_killed_job_ends_with_the_weights_of_one_that_was_not(demo, name, when):
    db, submit = demo
    whole = submit(name)
    work(db, Worker(once=True))
    cut = submit(name)
    command = [sys.executable, "-m", "lanternfish.cli", "worker", "--folder", str(db.folder)]
    command += ["--lease", "4"]
    first = subprocess.Popen(command, env={**os.environ, "LANTERNFISH_DATABASE": db.url})
    until = time.monotonic() + 300
    while time.monotonic() < until:
        found = store.events_after(db, job=cut.id, kinds=("metric",), limit=5_000)
        if sum(each.data["name"] == when for each in found) >= 5:
            break
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(5)  # the lease runs out
    work(db, Worker(once=True))
    ended = store.find_job(db, cut.id)
    assert (ended.state, ended.attempts) == ("succeeded", 2)
    assert b"Going on with a study" in store.log_from(db, cut.id)[0]
    assert weights(db, cut.id) == weights(db, whole.id)
