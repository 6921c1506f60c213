"""Looking at jobs: one, a page of a group's, the queue and why a job waits; running one again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from lanternfish.service.jobs import ENDED, LIVE, State
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store
from lanternfish.service.store.errors import ConflictError, NotFoundError
from lanternfish.service.store.submission import Input, Submission, submit_all

WORKER_SEEN = 60.0  # seconds after which a worker that says nothing is taken for gone


@dataclass(frozen=True)
class Place:
    """A waiting job's place in the queue (1: next) and, in a sentence, why it waits."""

    place: int
    of: int
    reason: str


def find_job(store: Store, job: str) -> sa.Row | None:
    """The job of this id (a row of `jobs`), or None; deleted ones too (see `deleted`)."""
    with store.read() as tx:
        return tx.execute(sa.select(t.jobs).where(t.jobs.c.id == job)).first()


def jobs_of(
    store: Store,
    group: str,
    *,
    before: str | None = None,
    limit: int = 50,
    states: tuple[str, ...] = (),
    analysis: str | None = None,
    batch: str | None = None,
    text: str = "",
) -> list[sa.Row]:
    """A page of the group's jobs, newest first, with `user_name`: those made before id `before`."""
    j = t.jobs.c
    query = sa.select(t.jobs).where(j.group_id == group, j.deleted.is_(None))
    if before:
        query = query.where(j.id < before)
    if states:
        query = query.where(j.state.in_(states))
    if analysis:
        query = query.where(j.analysis == analysis)
    if batch:
        query = query.where(j.batch == batch)
    if text:
        query = query.where(j.title.icontains(text, autoescape=True))
    page = query.order_by(j.id.desc()).limit(limit).subquery()  # before names are looked up
    names = sa.select(page, t.users.c.name.label("user_name")).join(
        t.users, t.users.c.id == page.c.user_id
    )
    with store.read() as tx:
        return list(tx.execute(names.order_by(page.c.id.desc())))


def counts_of(store: Store, group: str | None = None) -> dict[State, int]:
    """Jobs in each state, of a group or of the platform; all states are there."""
    j = t.jobs.c
    query = sa.select(j.state, sa.func.count()).where(j.deleted.is_(None)).group_by(j.state)
    if group is not None:
        query = query.where(j.group_id == group)
    with store.read() as tx:
        found = {State(state): count for state, count in tx.execute(query)}
    return {state: found.get(state, 0) for state in State}


def inputs_of(store: Store, job: str) -> list[sa.Row]:
    """The job's inputs: name, dataset_id, filename, size, sha256, location."""
    i = t.inputs.c
    with store.read() as tx:
        return list(tx.execute(sa.select(t.inputs).where(i.job_id == job).order_by(i.name)))


def attempts_of(store: Store, job: str) -> list[sa.Row]:
    """The job's attempts, first to last: worker, lease, measured peak memory and CPU, outcome."""
    a = t.attempts.c
    with store.read() as tx:
        return list(tx.execute(sa.select(t.attempts).where(a.job_id == job).order_by(a.token)))


def artifacts_of(store: Store, job: str) -> list[sa.Row]:
    """The job's result files by path: id, path, kind, size, sha256 (open with `store.blobs`)."""
    a = t.artifacts.c
    with store.read() as tx:
        return list(tx.execute(sa.select(t.artifacts).where(a.job_id == job).order_by(a.path)))


def find_artifact(store: Store, job: str, path: str) -> sa.Row | None:
    """One result file of a job, by its path; or None."""
    a = t.artifacts.c
    with store.read() as tx:
        return tx.execute(sa.select(t.artifacts).where(a.job_id == job, a.path == path)).first()


def children_of(store: Store, job: str) -> list[sa.Row]:
    """Jobs that re-ran, duplicated or went on from this one, first to last."""
    j = t.jobs.c
    query = sa.select(t.jobs).where(j.parent_id == job, j.deleted.is_(None)).order_by(j.id)
    with store.read() as tx:
        return list(tx.execute(query))


def queue_position(store: Store, job: str) -> Place | None:
    """Where a waiting job stands and why it waits; None for a job that does not wait."""
    j, g, w = t.jobs.c, t.groups.c, t.workers.c
    with store.read() as tx:
        row = tx.execute(
            sa.select(t.jobs, g.max_running, g.name.label("group_name"))
            .join(t.groups, g.id == j.group_id)
            .where(j.id == job, j.state == State.QUEUED)
        ).first()
        if row is None:
            return None
        queued = sa.select(sa.func.count()).select_from(t.jobs).where(j.state == State.QUEUED)
        earlier = sa.or_(
            j.priority < row.priority, sa.and_(j.priority == row.priority, j.id < row.id)
        )
        ahead, total = (
            tx.execute(queued.where(earlier)).scalar_one(),
            tx.execute(queued).scalar_one(),
        )
        now = store.now(tx)
        workers = tx.execute(
            sa.select(w.analyses).where(w.stopped.is_(None), w.seen > now - WORKER_SEEN)
        ).scalars()
        offered = list(workers)
        running = tx.execute(
            sa.select(sa.func.count())
            .select_from(t.jobs)
            .where(j.group_id == row.group_id, j.state.in_(LIVE))
        ).scalar_one()
    return Place(ahead + 1, total, _why(row, ahead, running, offered, now))


def rerun(store: Store, job: str, user: str, *, key: str | None = None) -> sa.Row:
    """Run an ended job again, as it was; returns the new job, whose parent is the old one."""
    return _again(store, [job], user, "rerun", key)[0]


