"""The ledger's moves: claim, heartbeat, finish, retry, cancel, and leases that ran out.

Every move locks the job's row, is checked by `service.jobs`, and writes its event and the money in
the same transaction. Only the holder of the current fencing token may move a live job.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy import Connection

from lanternfish.service.jobs import (
    ENDED,
    LIVE,
    Fate,
    State,
    after_finish,
    after_loss,
    after_retry,
    cancelled,
    cost,
    settle,
)
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store
from lanternfish.service.store.errors import ConflictError, LeaseLostError, NotFoundError
from lanternfish.service.store.events import add_events
from lanternfish.service.store.identity import new_id

LEASE = 30.0  # seconds


@dataclass(frozen=True)
class Result:
    """A file that an attempt leaves: its content is in the blobs already."""

    path: str
    size: int
    sha256: str
    kind: str = "file"  # picture, table, report, run, log, certificate, file


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, as its worker measured it.

    `state`: succeeded or failed; or "retry" where the cause is not the analysis, and another
    attempt may help. `memory` in bytes and `cpu_seconds` are measured of the whole process tree.
    """

    state: str
    reason: str = ""
    results: tuple[Result, ...] = ()
    memory: int | None = None
    cpu_seconds: float = 0.0
    delay: float = 0.0
    extra: dict = field(default_factory=dict, compare=False)


def claim(
    store: Store,
    worker: str,
    *,
    lease: float = LEASE,
    analyses: tuple[str, ...] | None = None,
    host: str = "",
) -> sa.Row | None:
    """Give the next job to `worker` (its row of `jobs`), or None where none may start.

    Leases that ran out are settled first, so any living worker takes up what a dead one left. The
    returned row's `token` is the attempt's fencing token, and `job.attempts` counts from 1.
    """
    return turn(store, worker, None, lease=lease, analyses=analyses, host=host)


def turn(
    store: Store,
    worker: str,
    ended: tuple[str, int, Outcome] | None,
    *,
    lease: float = LEASE,
    analyses: tuple[str, ...] | None = None,
    host: str = "",
) -> sa.Row | None:
    """Finish one job (id, token, outcome) and claim the next, in one transaction: one disk write.

    Raises:
        LeaseLostError: as `finish`; nothing is claimed then.
    """
    with store.write() as tx:
        now = store.now(tx)
        events: list[tuple[str, dict]] = []
        if ended is not None:
            events += _end(tx, now, *ended)
        events += _expire(tx, now)
        row = tx.execute(
            _next(analyses), {"now": now, "names": list(analyses) if analyses else []}
        ).first()
        if row is not None:
            tx.execute(
                t.attempts.insert(),
                {
                    "job_id": row.id,
                    "token": row.token,
                    "worker_id": worker,
                    "host": host,
                    "started": now,
                    "leased_until": now + lease,
                },
            )
            data = {"state": State.RUNNING, "token": row.token, "worker": worker}
            events.append((row.group_id, _event(row.id, data, now)))
        _write_events(tx, events)
    return row


def heartbeat(
    store: Store,
    job: str,
    token: int,
    *,
    lease: float = LEASE,
    pid: int | None = None,
    environment: str | None = None,
    surroundings: dict | None = None,
    memory: int | None = None,
    cpu_seconds: float | None = None,
) -> State:
    """Extend the lease, and keep what is measured so far; returns the job's state.

    `State.CANCELLING` tells the worker to end the attempt.

    Raises:
        LeaseLostError: another attempt has taken over, or the job has ended.
    """
    j, a = t.jobs.c, t.attempts.c
    known = {"pid": pid, "environment": environment, "surroundings": surroundings}
    known |= {"peak_memory": memory, "cpu_seconds": cpu_seconds}
    with store.write() as tx:
        state = tx.execute(
            sa.select(j.state)
            .where(j.id == job, j.token == token, j.state.in_(LIVE))
            .with_for_update()
        ).scalar()
        if state is None:
            raise LeaseLostError(f"Attempt {token} no longer holds the job {job}.")
        tx.execute(
            t.attempts.update()
            .where(a.job_id == job, a.token == token)
            .values(
                leased_until=store.now(tx) + lease,
                **{name: value for name, value in known.items() if value is not None},
            )
        )
    return State(state)


def publish(store: Store, job: str, token: int, results: list[Result]) -> None:
    """Name results of a running attempt (as a picture that grows); a path again replaces it.

    Raises:
        LeaseLostError: `token` is not that of the job's current attempt.
    """
    with store.write() as tx:
        now = store.now(tx)
        row = _lock(tx, job, token)
        _results(tx, job, token, now, results)
        data = [{"path": r.path, "sha256": r.sha256} for r in results if r.kind == "picture"]
        rows = [{"job_id": job, "kind": "picture", "data": d, "time": now} for d in data]
        add_events(tx, row.group_id, rows)


