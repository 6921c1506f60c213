"""Users, groups, ways in, data, blobs: on both databases."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lanternfish.service import store
from lanternfish.service.jobs import Role
from lanternfish.service.store import disks
from lanternfish.service.store.schema import HEAD, version_of


@pytest.fixture
def clocked(url, tmp_path):
    """A store whose time is in a list."""
    time = [1_000.0]
    opened = store.open(url, tmp_path, clock=lambda: time[0])
    yield opened, time
    opened.close()


def test_invitations_expire_and_are_used_up(clocked):
    db, time = clocked
    ada, bob, cat = (store.create_user(db, name).id for name in ("ada", "bob", "cat"))
    group = store.create_group(db, "lab", owner=ada).id
    code, row = store.create_invitation(db, group, "member", ada, seconds=100, uses=1)
    assert code not in str(tuple(row))  # stored hashed
    assert store.look_at_invitation(db, code).group_name == "lab"
    store.use_invitation(db, code, bob)
    assert store.role_of(db, bob, group) is Role.MEMBER
    with pytest.raises(store.ExpiredError):
        store.use_invitation(db, code, cat)
    late, _ = store.create_invitation(db, group, "owner", ada, seconds=100)
    time[0] += 101
    with pytest.raises(store.ExpiredError):
        store.use_invitation(db, late, cat)
    assert store.invitations_of(db, group) == []
    with pytest.raises(store.NotFoundError):
        store.use_invitation(db, "forged", cat)
    higher, _ = store.create_invitation(db, group, "viewer", ada)
    store.use_invitation(db, higher, ada)
    assert store.role_of(db, ada, group) is Role.OWNER  # nobody is lowered by an invitation


def test_sessions_and_tokens_end(clocked):
    db, time = clocked
    ada = store.create_user(db, "ada").id
    cookie, made = store.create_session(db, ada, seconds=50)
    assert store.find_session(db, cookie).csrf == made.csrf
    assert store.find_session(db, "forged") is None
    token, row = store.create_token(db, ada, "laptop", seconds=100)
    assert token.startswith("lf_")
    assert token not in str(tuple(row))
    assert store.find_token(db, token).user_name == "ada"
    time[0] += 51
    assert store.find_session(db, cookie) is None
    assert store.find_token(db, token) is not None
    time[0] += 50
    assert store.find_token(db, token) is None
    for_ever, row = store.create_token(db, ada, "server")
    with pytest.raises(store.NotFoundError):
        store.revoke_token(db, row.id, store.create_user(db, "eve").id)
    store.revoke_token(db, row.id, ada)
    assert store.find_token(db, for_ever) is None
    cookie, _ = store.create_session(db, ada)
    store.change_user(db, ada, disabled=True)
    assert store.find_session(db, cookie) is None
    assert store.role_of(db, ada, store.create_group(db, "g", owner=ada).id) is None


def test_wrong_guesses_are_counted_and_forgotten(clocked):
    db, time = clocked
    for _ in range(3):
        store.note_failure(db, "1.2.3.4")
        time[0] += 10
    assert store.failures_within(db, "1.2.3.4", 15) == 1
    assert store.failures_within(db, "1.2.3.4", 100) == 3
    assert store.failures_within(db, "4.3.2.1", 100) == 0
    store.forget_failures(db, "1.2.3.4")
    assert store.failures_within(db, "1.2.3.4", 100) == 0


def test_groups_keep_an_owner_and_names_are_unique(lab):
    db, group, user = lab
    with pytest.raises(store.ConflictError, match="last"):
        store.remove_member(db, user, group)
    with pytest.raises(store.ConflictError, match="last"):
        store.set_member(db, user, group, "viewer")
    assert store.role_of(db, user, group) is Role.OWNER
    with pytest.raises(store.ConflictError, match="not in use"):
        store.create_group(db, "lab")
    root = store.create_user(db, "root", admin=True).id
    assert store.role_of(db, root, group) is Role.ADMIN
    assert [m.name for m in store.members_of(db, group)] == [store.find_user(db, id=user).name]
    store.record(db, "group.change", user=root, group=group, detail={"budget": 5}, address="::1")
    assert store.trail(db, group=group)[0].user_name == "root"


def upload(db, group, user, content, name="data.bin"):
    row = store.begin_upload(db, group, user, name, len(content))
    partial = db.blobs.partial(row.id)
    half = len(content) // 2
    partial.write_bytes(content[:half])
    store.confirm_offset(db, row.id, 0, half)
    with open(partial, "ab") as file:
        file.write(content[half:])
    store.confirm_offset(db, row.id, half, len(content))
    return row.id


def test_an_upload_becomes_a_data_set_once(lab):
    db, group, user = lab
    content = b"spikes" * 1_000
    one = upload(db, group, user, content)
    with pytest.raises(store.ConflictError, match="moved on"):
        store.confirm_offset(db, one, 3, 9)
    sha256 = hashlib.sha256(content).hexdigest()
    made = store.end_upload(db, one, sha256)
    assert store.end_upload(db, one, sha256).id == made.id
    with db.blobs.open(made.sha256, 6) as file:
        assert file.read() == content[6:]
    assert not db.blobs.partial(one).exists()
    again = store.end_upload(db, upload(db, group, user, content, "copy"), sha256)
    assert again.id != made.id  # two data sets, one content
    assert list(db.blobs.all()) == [sha256]
    assert [d.name for d in store.datasets_of(db, group)] == ["copy", "data.bin"]
    store.delete_dataset(db, made.id)
    assert [d.name for d in store.datasets_of(db, group, text="COP")] == ["copy"]
    short = store.begin_upload(db, group, user, "short", 10)
    with pytest.raises(store.ConflictError, match="Expected 10 bytes; 0"):
        store.end_upload(db, short.id, sha256)


def test_a_full_quota_blocks_uploads_and_nothing_else(lab):
    db, group, user = lab
    made = store.end_upload(
        db, upload(db, group, user, b"x" * 100), hashlib.sha256(b"x" * 100).hexdigest()
    )
    store.change_group(db, group, storage_quota=150)
    with pytest.raises(store.OverQuotaError, match="100, and 60 more"):
        store.begin_upload(db, group, user, "more", 60)
    assert store.storage_used(db, group) == 100
    assert len(store.datasets_of(db, group)) == 1
    store.delete_dataset(db, made.id)
    store.begin_upload(db, group, user, "more", 60)


def test_data_that_a_job_needs_stay(lab):
    db, group, user = lab
    data = store.add_dataset(db, group, user, "d", 1, "0" * 64)
    job = store.submit(
        db, store.Submission(group, user, "x", "1", {}, inputs=(store.Input("a", data.id),))
    )
    with pytest.raises(store.ConflictError, match="Cancel it"):
        store.delete_dataset(db, data.id)
    store.cancel(db, job.id, "ada")
    store.delete_dataset(db, data.id)
    assert store.inputs_of(db, job.id)[0].sha256 == "0" * 64


@pytest.mark.parametrize("bad", ["../../etc/passwd", "A" * 64, "", "0" * 63, "0" * 64 + "/x"])
def test_names_of_contents_are_hashes_and_nothing_else(tmp_path, bad):
    blobs = store.open(None, tmp_path).blobs
    with pytest.raises(store.NotFoundError):
        blobs.place(bad)
    with pytest.raises(store.NotFoundError):
        blobs.partial("../x")


def test_sqlite_on_a_network_disk_is_refused(tmp_path, monkeypatch):
    disk = type("Disk", (), {"mountpoint": str(tmp_path), "fstype": "nfs4"})
    root = type("Disk", (), {"mountpoint": "/", "fstype": "ext4"})
    monkeypatch.setattr(disks.psutil, "disk_partitions", lambda all: [root, disk])
    with pytest.raises(store.StoreError, match=r"on a network file system \(nfs4\).*PostgreSQL"):
        store.open(None, tmp_path / "deep" / "er")
    assert disks.filesystem(Path("/elsewhere")) == "ext4"


def test_databases_that_cannot_be_opened_are_told(tmp_path):
    with pytest.raises(store.StoreError, match=r"SQLite .* or PostgreSQL"):
        store.open("mysql://x@y/z", tmp_path)
    with pytest.raises(store.StoreError, match="Expected a database at postgresql://x:\\*\\*\\*@"):
        store.open(f"postgresql://x:secret@/z?host={tmp_path}", tmp_path)


def test_tables_of_another_release_are_refused(db, url, tmp_path):
    assert version_of(db.engine) == HEAD
    with db.write() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(store.StoreError, match="of a newer release"):
        store.open(url, tmp_path)


def test_the_migrations_make_the_tables_that_the_code_knows(db):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from lanternfish.service.store.tables import metadata

    with db.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
