"""Probes from inside of the sandbox."""

from __future__ import annotations

import pytest

from lanternfish.service import store
from lanternfish.service.store import Input, Submission
from lanternfish.service.worker import Worker, work
from lanternfish.service.worker.sandbox import Sandbox, available

WHY_NOT = available()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"no sandbox here: {WHY_NOT}")


@pytest.fixture
def probe(tmp_path):
    """What a job found inside of the sandbox, as a dict of its log's lines."""
    db = store.open(None, tmp_path / "here")
    user = store.create_user(db, "ada").id
    group = store.create_group(db, "lab", owner=user).id
    (tmp_path / "secret").write_text("of another group")
    (tmp_path / "lines.txt").write_text("a\nb\n")
    sha256, size = db.blobs.put(tmp_path / "lines.txt")
    data = store.add_dataset(db, group, user, "lines.txt", size, sha256)

    def run(analysis, settings, *inputs):
        given = tuple(Input(name, data.id) for name in inputs)
        job = store.submit(db, Submission(group, user, analysis, "1.0", settings, 0, given))
        work(db, Worker(once=True, sandbox=Sandbox(memory=4 << 30)))
        row = store.find_job(db, job.id)
        log = store.log_from(db, job.id)[0].decode()
        return row, dict(line.split("=", 1) for line in log.splitlines() if "=" in line), log

    yield run, tmp_path
    db.close()


def test_a_job_works_inside(probe):
    run, _ = probe
    row, _, log = run("count", {"to": 2}, "lines")
    assert row.state == "succeeded", log
    assert "2 lines" in log


def test_nothing_of_others_is_seen_from_inside(probe):
    run, folder = probe
    _, found, log = run("misbehave", {"how": "probe", "look": str(folder)})
    assert found["network"] == "refused", log
    assert found["secret"] == "hidden"
    assert found["database"] == "hidden"
    assert found["package"] == "read-only"
    assert int(found["processes"]) < 10
