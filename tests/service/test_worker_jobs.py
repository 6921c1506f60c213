"""Real workers, real child processes, real databases."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from lanternfish.service import store
from lanternfish.service.jobs import State
from lanternfish.service.store import Input, Submission
from lanternfish.service.worker import Worker, work
from lanternfish.service.worker import results as worker_results
from lanternfish.service.worker.tree import MARK

PATIENCE = 60.0  # s: a loaded machine, too
FAST = {"beat": 0.3, "lease": 10.0}


def asked(group, user, analysis="count", **fields):
    settings = fields.pop("settings", {})
    return Submission(group, user, analysis, "1.0", settings, **fields)


def until(look, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def family(job):
    """Living processes that a job has started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == job and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextlib.contextmanager
def at_work(db, **options):
    """A worker in a thread, which stops at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(db, Worker(**{**FAST, **options}), stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)


def run(db, submission):
    job = store.submit(db, submission)
    work(db, Worker(once=True, **FAST))
    return store.find_job(db, job.id)


def log_of(db, job):
    return store.log_from(db, job.id)[0].decode(errors="replace")


def test_a_job_with_data_from_submission_to_results(lab, tmp_path):
    db, group, user = lab
    file = tmp_path / "up"
    file.write_text("a\nb\nc\nd\n")
    sha256, size = db.blobs.put(file)
    data = store.add_dataset(db, group, user, "lines.txt", size, sha256)
    job = run(db, asked(group, user, seed=10, inputs=(Input("lines", data.id),), reserve=100_000))
    assert (job.state, job.reason, job.progress) == ("succeeded", None, 1.0)
    result = store.find_artifact(db, job.id, "count.csv")
    with db.blobs.open(result.sha256) as content:
        assert content.read() == b"numbers,lines,sum\n3,4,16\n"
    assert result.kind == "table"
    log = log_of(db, job)
    assert "Going on from 0, 4 lines, seed 10." in log
    assert len(log.encode()) == job.log_size
    metrics = [e.data for e in store.events_after(db, job=job.id, kinds=("metric",))]
    assert [m["value"] for m in metrics] == [1, 2, 3]
    attempt = store.attempts_of(db, job.id)[0]
    assert attempt.peak_memory > 5 << 20
    assert 0.01 < attempt.cpu_seconds < 30
    assert attempt.surroundings["package"] == {"name": "lanternfish-toys", "version": "1.0"}
    assert 0 < job.spent < 100_000
    assert not (db.folder / "work" / job.id).exists()


@pytest.mark.parametrize(
    ("how", "state", "reason"),
    [
        ("raise", "failed", "Expected a spike; got none."),
        ("exit", "failed", "Its process ended without a word (exit code 3)."),
        ("no_output", "failed", "Expected needed.txt; the analysis made none."),
        ("huge_name", "failed", "at most 500 characters"),
        ("killed", "queued", "ended from outside (SIGSEGV)"),
        ("disk_full", "queued", "No space left on device"),
    ],
)
def test_failures_are_told_in_a_sentence(here, how, state, reason):
    db, group, user = here
    job = run(db, asked(group, user, "misbehave", settings={"how": how}))
    assert job.state == state
    assert reason in job.reason
    assert reason in store.attempts_of(db, job.id)[0].reason


def test_bad_requests_fail_before_they_run(here, tmp_path):
    db, group, user = here
    (tmp_path / "x.txt").write_bytes(b"\x89HDF\r\n\x1a\n")
    wrong = [
        (asked(group, user, settings={"to": 0}), "greater than or equal to 1"),
        (asked(group, user, settings={"upto": 1}), "upto: Expected one of to, pause."),
        (asked(group, user, code="0" * 64), "has changed since this job was submitted"),
        (asked(group, user, "nothing"), "Expected an analysis of"),
        (asked(group, user, "broken"), "a library that is not there"),
        (
            asked(group, user, inputs=(Input("lines", location=str(tmp_path / "x.txt")),)),
            "Expected x.txt to be text; got a file of another kind",
        ),
        (asked(group, user, inputs=(Input("lines", location="/gone.txt"),)), "they are gone"),
    ]
    for submission, reason in wrong:
        job = run(db, submission)
        assert job.state == "failed"
        assert reason in job.reason


def test_results_that_find_the_disk_full_wait_for_room(here, monkeypatch):
    """The attempt ends with a reason, and another one goes on from the checkpoint."""
    db, group, user = here
    keep, tries = worker_results.keep, []

    def full(*args):
        tries.append(args)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return keep(*args)

    monkeypatch.setattr(worker_results, "keep", full)
    job = store.submit(db, asked(group, user, settings={"to": 2})).id
    with at_work(db, delay=0.2):
        until(lambda: store.find_job(db, job).state == "succeeded")
    assert store.find_job(db, job).attempts == 2
    assert "The disk is full" in store.attempts_of(db, job)[0].reason
    assert b"Going on from 2" in store.log_from(db, job)[0]


def test_links_out_of_the_output_are_no_results(here):
    db, group, user = here
    job = run(db, asked(group, user, "misbehave", settings={"how": "link"}))
    assert [a.path for a in store.artifacts_of(db, job.id)] == ["fine.txt", "needed.txt"]


def test_a_noisy_job_is_heard_whole(lab):
    db, group, user = lab
    job = run(db, asked(group, user, "misbehave", settings={"how": "noise"}))
    assert job.state == "succeeded", job.reason
    data, offset = b"", 0
    while True:
        part, offset = store.log_from(db, job.id, offset, limit=100_000)
        if not part:
            break
        data += part
    assert data.count(b"x" * 1023 + b"\n") == 5_000
    assert b"\xff\x00\xfe not text\n" in data
    assert len(data) == job.log_size
    events = store.events_after(db, job=job.id, kinds=("progress", "metric"))
    assert [e.data.get("value", e.data.get("fraction")) for e in events] == [None, None]


def test_secrets_of_the_worker_are_hidden_from_analyses(here, monkeypatch):
    db, group, user = here
    for name in ("LANTERNFISH_DATABASE", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "HUB_TOKEN"):
        monkeypatch.setenv(name, "hidden")
    job = run(db, asked(group, user, "misbehave", settings={"how": "environment"}))
    log = log_of(db, job)
    assert "PATH" in log
    assert not any(n in log for n in ("LANTERNFISH_DATABASE", "AWS_", "PGPASS", "HUB_TOKEN"))


@pytest.mark.parametrize("how", ["ignore_term", "children"])
def test_cancelling_ends_the_whole_tree_within_ten_seconds(here, how):
    db, group, user = here
    job = store.submit(db, asked(group, user, "misbehave", settings={"how": how}))
    sign = {"ignore_term": "Deaf.", "children": "A family."}[how]
    with at_work(db, beat=2.0):
        until(lambda: sign in log_of(db, job))
        assert len(family(job.id)) >= 2
        began = time.monotonic()
        assert store.cancel(db, job.id, "ada") is State.CANCELLING
        until(lambda: store.find_job(db, job.id).state == "cancelled")
        assert time.monotonic() - began < 10
        assert family(job.id) == []
    ended = store.find_job(db, job.id)
    assert ended.reason == "Cancelled by ada."
    partial = [a.path for a in store.artifacts_of(db, job.id)]
    assert partial == (["partial.txt"] if how == "ignore_term" else [])


def test_limits_of_time_and_memory_end_a_job(here):
    db, group, user = here
    slow = run(db, asked(group, user, settings={"pause": 30}, seconds=1.5))
    assert (slow.state, slow.reason) == ("failed", "It took longer than its limit of 2 s.")
    large = run(db, asked(group, user, "misbehave", settings={"how": "memory"}, memory=150 << 20))
    assert large.state == "failed"
    assert "more than its limit of 150 MiB" in large.reason
    assert store.attempts_of(db, large.id)[0].peak_memory > 150 << 20


def worker_process(db, *options):
    command = [sys.executable, "-m", "lanternfish.cli", "worker", "--folder", str(db.folder)]
    environment = {**os.environ, "LANTERNFISH_DATABASE": db.url}
    return subprocess.Popen([*command, "--lease", "3", *options], env=environment)


def test_a_killed_worker_leaves_no_process_and_another_goes_on(lab):
    """SIGKILL: its child's tree ends at once; the next attempt begins at the checkpoint."""
    db, group, user = lab
    job = store.submit(db, asked(group, user, settings={"to": 12, "pause": 0.25}))
    first = worker_process(db)
    try:
        until(lambda: (store.find_job(db, job.id).progress or 0) > 0.3)
        assert family(job.id)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    until(lambda: not family(job.id), 8)
    second = worker_process(db, "--once", "--wait", "20")
    assert second.wait(PATIENCE) == 0
    ended = store.find_job(db, job.id)
    assert (ended.state, ended.attempts) == ("succeeded", 2)
    log = log_of(db, job)
    assert "Going on from 0," in log
    assert log.count("Going on from") == 2
    count = store.find_artifact(db, job.id, "count.csv")
    with db.blobs.open(count.sha256) as content:
        assert content.read().splitlines()[1] == b"12,0,78"
    assert [a.outcome for a in store.attempts_of(db, job.id)] == ["lost", "succeeded"]


def test_a_worker_that_is_told_to_stop_finishes_its_job(here):
    db, group, user = here
    jobs = store.submit_all(db, [asked(group, user, settings={"to": 4, "pause": 0.3})] * 2)
    worker = worker_process(db)
    until(lambda: store.find_job(db, jobs[0].id).progress)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0
    assert store.find_job(db, jobs[0].id).state == "succeeded"
    assert store.find_job(db, jobs[1].id).state == "queued"


def test_a_guard_that_is_killed_takes_its_child_along(here):
    db, group, user = here
    job = store.submit(db, asked(group, user, settings={"to": 100, "pause": 1.0}))
    with at_work(db):
        pid = until(lambda: [a.pid for a in store.attempts_of(db, job.id) if a.pid])[0]
        until(lambda: store.find_job(db, job.id).progress)
        os.kill(pid, signal.SIGKILL)
        until(lambda: store.find_job(db, job.id).state == "queued")
        assert family(job.id) == []
        store.cancel(db, job.id, "ada")
    assert "ended from outside (SIGKILL)" in store.attempts_of(db, job.id)[0].reason