def rerun_failed(store: Store, batch: str, user: str, *, key: str | None = None) -> list[sa.Row]:
    """Run again those jobs of a batch that failed and were not run again yet, and no others."""
    j = t.jobs.c
    child = t.jobs.alias("child")
    again = sa.select(child.c.id).where(child.c.parent_id == j.id, child.c.relation == "rerun")
    query = sa.select(j.id).where(j.batch == batch, j.state == State.FAILED, ~again.exists())
    with store.read() as tx:
        failed = list(tx.execute(query.order_by(j.id)).scalars())
    return _again(store, failed, user, "rerun", key) if failed else []


def duplicate(
    store: Store,
    job: str,
    user: str,
    *,
    settings: dict | None = None,
    seed: int | None = None,
    inputs: tuple[Input, ...] | None = None,
    version: str | None = None,
    code: str | None = None,
    key: str | None = None,
) -> sa.Row:
    """Start a job like another, changed where given; returns it, whose parent is the old one.

    The caller validates changed settings and inputs first, as for a new job.
    """
    old = submission_of(store, job)
    changes = {"settings": settings, "seed": seed, "inputs": inputs}
    changes |= {"version": version, "code": code}
    changes = {name: value for name, value in changes.items() if value is not None}
    new = replace(old, user=user, key=key, parent=job, relation="duplicate", batch=None, **changes)
    return submit_all(store, [new])[0]


def submission_of(store: Store, job: str) -> Submission:
    """What was asked for when a job was submitted.

    Raises:
        NotFoundError: there is no such job.
    """
    row = find_job(store, job)
    if row is None:
        raise NotFoundError(f"Expected the id of a job; got {job}.")
    inputs = inputs_of(store, job)
    return Submission(
        group=row.group_id,
        user=row.user_id,
        analysis=row.analysis,
        version=row.version,
        code=row.code,
        settings=row.settings,
        seed=row.seed,
        inputs=tuple(
            Input(i.name, i.dataset_id, None if i.dataset_id else i.location) for i in inputs
        ),
        title=row.title or "",
        reserve=row.reserved,
        seconds=row.seconds_limit,
        memory=row.memory_limit,
        priority=row.priority,
        max_attempts=row.max_attempts,
        parent=row.parent_id,
        relation=row.relation,
        batch=row.batch,
    )


def delete_job(store: Store, job: str) -> None:
    """Delete an ended job's log, events and results; the certificate's row stays (`deleted`).

    Raises:
        ConflictError: the job has not ended.
    """
    j = t.jobs.c
    with store.write() as tx:
        row = tx.execute(sa.select(t.jobs).where(j.id == job).with_for_update()).first()
        if row is None:
            raise NotFoundError(f"Expected the id of a job; got {job}.")
        if row.state not in ENDED:
            raise ConflictError(
                f"Expected a job that has ended; it is {row.state}. Cancel it first."
            )
        for table in (t.artifacts, t.log_chunks, t.events):
            tx.execute(table.delete().where(table.c.job_id == job))
        tx.execute(t.jobs.update().where(j.id == job).values(deleted=store.now(tx), log_size=0))


def note_worker(
    store: Store,
    worker: str,
    *,
    host: str,
    pid: int,
    analyses: list[str] | None = None,
    version: str = "",
    stopped: bool = False,
) -> None:
    """Say that a worker is there (again and again), or has stopped."""
    w = t.workers.c
    with store.write() as tx:
        now = store.now(tx)
        values = {"seen": now, "stopped": now if stopped else None}
        if not tx.execute(t.workers.update().where(w.id == worker).values(**values)).rowcount:
            values |= {"id": worker, "host": host, "pid": pid, "analyses": analyses}
            tx.execute(t.workers.insert().values(started=now, version=version, **values))


def list_workers(store: Store) -> list[sa.Row]:
    """Workers that were heard of in the last minute, and what they run."""
    w = t.workers.c
    with store.read() as tx:
        where = (w.stopped.is_(None), w.seen > store.now(tx) - WORKER_SEEN)
        return list(tx.execute(sa.select(t.workers).where(*where).order_by(w.id)))


def _why(row: sa.Row, ahead: int, running: int, offered: list, now: float) -> str:
    if not offered:
        return "No worker is running: `lanternfish worker` starts one."
    if not any(names is None or row.analysis in names for names in offered):
        return f"No worker that is running offers the analysis {row.analysis}."
    if row.not_before > now:
        wait = row.not_before - now
        return f"{row.reason or ''} The next attempt starts in {wait:.0f} s.".lstrip()
    if row.max_running is not None and running >= row.max_running:
        return (
            f"{row.group_name} runs {running} jobs, as many as it may at a time "
            f"({row.max_running})."
        )
    if ahead:
        return f"{ahead:,} jobs were there before."
    return "It is next: it starts as soon as a worker is free."


def _again(
    store: Store, jobs: list[str], user: str, relation: str, key: str | None
) -> list[sa.Row]:
    new = []
    for job in jobs:
        row = find_job(store, job)
        if row is None:
            raise NotFoundError(f"Expected the id of a job; got {job}.")
        if row.state not in ENDED:
            raise ConflictError(f"Expected a job that has ended; {job} is {row.state}.")
        old = submission_of(store, job)
        own = f"{key}:{job}"[:100] if key else None
        new.append(replace(old, user=user, key=own, parent=job, relation=relation, batch=None))
    return submit_all(store, new)
