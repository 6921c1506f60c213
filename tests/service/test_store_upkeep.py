"""Backup, restore, retention, object stores."""

from __future__ import annotations

import os
import threading

import pytest
import sqlalchemy as sa

from clusters import NoPostgresError, postgres
from lanternfish.service import store
from lanternfish.service.store import Outcome, Result, Retention, Submission
from lanternfish.service.store import database as rooms
from lanternfish.service.store import tables as t


def put(db, folder, content):
    file = folder / "content"
    file.write_bytes(content)
    return db.blobs.put(file)


def fill(db, group, user, folder, jobs=3):
    """Finished jobs with a result each; their ids."""
    made = []
    for n in range(jobs):
        store.submit(db, Submission(group, user, "x", "1", {}, seed=n))
        job = store.claim(db, "w")
        sha256, size = put(db, folder, b"result %d" % n)
        outcome = Outcome("succeeded", results=(Result("out.csv", size, sha256),))
        store.finish(db, job.id, 1, outcome)
        made.append(job.id)
    return made


def test_a_backup_under_load_is_restored_whole(lab, tmp_path, request):
    db, group, user = lab
    jobs = fill(db, group, user, tmp_path)
    stop, copies = threading.Event(), tmp_path / "copies"

    def load():
        while not stop.is_set():
            store.submit(db, Submission(group, user, "x", "1", {}))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        found = store.backup(db, copies)
    finally:
        stop.set()
        thread.join()
    assert (found["blobs"], found["new"], found["gone"]) == (3, 3, 0)
    assert store.backup(db, copies)["new"] == 0
    place = tmp_path / "restored"
    if db.is_sqlite:
        url = f"sqlite:///{place / 'lanternfish.sqlite'}"
    else:
        stack = request.getfixturevalue("cluster").database()
        url = stack.__enter__()
        request.addfinalizer(lambda: stack.__exit__(None, None, None))
    store.restore_database(copies, url)
    back = store.open(url, place)
    assert store.restore_blobs(back, copies) == {"blobs": 3, "new": 3}
    for n, job in enumerate(jobs):
        with back.blobs.open(store.find_artifact(back, job, "out.csv").sha256) as content:
            assert content.read() == b"result %d" % n
    assert store.certificate(back, jobs[0]) == store.certificate(db, jobs[0])
    fill(back, group, user, tmp_path, 1)
    back.close()
    if db.is_sqlite:
        with pytest.raises(store.StoreError, match="there is one: move it away"):
            store.restore_database(copies, url)


def test_a_damaged_backup_is_refused(tmp_path):
    db = store.open(None, tmp_path)
    user = store.create_user(db, "ada").id
    group = store.create_group(db, "lab", owner=user).id
    fill(db, group, user, tmp_path, 1)
    store.backup(db, tmp_path / "copies")
    (blob,) = (tmp_path / "copies" / "blobs").iterdir()
    blob.write_bytes(b"rot")
    other = store.open(None, tmp_path / "other")
    with pytest.raises(store.StoreError, match="its content is another"):
        store.restore_blobs(other, tmp_path / "copies")
    blob.unlink()
    url = f"sqlite:///{tmp_path / 'third' / 'lanternfish.sqlite'}"
    store.restore_database(tmp_path / "copies", url)
    third = store.open(url, tmp_path / "third")
    with pytest.raises(store.StoreError, match="1 are gone"):
        store.restore_blobs(third, tmp_path / "copies")
    for each in (db, other, third):
        each.close()


def test_what_its_time_is_over_is_swept_out(url, tmp_path):
    time = [1_000_000.0]
    db = store.open(url, tmp_path, clock=lambda: time[0])
    user = store.create_user(db, "ada").id
    group = store.create_group(db, "lab", owner=user).id
    (old,) = fill(db, group, user, tmp_path, 1)
    upload = store.begin_upload(db, group, user, "half", 10, seconds=100).id
    time[0] += 40 * 86_400
    sha256, size = put(db, tmp_path, b"kept")
    store.add_dataset(db, group, user, "kept", size, sha256)
    orphan, _ = put(db, tmp_path, b"orphan")
    for each in db.blobs.all():
        os.utime(db.blobs.place(each), (0, 0))
    fresh, _ = put(db, tmp_path, b"fresh: about to be named")
    found = store.sweep(db, Retention(jobs=30))
    assert (found["uploads"], found["jobs"], found["blobs"]) == (1, 1, 2)
    assert store.find_upload(db, upload) is None
    assert not db.blobs.partial(upload).exists()
    assert sorted(db.blobs.all()) == sorted([sha256, fresh])
    assert not db.blobs.exists(orphan)
    assert store.find_job(db, old).deleted is not None  # what the certificate says stays
    assert store.jobs_of(db, group) == []
    with db.read() as tx:
        assert tx.execute(sa.select(t.events).where(t.events.c.job_id == old)).all() == []
    db.close()


@pytest.mark.filterwarnings("default")  # of the client's and the server's own libraries
def test_contents_in_an_object_store(bucket, tmp_path):
    db = store.open(None, tmp_path, blobs=bucket)
    user = store.create_user(db, "ada").id
    group = store.create_group(db, "lab", owner=user).id
    content = os.urandom(300_000)
    sha256, size = put(db, tmp_path, content)
    assert size == len(content)
    assert db.blobs.exists(sha256)
    assert list(db.blobs.all()) == [sha256]
    with db.blobs.open(sha256, 100_000) as file:
        assert file.read() == content[100_000:]
    db.blobs.fetch(sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    jobs = fill(db, group, user, tmp_path, 1)
    assert store.backup(db, tmp_path / "copies")["new"] == 1
    assert store.find_artifact(db, jobs[0], "out.csv").size == len(b"result 0")
    db.blobs.delete(sha256)
    db.blobs.delete(sha256)  # fine if it is gone
    with pytest.raises(store.NotFoundError), db.blobs.open(sha256):
        pass
    db.close()


def test_connections_that_lay_idle_survive_a_crash_of_postgresql(tmp_path, monkeypatch):
    try:
        opened = postgres(durable=False)
        own = opened.__enter__()
    except NoPostgresError as error:
        pytest.skip(str(error))
    try:
        with own.database() as url:
            db = store.open(url, tmp_path)
            store.create_user(db, "ada")
            own.crash()
            own.start()
            monkeypatch.setattr(rooms, "IDLE", 0.0)  # what was used a moment ago lay idle
            assert [user.name for user in store.list_users(db)] == ["ada"]
            db.close()
    finally:
        opened.__exit__(None, None, None)
