"""Data sets, and uploads that grow into them (tus 1.0: offset, length, metadata, expiry).

Bytes go to `store.blobs.partial(upload)`, are synced to disk, and are then confirmed here; whoever
asks for the offset gets what is on disk and confirmed, never what was only sent.
"""

from __future__ import annotations

import sqlalchemy as sa

from lanternfish.service.jobs import ENDED
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store
from lanternfish.service.store.errors import ConflictError, NotFoundError
from lanternfish.service.store.events import add_events
from lanternfish.service.store.identity import new_id
from lanternfish.service.store.people import check_storage

WEEK = 7 * 24 * 3600.0


def begin_upload(
    store: Store,
    group: str,
    user: str,
    name: str,
    length: int | None,
    *,
    metadata: dict | None = None,
    sha256: str | None = None,
    seconds: float = WEEK,
) -> sa.Row:
    """Begin an upload of `length` bytes (None: told later); returns its row, with `id`, offset 0.

    Raises:
        OverQuotaError: the group's storage quota would be passed.
    """
    check_storage(store, group, length or 0)
    with store.write() as tx:
        now = store.now(tx)
        values = {"id": new_id(), "group_id": group, "user_id": user, "name": name[:255]}
        values |= {"length": length, "metadata": metadata or {}, "sha256": sha256}
        row = tx.execute(
            t.uploads.insert()
            .values(created=now, expires=now + seconds, **values)
            .returning(t.uploads)
        ).one()
    store.blobs.partial(row.id).touch()
    return row


def find_upload(store: Store, upload: str) -> sa.Row | None:
    """The upload of this id (`dataset_id` is set once it is whole), or None; expired ones too."""
    with store.read() as tx:
        return tx.execute(sa.select(t.uploads).where(t.uploads.c.id == upload)).first()


def uploads_of(store: Store, group: str) -> list[sa.Row]:
    """The group's unfinished uploads, newest first."""
    u = t.uploads.c
    query = sa.select(t.uploads).where(u.group_id == group, u.dataset_id.is_(None))
    with store.read() as tx:
        return list(tx.execute(query.order_by(u.id.desc())))


def confirm_offset(
    store: Store, upload: str, old: int, new: int, *, length: int | None = None
) -> None:
    """Confirm that bytes up to `new` are on disk, where `old` was confirmed before.

    Raises:
        ConflictError: another request has moved the offset (two tabs).
    """
    u = t.uploads.c
    values = {"offset": new} if length is None else {"offset": new, "length": length}
    with store.write() as tx:
        where = (u.id == upload, u.offset == old, u.dataset_id.is_(None))
        if not tx.execute(t.uploads.update().where(*where).values(**values)).rowcount:
            raise ConflictError(f"Expected the upload to stand at byte {old}; it has moved on.")


def end_upload(store: Store, upload: str, sha256: str, *, detail: dict | None = None) -> sa.Row:
    """Make a whole upload a data set, whose content is a blob from now on; returns its row.

    `sha256` is what the caller has computed from the bytes on disk. Calling it again gives the same
    data set, so that a server that died in between goes on.

    Raises:
        ConflictError: bytes are missing.
        NotFoundError: there is no such upload.
    """
    row = find_upload(store, upload)
    if row is None:
        raise NotFoundError(f"Expected the id of an upload; got {upload}.")
    if row.dataset_id is not None:
        found = find_dataset(store, row.dataset_id)
        assert found is not None
        return found
    if row.length is None or row.offset != row.length:
        raise ConflictError(f"Expected {row.length} bytes; {row.offset} are confirmed.")
    partial = store.blobs.partial(upload)
    if partial.exists():
        store.blobs.adopt(partial, sha256)  # written first, referenced second
    with store.write() as tx:
        again = tx.execute(
            sa.select(t.uploads.c.dataset_id).where(t.uploads.c.id == upload).with_for_update()
        ).scalar()
        if again is not None:
            return tx.execute(sa.select(t.datasets).where(t.datasets.c.id == again)).one()
        made = _add(
            store, tx, row.group_id, row.user_id, row.name, row.length, sha256, None, detail
        )
        tx.execute(t.uploads.update().where(t.uploads.c.id == upload).values(dataset_id=made.id))
    return made


def drop_upload(store: Store, upload: str) -> None:
    """Forget an upload that is not finished, and its bytes."""
    with store.write() as tx:
        u = t.uploads.c
        tx.execute(t.uploads.delete().where(u.id == upload, u.dataset_id.is_(None)))
    store.blobs.partial(upload).unlink(missing_ok=True)


