"""Jobs come in: job, budget reservation and first event in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from lanternfish.service.jobs import State
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store
from lanternfish.service.store.errors import (
    ConflictError,
    NotFoundError,
    OverBudgetError,
    OverQuotaError,
    StoreError,
)
from lanternfish.service.store.events import add_events
from lanternfish.service.store.identity import fingerprint, new_id

ATTEMPTS = 3


@dataclass(frozen=True)
class Input:
    """One named input: a data set of the group, or a `location` that data stay in."""

    name: str
    dataset: str | None = None
    location: str | None = None


@dataclass(frozen=True)
class Submission:
    """What is asked for.

    Attributes:
        group, user: ids of who owns the job and who asks.
        analysis, version, code: which code runs (`code`: SHA-256 of the source that was shown).
        settings: values of the analysis's settings model, as JSON.
        seed: whatever the analysis draws follows from it.
        inputs: named inputs.
        key: idempotency key; the same key and request again give the same job.
        reserve: bound on the job's cost, micro-units of a core-hour.
        priority: lower numbers go first, as with `nice`.
        seconds, memory: bounds of one attempt, wall-clock seconds and bytes; None: none.
        parent, relation: the job that this is a "rerun" or "duplicate" of, or goes on from
            with its results ("next").
    """

    group: str
    user: str
    analysis: str
    version: str
    settings: dict
    seed: int = 0
    inputs: tuple[Input, ...] = ()
    key: str | None = None
    title: str = ""
    code: str | None = None
    reserve: int = 0
    seconds: float | None = None
    memory: int | None = None
    priority: int = 0
    max_attempts: int = ATTEMPTS
    parent: str | None = None
    relation: str | None = None
    batch: str | None = None
    detail: dict = field(default_factory=dict, compare=False)

    def fingerprint(self) -> str:
        """SHA-256 of what is asked for, which an idempotency key stands for."""
        return fingerprint(
            [
                self.group,
                self.analysis,
                self.version,
                self.settings,
                self.seed,
                [[i.name, i.dataset, i.location] for i in self.inputs],
                self.parent,
                self.relation,
            ]
        )


def submit(store: Store, asked: Submission) -> sa.Row:
    """Queue one job; returns its row of `jobs`. See `submit_all`."""
    return submit_all(store, [asked])[0]


def submit_all(store: Store, asked: list[Submission]) -> list[sa.Row]:
    """Queue jobs, all or none: one click starts one job per data set.

    A submission whose idempotency key the group has used returns that job as it stands now, and
    reserves nothing.

    Raises:
        ConflictError: an idempotency key that was used for another request.
        OverBudgetError, OverQuotaError: the group's budget or its limit on waiting jobs.
        NotFoundError: a group or data set that does not exist or was deleted.
    """
    batch = new_id()
    with store.write() as tx:
        _take_turns(tx, {one.group for one in asked if one.key is not None})
        jobs = [_known(tx, one) or "" for one in asked]
        same = _same(asked)
        new = [at for at, job in enumerate(jobs) if not job and same[at] == at]
        for group in sorted({asked[at].group for at in new}):
            ours = [at for at in new if asked[at].group == group]
            made = _begin(store, tx, group, [asked[at] for at in ours], batch)
            for at, job in zip(ours, made, strict=True):
                jobs[at] = job
        ids = [job or jobs[same[at]] for at, job in enumerate(jobs)]
        rows = tx.execute(sa.select(t.jobs).where(t.jobs.c.id.in_(ids)))
        found = {row.id: row for row in rows}
    return [found[each] for each in ids]


def _take_turns(tx: Connection, groups: set[str]) -> None:
    """Let requests that may have the same key wait for each other (PostgreSQL)."""
    if groups:
        g = t.groups.c
        tx.execute(sa.select(g.id).where(g.id.in_(groups)).order_by(g.id).with_for_update()).all()


def _same(asked: list[Submission]) -> list[int]:
    """For each submission the first one that has its key, mostly itself."""
    first: dict[tuple[str, str], int] = {}
    found = []
    for at, one in enumerate(asked):
        before = at if one.key is None else first.setdefault((one.group, one.key), at)
        if asked[before].fingerprint() != one.fingerprint():
            raise ConflictError(f"Expected different keys for different requests; got {one.key!r}.")
        found.append(before)
    return found


def _known(tx: Connection, asked: Submission) -> str | None:
    if asked.key is None:
        return None
    j = t.jobs.c
    row = tx.execute(
        sa.select(j.id, j.request_hash).where(
            j.group_id == asked.group, j.idempotency_key == asked.key
        )
    ).first()
    if row is None:
        return None
    if row.request_hash != asked.fingerprint():
        raise ConflictError(
            f"Expected a new idempotency key for another request; got {asked.key!r}, which "
            f"started job {row.id}."
        )
    return row.id


def _reserve(tx: Connection, group: str, amount: int, count: int) -> None:
    """Take `amount` of the group's budget; locks the group's row."""
    g = t.groups.c
    row = tx.execute(
        t.groups.update()
        .where(g.id == group)
        .values(reserved=g.reserved + amount)
        .returning(g.budget, g.reserved, g.spent, g.max_queued, g.name)
    ).first()
    if row is None:
        raise NotFoundError("Expected a group that exists; there is none of this id.")
    if row.budget is not None and row.reserved + row.spent > row.budget and amount > 0:
        left = row.budget - row.reserved - row.spent + amount
        raise OverBudgetError(
            f"Expected a bound of at most {left / 1e6:.3g} core-hours, which the budget of "
            f"{row.name} still holds; got {amount / 1e6:.3g}. Shorten the job's limit, or ask an "
            "administrator for more."
        )
    if row.max_queued is not None:
        waiting = tx.execute(
            sa.select(sa.func.count())
            .select_from(t.jobs)
            .where(t.jobs.c.group_id == group, t.jobs.c.state == State.QUEUED)
        ).scalar_one()
        if waiting + count > row.max_queued:
            raise OverQuotaError(
                f"Expected at most {row.max_queued} waiting jobs in {row.name}; it would have "
                f"{waiting + count}. Wait for some to start, or cancel some."
            )


def _begin(
    store: Store, tx: Connection, group: str, asked: list[Submission], batch: str
) -> list[str]:
    """Reserve for and insert a group's new jobs; their ids, in order."""
    _reserve(tx, group, sum(one.reserve for one in asked), len(asked))
    now = store.now(tx)
    made = [(new_id(), one) for one in asked]
    data = _datasets(tx, group, asked)
    tx.execute(t.jobs.insert(), [_job(one, job, batch, now) for job, one in made])
    rows = [_input(job, each, data) for job, one in made for each in one.inputs]
    if rows:
        tx.execute(t.inputs.insert(), rows)
    paid = [
        {
            "group_id": group,
            "job_id": job,
            "kind": "reserve",
            "amount": one.reserve,
            "time": now,
        }
        for job, one in made
        if one.reserve
    ]
    if paid:
        tx.execute(t.charges.insert(), paid)
    first = {"kind": "state", "data": {"state": State.QUEUED}, "time": now}
    add_events(tx, group, [{"job_id": job, **first} for job, _ in made])
    return [job for job, _ in made]


