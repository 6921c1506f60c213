"""Certificates, crates, and running a job anew from its crate alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile

import pytest
from rocrate.rocrate import ROCrate
from typer.testing import CliRunner

from lanternfish.cli import app
from lanternfish.service import store
from lanternfish.service.analyses import find_manifest
from lanternfish.service.store import Input, Submission
from lanternfish.service.worker import Worker, work
from lanternfish.service.worker.replay import ReplayError, replay


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    """A finished job with data, and its crate: (store, job, path)."""
    tmp_path = tmp_path_factory.mktemp("crate")
    db = store.open(None, tmp_path / "here")
    user = store.create_user(db, "ada").id
    group = store.create_group(db, "lab", owner=user).id
    file = tmp_path / "lines"
    file.write_text("one\ntwo\n")
    sha256, size = db.blobs.put(file)
    data = store.add_dataset(db, group, user, "../ä lines.txt", size, sha256)
    manifest = find_manifest("count")
    inputs = (Input("lines", data.id),)
    asked = Submission(group, user, "count", "1.0", {"to": 4}, 7, inputs, code=manifest.code)
    job = store.submit(db, asked)
    work(db, Worker(once=True))
    assert store.find_job(db, job.id).reason is None
    path = tmp_path / "crate.zip"
    store.write_crate(db, job.id, path, sources=manifest.sources)
    yield db, job.id, path
    db.close()


def test_a_certificate_says_all_that_happened(crate):
    db, job, _ = crate
    found = store.certificate(db, job)
    assert json.loads(json.dumps(found)) == found
    assert found["job"]["state"] == "succeeded"
    assert found["who"] == {"user": "ada", "group": "lab"}
    assert found["analysis"]["code_sha256"] == find_manifest("count").code
    assert found["analysis"]["package"] == {"name": "lanternfish-toys", "version": "1.0"}
    assert found["inputs"][0]["sha256"] == hashlib.sha256(b"one\ntwo\n").hexdigest()
    result = hashlib.sha256(b"numbers,lines,sum\n4,2,17\n").hexdigest()
    assert [(o["path"], o["sha256"]) for o in found["outputs"]] == [("count.csv", result)]
    assert found["use"]["cpu_seconds"] > 0
    assert found["use"]["peak_memory"] > 5 << 20
    assert found["machine"]["cores"] >= 1
    log, _ = store.log_from(db, job)
    assert found["log"] == {"size": len(log), "sha256": hashlib.sha256(log).hexdigest()}


def test_a_crate_is_a_workflow_run_crate_that_others_read(crate, tmp_path):
    _, job, path = crate
    read = ROCrate(path)
    assert read.mainEntity.type == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    profiles = {each.id for each in read.root_dataset["conformsTo"]}
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in profiles
    (action,) = [e for e in read.get_entities() if e.type == "CreateAction"]
    assert action["instrument"].id == read.mainEntity.id
    assert [each.id for each in action["result"]] == ["outputs/count.csv"]
    assert {each["name"] for each in action["object"]} >= {"to", "seed", "../ä lines.txt"}
    assert action["agent"]["name"] == "ada"
    with zipfile.ZipFile(path) as archive:
        assert all(".." not in name.split("/") for name in archive.namelist())
        assert b"def run(job" in archive.read("code/toys/count.py")
        assert json.loads(archive.read("certificate.json"))["job"]["id"] == job
        assert b"Going on from 0, 2 lines, seed 7." in archive.read("log.txt")


def test_a_replay_gives_equal_hashes(crate, tmp_path):
    _, _, path = crate
    found = replay(path, tmp_path / "again")
    assert [(each.path, each.verdict) for each in found] == [("count.csv", "equal")]
    done = CliRunner().invoke(app, ["replay", str(path)])
    assert done.exit_code == 0, done.output
    assert "equal" in done.output


def rewritten(path, target, change):
    """A copy of a crate whose certificate was changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "certificate.json":
                found = json.loads(data)
                change(found)
                data = json.dumps(found).encode()
            new.writestr(name, data)
    return target


def test_what_differs_is_told(crate, tmp_path):
    _, _, path = crate

    def other_seed(found):
        found["seed"] = 8

    found = replay(rewritten(path, tmp_path / "seed.zip", other_seed), tmp_path / "a")
    assert [each.verdict for each in found] == ["different"]
    done = CliRunner().invoke(app, ["replay", str(tmp_path / "seed.zip")])
    assert done.exit_code == 2
    assert "Expected equal hashes; 1 of 1" in done.output


def test_crates_that_cannot_be_replayed_say_why(crate, tmp_path):
    _, _, path = crate

    def forged_input(found):
        found["inputs"][0]["sha256"] = "0" * 64

    def other_code(found):
        found["analysis"]["code_sha256"] = "0" * 64

    def strange_place(found):
        found["inputs"][0]["location"] = "file:///etc/passwd"

    def way_out(found):
        found["inputs"][0]["filename"] = "../../../etc/passwd"

    for change, reason in (
        (forged_input, "its content is another"),
        (other_code, "with other code: install lanternfish-toys 1.0"),
        (strange_place, "Expected an object of a bucket"),
        (way_out, "in the crate; it is not"),
    ):
        with pytest.raises(ReplayError, match=reason):
            replay(rewritten(path, tmp_path / "bad.zip", change), tmp_path / "work")
    shutil.copyfile(__file__, tmp_path / "no.zip")
    with pytest.raises(ReplayError, match="Expected a crate"):
        replay(tmp_path / "no.zip", tmp_path / "work")


def test_only_ended_jobs_have_crates(crate, tmp_path):
    db, job, _ = crate
    again = store.rerun(db, job, store.find_job(db, job).user_id)
    with pytest.raises(store.ConflictError, match="has ended"):
        store.write_crate(db, again.id, tmp_path / "x.zip")
