"""Our own analyses on a real worker: what comes out, also of jobs that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

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