def _job(one: Submission, job: str, batch: str, now: float) -> dict:
    if one.relation not in (None, "rerun", "duplicate", "next"):
        raise StoreError(f"Expected a relation of rerun, duplicate or next; got {one.relation!r}.")
    return {
        "id": job,
        "group_id": one.group,
        "user_id": one.user,
        "analysis": one.analysis,
        "version": one.version,
        "code": one.code,
        "title": one.title[:200],
        "settings": one.settings,
        "seed": one.seed,
        "state": State.QUEUED,
        "batch": one.batch or batch,
        "parent_id": one.parent,
        "relation": one.relation,
        "idempotency_key": one.key,
        "request_hash": one.fingerprint(),
        "priority": one.priority,
        "reserved": one.reserve,
        "seconds_limit": one.seconds,
        "memory_limit": one.memory,
        "max_attempts": one.max_attempts,
        "created": now,
    }


def _datasets(tx: Connection, group: str, asked: list[Submission]) -> dict[str, sa.Row]:
    wanted = {each.dataset for one in asked for each in one.inputs if each.dataset}
    if not wanted:
        return {}
    d = t.datasets.c
    rows = tx.execute(
        sa.select(t.datasets)
        .where(d.id.in_(wanted), d.group_id == group, d.deleted.is_(None))
        .with_for_update()  # not deleted while a job begins to need it
    )
    found = {row.id: row for row in rows}
    missing = wanted - set(found)
    if missing:
        raise NotFoundError(
            f"Expected data sets of the group; got {', '.join(sorted(missing))}, which it does "
            "not have or has deleted."
        )
    return found


def _input(job: str, each: Input, data: dict[str, sa.Row]) -> dict:
    row = data.get(each.dataset or "")
    if row is None and not each.location:
        raise StoreError(f"Expected a data set or a location for the input {each.name}; got none.")
    name = row.name if row is not None else str(each.location).rstrip("/").rsplit("/", 1)[-1]
    return {
        "job_id": job,
        "name": each.name,
        "dataset_id": each.dataset,
        "filename": name,
        "size": row.size if row is not None else None,
        "sha256": row.sha256 if row is not None and not row.location else None,
        "location": row.location if row is not None else each.location,
    }