def finish(store: Store, job: str, token: int, outcome: Outcome) -> State:
    """End an attempt: state, results, measured use, money and event in one transaction.

    Returns the job's state: `QUEUED` where it is tried again, `CANCELLED` where it was being
    cancelled, whatever the outcome.

    Raises:
        LeaseLostError: `token` is not that of the job's current attempt. Nothing is written.
    """
    with store.write() as tx:
        events = _end(tx, store.now(tx), job, token, outcome)
        _write_events(tx, events)
    return State(events[-1][1]["data"]["state"])


def cancel(store: Store, job: str, who: str) -> State:
    """Stop a job: at once where it waits, through its worker where it runs. Returns its state.

    Cancelling again, or a job that has ended, changes nothing.

    Raises:
        NotFoundError: there is no such job.
    """
    with store.write() as tx:
        now = store.now(tx)
        row = tx.execute(sa.select(t.jobs).where(t.jobs.c.id == job).with_for_update()).first()
        if row is None:
            raise NotFoundError(f"Expected the id of a job; got {job}.")
        if row.state in ENDED or row.state == State.CANCELLING:
            return State(row.state)
        fate = cancelled(row.state, who)
        if fate.state is State.CANCELLED:
            _settle(tx, row, fate, now, 0)
        else:
            tx.execute(
                t.jobs.update()
                .where(t.jobs.c.id == job)
                .values(state=fate.state, reason=fate.reason, ended_by=who, cancel_asked=now)
            )
        data = {"state": fate.state, "reason": fate.reason, "ended_by": who}
        _write_events(tx, [(row.group_id, _event(job, data, now))])
    return fate.state


def work_waits(store: Store, analyses: tuple[str, ...] | None = None) -> bool:
    """Whether `claim` may find something: a waiting job, or a lease that ran out. Only reads."""
    j, a = t.jobs.c, t.attempts.c
    with store.read() as tx:
        now = store.now(tx)
        waits = sa.select(j.id).where(j.state == State.QUEUED.value, j.not_before <= now)
        if analyses is not None:
            waits = waits.where(j.analysis.in_(analyses))
        lost = sa.select(a.id).where(a.outcome.is_(None), a.leased_until < now)
        return bool(tx.execute(waits.limit(1)).first() or tx.execute(lost.limit(1)).first())


def expire(store: Store) -> int:
    """Settle leases that ran out; returns how many. Workers do it too, whenever they claim."""
    with store.write() as tx:
        events = _expire(tx, store.now(tx))
        _write_events(tx, events)
    return len(events)


def force_fail(store: Store, job: str, reason: str, who: str) -> State:
    """End a job that waits and can never run (its analysis is gone, an input is lost).

    Raises:
        ConflictError: the job is not waiting.
    """
    with store.write() as tx:
        now = store.now(tx)
        row = tx.execute(sa.select(t.jobs).where(t.jobs.c.id == job).with_for_update()).first()
        if row is None or row.state != State.QUEUED:
            raise ConflictError(f"Expected a job that waits; got {job}.")
        fate = Fate(State.FAILED, reason, who)
        _settle(tx, row, fate, now, 0)
        data = {"state": fate.state, "reason": reason, "ended_by": who}
        _write_events(tx, [(row.group_id, _event(job, data, now))])
    return fate.state