def expired_uploads(store: Store) -> list[str]:
    """Ids of unfinished uploads whose time is over."""
    u = t.uploads.c
    with store.read() as tx:
        where = (u.dataset_id.is_(None), u.expires < store.now(tx))
        return list(tx.execute(sa.select(u.id).where(*where)).scalars())


def add_dataset(
    store: Store,
    group: str,
    user: str,
    name: str,
    size: int,
    sha256: str,
    *,
    location: str | None = None,
    detail: dict | None = None,
) -> sa.Row:
    """Register data whose content is a blob already, or (`location`) stays at a path or bucket."""
    if location is None:
        check_storage(store, group, size)
    with store.write() as tx:
        return _add(store, tx, group, user, name, size, sha256, location, detail)


def note_content(store: Store, job: str, name: str, sha256: str, size: int) -> str | None:
    """Keep what a job has read of an input that stays in its place; its certificate tells it.

    Returns the SHA-256 that the data set had when a job read it first, where it is another.
    """
    i, d = t.inputs.c, t.datasets.c
    with store.write() as tx:
        mine = (i.job_id == job, i.name == name)
        dataset = tx.execute(
            t.inputs.update()
            .where(*mine)
            .values(sha256=sha256, size=size)
            .returning(t.inputs.c.dataset_id)
        ).scalar()
        if dataset is None:
            return None
        before = tx.execute(sa.select(d.sha256).where(d.id == dataset)).scalar()
        if not before:
            tx.execute(t.datasets.update().where(d.id == dataset).values(sha256=sha256, size=size))
    return before if before and before != sha256 else None


def find_dataset(store: Store, dataset: str) -> sa.Row | None:
    """The data set of this id (deleted ones too: see `deleted`), or None."""
    with store.read() as tx:
        return tx.execute(sa.select(t.datasets).where(t.datasets.c.id == dataset)).first()


def datasets_of(
    store: Store, group: str, *, before: str | None = None, limit: int = 50, text: str = ""
) -> list[sa.Row]:
    """A page of the group's data sets, newest first: those made before the id `before`."""
    d = t.datasets.c
    query = sa.select(t.datasets).where(d.group_id == group, d.deleted.is_(None))
    if before:
        query = query.where(d.id < before)
    if text:
        query = query.where(d.name.icontains(text, autoescape=True))
    with store.read() as tx:
        return list(tx.execute(query.order_by(d.id.desc()).limit(limit)))


def delete_dataset(store: Store, dataset: str) -> None:
    """Delete a data set; jobs that used it keep its name and hash. Its content goes with `sweep`.

    Raises:
        ConflictError: a job that has not ended needs it.
        NotFoundError: there is no such data set.
    """
    d, i, j = t.datasets.c, t.inputs.c, t.jobs.c
    with store.write() as tx:
        row = tx.execute(
            sa.select(t.datasets).where(d.id == dataset, d.deleted.is_(None)).with_for_update()
        ).first()
        if row is None:
            raise NotFoundError(f"Expected the id of a data set; got {dataset}.")
        busy = tx.execute(
            sa.select(j.id)
            .join(t.inputs, i.job_id == j.id)
            .where(i.dataset_id == dataset, j.state.not_in(ENDED))
            .limit(1)
        ).scalar()
        if busy is not None:
            raise ConflictError(
                f"Expected no job to need {row.name}; {busy} does. Cancel it first."
            )
        now = store.now(tx)
        tx.execute(t.datasets.update().where(d.id == dataset).values(deleted=now))
        add_events(tx, row.group_id, [_event(row, "deleted", now)])


def _add(store: Store, tx, group, user, name, size, sha256, location, detail) -> sa.Row:
    now = store.now(tx)
    row = tx.execute(
        t.datasets.insert()
        .values(
            id=new_id(),
            group_id=group,
            user_id=user,
            name=name[:255],
            size=size,
            sha256=sha256,
            location=location,
            detail=detail,
            created=now,
        )
        .returning(t.datasets)
    ).one()
    add_events(tx, group, [_event(row, "added", now)])
    return row


def _event(row: sa.Row, change: str, now: float) -> dict:
    data = {"dataset": row.id, "name": row.name, "change": change}
    return {"job_id": None, "kind": "dataset", "data": data, "time": now}
