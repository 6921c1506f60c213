"""Events and logs: both only ever grow.

An event's id is the `id:` of the event stream. Ids become visible in order within a group (and so
within a job): whoever has seen id n has missed nothing below n. SQLite has one writer; on
PostgreSQL writers of a group take turns from the id until the commit.

Kinds of events, and their data:

    state      {state, reason?, ended_by?, token?}
    progress   {fraction, text}
    metric     {name, value, step}             live science: loss, entropy, constraint error
    picture    {path, sha256}                  an artifact that is new, or was drawn again
    use        {memory, cpu_seconds}           bytes and seconds of the process tree
    message    {text}                          what the platform says of the job
    dataset    {dataset, name, change}         a group's data: added, deleted
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from lanternfish.service.store import statements as sql
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store, send
from lanternfish.service.store.errors import LeaseLostError

CHUNK = 64 * 1024  # bytes of log in a row, at most
_TURNS = sa.text("SELECT pg_advisory_xact_lock(7, hashtext(:group))")


def add_events(tx: Connection, group: str, rows: list[dict]) -> None:
    """Append events (dicts with kind, data, time and job_id) in the caller's transaction.

    Call it last in the transaction: on PostgreSQL the group's other writers wait from here on.
    """
    if not rows:
        return
    take_turn(tx, group)
    tx.execute(sql.EVENT, [{"group_id": group, **row} for row in rows])


def take_turn(tx: Connection, group: str) -> None:
    """Wait until no other transaction adds events to a group, and keep it so until the commit."""
    if tx.dialect.name == "postgresql":
        send(tx, _TURNS, {"group": group})


def append_events(store: Store, job: str, token: int, rows: list[tuple[str, dict]]) -> None:
    """Append events (kind, data) of a running attempt, in order, in one transaction.

    A `progress` event also becomes the job's progress in listings.

    Raises:
        LeaseLostError: `token` is not that of the job's current attempt.
    """
    with store.write() as tx:
        group = _holder(tx, job, token).group_id
        now = store.now(tx)
        progress = [data for kind, data in rows if kind == "progress"]
        if progress:
            text = str(progress[-1].get("text") or "")[:200]
            tx.execute(
                t.jobs.update()
                .where(t.jobs.c.id == job)
                .values(progress=progress[-1].get("fraction"), progress_text=text)
            )
        add_events(
            tx,
            group,
            [{"job_id": job, "kind": k, "data": data, "time": now} for k, data in rows],
        )


def append_event(store: Store, job: str, token: int, kind: str, data: dict) -> None:
    """Append one event of a running attempt; see `append_events`."""
    append_events(store, job, token, [(kind, data)])


def events_after(
    store: Store,
    after: int = 0,
    *,
    job: str | None = None,
    group: str | None = None,
    kinds: tuple[str, ...] = (),
    limit: int = 500,
) -> list[sa.Row]:
    """Events of one job or one group with ids above `after`, in order.

    Rows have id, job_id, kind, data and time.

    Raises:
        TypeError: neither or both of `job` and `group`.
    """
    if (job is None) == (group is None):
        raise TypeError("Expected a job or a group; got neither or both.")
    e = t.events.c
    query = sa.select(t.events).where(e.id > after, e.job_id == job if job else e.group_id == group)
    if kinds:
        query = query.where(e.kind.in_(kinds))
    with store.read() as tx:
        return list(tx.execute(query.order_by(e.id).limit(limit)))


def last_event(store: Store, *, job: str | None = None, group: str | None = None) -> int:
    """The newest event's id, 0 where there is none: where a stream of news begins."""
    e = t.events.c
    query = sa.select(sa.func.max(e.id)).where(e.job_id == job if job else e.group_id == group)
    with store.read() as tx:
        return tx.execute(query).scalar() or 0


def append_log(store: Store, job: str, token: int, data: bytes) -> int:
    """Append to a job's log; returns the log's new size in bytes.

    Raises:
        LeaseLostError: `token` is not that of the job's current attempt.
    """
    with store.write() as tx:
        end = _grow(tx, job, token, len(data))
        start, now = end - len(data), store.now(tx)
        rows = [
            {
                "job_id": job,
                "offset": start + at,
                "token": token,
                "data": data[at : at + CHUNK],
                "time": now,
            }
            for at in range(0, len(data), CHUNK)
        ]
        if rows:
            tx.execute(sql.CHUNK, rows)
    return end


def log_from(store: Store, job: str, offset: int = 0, limit: int = 1 << 20) -> tuple[bytes, int]:
    """Bytes of a job's log from `offset`, and the offset after them.

    They are `limit` or a little more; fewer only where the log ends.
    """
    c = t.log_chunks.c
    reach = c.offset + sa.func.length(c.data)
    query = (
        sa.select(c.offset, c.data)
        .where(
            c.job_id == job, c.offset > offset - CHUNK, reach > offset, c.offset < offset + limit
        )
        .order_by(c.offset)
    )
    parts, end = [], offset
    with store.read() as tx:
        for row in tx.execute(query):
            part = bytes(row.data)[end - row.offset :]
            parts.append(part)
            end += len(part)
            if end - offset >= limit:
                break
    return b"".join(parts), end


def _holder(tx: Connection, job: str, token: int) -> sa.Row:
    """Lock the job's row for its current attempt, or raise `LeaseLostError`."""
    row = tx.execute(sql.HOLDER, {"job_": job, "token_": token}).first()
    if row is None:
        raise LeaseLostError(f"Attempt {token} no longer holds the job {job}.")
    return row


def _grow(tx: Connection, job: str, token: int, size: int) -> int:
    end = tx.execute(sql.LOG_GROWS, {"job_": job, "token_": token, "more": size}).scalar()
    if end is None:
        raise LeaseLostError(f"Attempt {token} no longer holds the job {job}.")
    return end