@lru_cache(maxsize=8)
def _next(analyses: tuple[str, ...] | None) -> sa.Update:
    """UPDATE ... WHERE id = (SELECT ... FOR UPDATE SKIP LOCKED) RETURNING, on both."""
    j, g = t.jobs.c, t.groups.c
    other = t.jobs.alias("other")
    full = (  # groups that run as many jobs as they may
        sa.select(other.c.group_id)
        .join(t.groups, g.id == other.c.group_id)
        .where(other.c.state.in_([str(s) for s in sorted(LIVE)]), g.max_running.is_not(None))
        .group_by(other.c.group_id, g.max_running)
        .having(sa.func.count() >= g.max_running)
    )
    never = sa.select(g.id).where(g.max_running == 0)
    first = (
        sa.select(j.id)
        .where(j.state == State.QUEUED.value, j.not_before <= sa.bindparam("now"))
        .where(j.group_id.not_in(full), j.group_id.not_in(never))
        .order_by(j.priority, j.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if analyses is not None:
        first = first.where(j.analysis.in_(sa.bindparam("names", expanding=True)))
    return (
        t.jobs.update()
        .where(j.id == first.scalar_subquery())
        .values(
            state=State.RUNNING.value,
            token=j.token + 1,
            attempts=j.attempts + 1,
            started=sa.func.coalesce(j.started, sa.bindparam("now")),
            progress=None,
            progress_text=None,
        )
        .returning(*t.jobs.c)
    )


def _lock(tx: Connection, job: str, token: int) -> sa.Row:
    j = t.jobs.c
    row = tx.execute(
        sa.select(t.jobs).where(j.id == job, j.token == token, j.state.in_(LIVE)).with_for_update()
    ).first()
    if row is None:
        raise LeaseLostError(
            f"Attempt {token} no longer holds the job {job}: its results are not taken."
        )
    return row


def _end(
    tx: Connection, now: float, job: str, token: int, outcome: Outcome
) -> list[tuple[str, dict]]:
    outcome = replace(outcome, reason=outcome.reason.replace("\x00", ""))
    row = _lock(tx, job, token)
    if outcome.state == "retry":
        fate = after_retry(row.state, row.attempts, row.max_attempts, outcome.reason)
    else:
        fate = after_finish(row.state, outcome.state, outcome.reason)
    _results(tx, job, token, now, outcome.results)
    a = t.attempts.c
    tx.execute(
        t.attempts.update()
        .where(a.job_id == job, a.token == token)
        .values(
            ended=now,
            outcome="retried" if fate.state is State.QUEUED else fate.state,
            reason=outcome.reason or None,
            peak_memory=outcome.memory,
            cpu_seconds=outcome.cpu_seconds,
        )
    )
    _move(tx, row, fate, now, outcome.delay, outcome.cpu_seconds)
    data = {"state": fate.state, "token": token}
    data |= {"reason": fate.reason} if fate.reason else {}
    return [(row.group_id, _event(job, data, now))]


def _expire(tx: Connection, now: float) -> list[tuple[str, dict]]:
    a, j = t.attempts.c, t.jobs.c
    lost = tx.execute(
        sa.select(a.job_id, a.token, a.worker_id)
        .where(a.outcome.is_(None), a.leased_until < now)
        .order_by(a.id)
        .limit(20)
    ).all()
    events = []
    for each in lost:
        row = tx.execute(
            sa.select(t.jobs)
            .where(j.id == each.job_id, j.token == each.token, j.state.in_(LIVE))
            .with_for_update(skip_locked=True)
        ).first()
        if row is None:
            continue
        still = tx.execute(  # a heartbeat may have come between
            t.attempts.update()
            .where(a.job_id == each.job_id, a.token == each.token)
            .where(a.outcome.is_(None), a.leased_until < now)
            .values(ended=now, outcome="lost", reason="The lease expired.")
            .returning(a.cpu_seconds)
        ).first()
        if still is None:
            continue
        fate = after_loss(row.state, row.attempts, row.max_attempts, each.worker_id)
        _move(tx, row, fate, now, 0.0, still.cpu_seconds or 0.0)
        data = {"state": fate.state, "reason": fate.reason, "token": each.token}
        events.append((row.group_id, _event(row.id, data, now)))
    return events


def _move(
    tx: Connection, row: sa.Row, fate: Fate, now: float, delay: float, seconds: float
) -> None:
    """Requeue or end a job whose attempt used `seconds` of CPU."""
    if fate.state in ENDED:
        _settle(tx, row, fate, now, cost(seconds))
        return
    tx.execute(
        t.jobs.update()
        .where(t.jobs.c.id == row.id)
        .values(
            state=fate.state,
            reason=fate.reason,
            not_before=now + delay,
            spent=t.jobs.c.spent + cost(seconds),
        )
    )


def _settle(tx: Connection, row: sa.Row, fate: Fate, now: float, used: int) -> None:
    """End a job, and turn what it reserved into what it pays and what is given back."""
    paid, back = settle(row.reserved, row.spent + used)
    reason = fate.reason or (row.reason if fate.state is not State.SUCCEEDED else None)
    if fate.state is State.CANCELLED and row.state == State.CANCELLING and row.reason:
        reason = row.reason
    tx.execute(
        t.jobs.update()
        .where(t.jobs.c.id == row.id)
        .values(
            state=fate.state,
            reason=reason,
            ended_by=row.ended_by if row.state == State.CANCELLING else fate.ended_by,
            finished=now,
            spent=row.spent + used,
        )
    )
    if row.reserved:
        g = t.groups.c
        tx.execute(
            t.groups.update()
            .where(g.id == row.group_id)
            .values(reserved=g.reserved - row.reserved, spent=g.spent + paid)
        )
        about = {"group_id": row.group_id, "job_id": row.id, "time": now}
        tx.execute(
            t.charges.insert(),
            [
                {**about, "kind": "pay", "amount": paid},
                {**about, "kind": "release", "amount": back},
            ],
        )


def _results(tx: Connection, job: str, token: int, now: float, results) -> None:
    for result in results:
        where = (t.artifacts.c.job_id == job, t.artifacts.c.path == result.path)
        values = {
            "token": token,
            "kind": result.kind,
            "size": result.size,
            "sha256": result.sha256,
            "created": now,
        }
        changed = tx.execute(t.artifacts.update().where(*where).values(**values)).rowcount
        if not changed:
            tx.execute(
                t.artifacts.insert().values(id=new_id(), job_id=job, path=result.path, **values)
            )


def _event(job: str, data: dict, now: float) -> dict:
    return {"job_id": job, "kind": "state", "data": data, "time": now}


def _write_events(tx: Connection, events: list[tuple[str, dict]]) -> None:
    for group in sorted({group for group, _ in events}):
        add_events(tx, group, [row for each, row in events if each == group])
