"""The ledger's moves: claim, heartbeat, finish, retry, cancel, and leases that ran out.

Every move locks the job's row, is checked by `service.jobs`, and writes its event and the money in
the same transaction. Only the holder of the current fencing token may move a live job.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy import Connection

from lanternfish.service.jobs import (
    ENDED,
    Fate,
    State,
    after_finish,
    after_loss,
    after_retry,
    cancelled,
    cost,
    settle,
)
from lanternfish.service.store import statements as sql
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store, send
from lanternfish.service.store.errors import ConflictError, LeaseLostError, NotFoundError
from lanternfish.service.store.events import add_events
from lanternfish.service.store.identity import new_id
from lanternfish.service.store.journal import Journal

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
    with store.write_together() as tx:
        if ended is None:
            held, now = None, store.now_and_in_order(tx)
        else:
            held, now = _held(store, tx, *ended[:2])
        journal = Journal(tx, now)
        if held is not None and ended is not None:
            _end(journal, held, *ended[1:])
        if ended is None or _time_to_look(store):
            _expire(journal)
        row = tx.execute(sql.next_job(analyses), {"now": now}).first()
        if row is not None:
            journal.attempt(
                sql.ATTEMPT_BEGINS,
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
            journal.state(row.group_id, row.id, data)
        journal.write()
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
    held = {"job_": job, "token_": token}
    with store.write() as tx:
        state = tx.execute(sql.STATE, held).scalar()
        if state is None:
            raise LeaseLostError(f"Attempt {token} no longer holds the job {job}.")
        about = {"new_pid": pid, "lock": environment, "memory": memory, "cpu": cpu_seconds}
        tx.execute(sql.BEAT, {**held, **about, "until": store.now(tx) + lease})
        if surroundings is not None:
            a = t.attempts.c
            this = t.attempts.update().where(a.job_id == job, a.token == token)
            tx.execute(this.values(surroundings=surroundings))
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
    with store.write_together() as tx:
        held, now = _held(store, tx, job, token)
        journal = Journal(tx, now)
        state = _end(journal, held, token, outcome)
        journal.write()
    return state


def cancel(store: Store, job: str, who: str) -> State:
    """Stop a job: at once where it waits, through its worker where it runs. Returns its state.

    Cancelling again, or a job that has ended, changes nothing.

    Raises:
        NotFoundError: there is no such job.
    """
    with store.write_together() as tx:
        journal = Journal(tx, store.now(tx))
        row = tx.execute(sa.select(t.jobs).where(t.jobs.c.id == job).with_for_update()).first()
        if row is None:
            raise NotFoundError(f"Expected the id of a job; got {job}.")
        if row.state in ENDED or row.state == State.CANCELLING:
            return State(row.state)
        fate = cancelled(row.state, who)
        if fate.state is State.CANCELLED:
            _settle(journal, row, fate, 0)
        else:
            tx.execute(
                t.jobs.update()
                .where(t.jobs.c.id == job)
                .values(
                    state=fate.state, reason=fate.reason, ended_by=who, cancel_asked=journal.now
                )
            )
        data = {"state": fate.state, "reason": fate.reason, "ended_by": who}
        journal.state(row.group_id, job, data)
        journal.write()
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
    with store.write_together() as tx:
        journal = Journal(tx, store.now(tx))
        _expire(journal)
        journal.write()
    return len(journal.events)


def force_fail(store: Store, job: str, reason: str, who: str) -> State:
    """End a job that waits and can never run (its analysis is gone, an input is lost).

    Raises:
        ConflictError: the job is not waiting.
    """
    with store.write_together() as tx:
        journal = Journal(tx, store.now(tx))
        row = tx.execute(sa.select(t.jobs).where(t.jobs.c.id == job).with_for_update()).first()
        if row is None or row.state != State.QUEUED:
            raise ConflictError(f"Expected a job that waits; got {job}.")
        fate = Fate(State.FAILED, reason, who)
        _settle(journal, row, fate, 0)
        data = {"state": fate.state, "reason": reason, "ended_by": who}
        journal.state(row.group_id, job, data)
        journal.write()
    return fate.state


_LOOKED: dict[str, float] = {}


def _time_to_look(store: Store) -> bool:
    """Whether a busy worker should look for leases that ran out: once a second is enough."""
    now = time.monotonic()
    if now - _LOOKED.get(store.url, 0.0) < 1.0:
        return False
    _LOOKED[store.url] = now
    return True


def _held(store: Store, tx: Connection, job: str, token: int) -> tuple[sa.Row, float]:
    """The job that an attempt holds, locked, and the time; of one question to PostgreSQL."""
    if store.is_sqlite:
        return _lock(tx, job, token), store.now(tx)
    row = _lock(tx, job, token, sql.HOLDER_NOW)
    return row, float(row.now) if store.clock is None else store.clock()


def _lock(tx: Connection, job: str, token: int, question: sa.Select = sql.HOLDER) -> sa.Row:
    row = tx.execute(question, {"job_": job, "token_": token}).first()
    if row is None:
        raise LeaseLostError(
            f"Attempt {token} no longer holds the job {job}: its results are not taken."
        )
    return row


def _end(journal: Journal, row: sa.Row, token: int, outcome: Outcome) -> State:
    tx, now, job = journal.tx, journal.now, row.id
    outcome = replace(outcome, reason=outcome.reason.replace("\x00", ""))
    if outcome.state == "retry":
        fate = after_retry(row.state, row.attempts, row.max_attempts, outcome.reason)
    else:
        fate = after_finish(row.state, outcome.state, outcome.reason)
    _results(tx, job, token, now, outcome.results)
    journal.attempt(
        sql.ATTEMPT_ENDS,
        {
            "job_": job,
            "token_": token,
            "now": now,
            "how": "retried" if fate.state is State.QUEUED else str(fate.state),
            "why": outcome.reason or None,
            "memory": outcome.memory,
            "cpu": outcome.cpu_seconds,
        },
    )
    _move(journal, row, fate, outcome.delay, outcome.cpu_seconds)
    data = {"state": fate.state, "token": token}
    data |= {"reason": fate.reason} if fate.reason else {}
    journal.state(row.group_id, job, data)
    return fate.state


def _expire(journal: Journal) -> None:
    tx, now = journal.tx, journal.now
    for each in tx.execute(sql.LOST, {"now": now}).all():
        held = {"job_": each.job_id, "token_": each.token}
        row = tx.execute(sql.HOLDER_IF_FREE, held).first()
        if row is None:
            continue
        still = tx.execute(sql.ATTEMPT_LOST, {**held, "now": now}).first()
        if still is None:  # a heartbeat has come between
            continue
        fate = after_loss(row.state, row.attempts, row.max_attempts, each.worker_id)
        _move(journal, row, fate, 0.0, still.cpu_seconds or 0.0)
        data = {"state": fate.state, "reason": fate.reason, "token": each.token}
        journal.state(row.group_id, row.id, data)


def _move(journal: Journal, row: sa.Row, fate: Fate, delay: float, seconds: float) -> None:
    """Requeue or end a job whose attempt used `seconds` of CPU."""
    if fate.state in ENDED:
        _settle(journal, row, fate, cost(seconds))
        return
    later = journal.now + delay
    journal.tx.execute(
        sql.AGAIN,
        {"job_": row.id, "why": fate.reason, "later": later, "used": cost(seconds)},
    )


def _settle(journal: Journal, row: sa.Row, fate: Fate, used: int) -> None:
    """End a job, and turn what it reserved into what it pays and what is given back."""
    paid, back = settle(row.reserved, row.spent + used)
    reason = fate.reason or (row.reason if fate.state is not State.SUCCEEDED else None)
    if fate.state is State.CANCELLED and row.state == State.CANCELLING and row.reason:
        reason = row.reason
    who = row.ended_by if row.state == State.CANCELLING else fate.ended_by
    about = {"to": str(fate.state), "why": reason, "who": who, "now": journal.now}
    send(journal.tx, sql.END, {"job_": row.id, "used": row.spent + used, **about})
    journal.pay(row, paid, back)


def _results(tx: Connection, job: str, token: int, now: float, results) -> None:
    for result in results:
        values = {"token": token, "kind": result.kind, "size": result.size}
        values |= {"sha256": result.sha256}
        new = {f"new_{name}": value for name, value in values.items()}
        again = {"job_": job, "path_": result.path, "now": now, **new}
        if tx.execute(sql.ARTIFACT_AGAIN, again).first() is None:
            made = {"id": new_id(), "job_id": job, "path": result.path, "created": now}
            tx.execute(sql.ARTIFACT, {**made, **values})
