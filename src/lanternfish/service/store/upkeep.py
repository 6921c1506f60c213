"""Keeping a platform: backup and restore, and what is swept out when its time is over.

A backup is a folder: the database as of one moment (SQLite's online backup, or pg_dump), and a copy
of every blob that it names. Blobs never change, so they are copied after the database, under load,
and a later backup into the same folder copies only what is new.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from lanternfish import __version__
from lanternfish.service.jobs import ENDED
from lanternfish.service.store import tables as t
from lanternfish.service.store.blobs import digest
from lanternfish.service.store.data import drop_upload, expired_uploads
from lanternfish.service.store.database import Store
from lanternfish.service.store.errors import StoreError
from lanternfish.service.store.listing import delete_job
from lanternfish.service.store.schema import HEAD

DAY = 24 * 3600.0
_CARD, _SQLITE, _DUMP = "backup.json", "database.sqlite", "database.dump"


def backup(store: Store, folder: Path) -> dict[str, int]:
    """Copy the platform into `folder`; returns how many blobs it holds and how many were new.

    Safe while the platform works. What is uploaded or published meanwhile may be left out.

    Raises:
        StoreError: pg_dump is missing or failed.
    """
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    if store.is_sqlite:
        _copy_sqlite(store, folder / _SQLITE)
        named = _named_in(folder / _SQLITE)
    else:
        named = _named(store)
        _dump(store, folder / _DUMP)
        named |= _named(store)
    new = lost = 0
    for sha256 in sorted(named):
        place = folder / "blobs" / sha256
        if place.exists():
            continue
        if not store.blobs.exists(sha256):
            lost += 1  # its job or data set was deleted since
            continue
        store.blobs.fetch(sha256, place)
        new += 1
    card = {"version": __version__, "schema": HEAD, "time": time.time()}
    card |= {"database": _SQLITE if store.is_sqlite else _DUMP, "blobs": len(named)}
    (folder / _CARD).write_text(json.dumps(card), encoding="utf-8")
    return {"blobs": len(named), "new": new, "gone": lost}


def restore_database(folder: Path, url: str) -> None:
    """Put a backup's database where `url` says, which must hold none yet.

    Raises:
        StoreError: it is no backup, of another kind of database, or there is one already.
    """
    card = folder / _CARD
    if not card.is_file():
        raise StoreError(f"Expected a backup in {folder}; there is no {_CARD}.")
    kind = json.loads(card.read_text(encoding="utf-8"))["database"]
    parsed = sa.make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite != (kind == _SQLITE):
        raise StoreError(f"Expected the kind of database that was backed up ({kind}); got {url}.")
    if sqlite:
        target = Path(parsed.database or "")
        if target.exists():
            raise StoreError(f"Expected no database at {target} yet; there is one: move it away.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / _SQLITE, target)
        return
    _tool("pg_restore", "--no-owner", "--exit-on-error", "-d", _dsn(url), str(folder / _DUMP))


def restore_blobs(store: Store, folder: Path) -> dict[str, int]:
    """Put a backup's blobs into a store, each checked against its name; returns the counts.

    Raises:
        StoreError: a blob is damaged, or one that the database names is missing.
    """
    new = 0
    for path in sorted((folder / "blobs").iterdir()):
        if len(path.name) != 64 or store.blobs.exists(path.name):
            continue
        if digest(path)[0] != path.name:
            raise StoreError(f"Expected {path} as it was backed up; its content is another.")
        store.blobs.adopt(path, path.name, move=False)
        new += 1
    missing = [each for each in _named(store) if not store.blobs.exists(each)]
    if missing:
        raise StoreError(f"Expected all contents that the database names; {len(missing)} are gone.")
    return {"blobs": len(_named(store)), "new": new}


@dataclass(frozen=True)
class Retention:
    """For how many days things are kept; None: for ever."""

    jobs: float | None = None  # after their end: results, log, events; the certificate's row stays
    audit: float | None = None
    sessions: float = 30.0  # after they have expired
    orphans: float = 1.0  # contents that nothing names


def sweep(store: Store, retention: Retention = Retention()) -> dict[str, int]:
    """Remove what its time is over; returns how many of each. Safe while the platform works."""
    return {
        "uploads": _sweep_uploads(store),
        "jobs": _sweep_jobs(store, retention.jobs),
        "sessions": _sweep_rows(store, t.sessions, t.sessions.c.expires, retention.sessions),
        "audit": _sweep_rows(store, t.audit, t.audit.c.time, retention.audit),
        "blobs": _sweep_blobs(store, retention.orphans * DAY),
    }


def _sweep_uploads(store: Store) -> int:
    over = expired_uploads(store)
    for upload in over:
        drop_upload(store, upload)
    return len(over)


def _sweep_jobs(store: Store, days: float | None) -> int:
    if days is None:
        return 0
    j = t.jobs.c
    with store.read() as tx:
        before = store.now(tx) - days * DAY
        query = sa.select(j.id).where(j.state.in_(ENDED), j.deleted.is_(None), j.finished < before)
        over = list(tx.execute(query).scalars())
    for job in over:
        delete_job(store, job)
    return len(over)


def _sweep_rows(store: Store, table: sa.Table, column: sa.Column, days: float | None) -> int:
    if days is None:
        return 0
    with store.write() as tx:
        return tx.execute(table.delete().where(column < store.now(tx) - days * DAY)).rowcount


def _sweep_blobs(store: Store, seconds: float) -> int:
    """Contents that nothing names and that are older: a newer one may be about to be named."""
    named, count = _named(store), 0
    for sha256 in list(store.blobs.all()):
        if sha256 in named or _age(store, sha256) < seconds:
            continue
        store.blobs.delete(sha256)
        count += 1
    return count


def _age(store: Store, sha256: str) -> float:
    place = store.blobs.place(sha256)
    try:
        if store.blobs.remote is None:
            return time.time() - os.stat(place).st_mtime
        return time.time() - store.blobs.remote.modified(place).timestamp()
    except FileNotFoundError:
        return 0.0


def _named(store: Store) -> set[str]:
    """Contents that the database names."""
    with store.read() as tx:
        return _all_named(tx.execute)


def _named_in(path: Path) -> set[str]:
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            return _all_named(connection.execute)
    finally:
        engine.dispose()


def _all_named(execute) -> set[str]:
    d, i, j, a = t.datasets.c, t.inputs.c, t.jobs.c, t.artifacts.c
    data = sa.select(d.sha256).where(d.location.is_(None), d.deleted.is_(None))
    inputs = (
        sa.select(i.sha256)
        .join(t.jobs, j.id == i.job_id)
        .where(i.sha256.is_not(None), j.state.not_in(ENDED))
    )
    return {sha256 for q in (data, inputs, sa.select(a.sha256)) for sha256 in execute(q).scalars()}


def _copy_sqlite(store: Store, target: Path) -> None:
    temporary = target.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    source = sqlite3.connect(str(store.engine.url.database))
    copy = sqlite3.connect(temporary)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()
    os.replace(temporary, target)


def _dump(store: Store, target: Path) -> None:
    temporary = target.with_suffix(".new")
    _tool("pg_dump", "--format=custom", "-f", str(temporary), "-d", _dsn(store.url))
    os.replace(temporary, target)


def _dsn(url: str) -> str:
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _tool(name: str, *arguments: str) -> None:
    found = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    place = found[-1] if found else shutil.which(name)  # the newest reads all older ones
    if place is None:
        raise StoreError(f"Expected {name} of PostgreSQL on this machine; got none: install it.")
    done = subprocess.run([place, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoreError(f"{name} failed: {done.stderr.strip()[-500:]}")
