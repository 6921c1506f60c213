"""What the server's pages and streams ask of the database, beyond the ledger's own functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from lanternfish.service.jobs import ENDED, State
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store


def grown(
    store: Store, jobs: Sequence[str], groups: Sequence[str]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Newest event and log size of watched jobs ("job", id); newest event of ("group", id)."""
    j, e = t.jobs.c, t.events.c
    newest = sa.select(sa.func.max(e.id)).where(e.job_id == j.id).scalar_subquery()
    found: dict[tuple[str, str], tuple[int, int]] = {}
    with store.read() as tx:
        for some in _blocks(jobs):
            query = sa.select(j.id, newest, j.log_size).where(j.id.in_(some))
            for job, event, size in tx.execute(query):
                found["job", job] = (event or 0, size)
        for group in groups:
            top = sa.select(sa.func.max(e.id)).where(e.group_id == group)
            found["group", group] = (tx.execute(top).scalar() or 0, 0)
    return found


def inputs_of_jobs(store: Store, jobs: Iterable[str]) -> dict[str, list[sa.Row]]:
    """Inputs of several jobs, by job."""
    i = t.inputs.c
    found: dict[str, list[sa.Row]] = {}
    with store.read() as tx:
        for some in _blocks(list(jobs)):
            for row in tx.execute(sa.select(t.inputs).where(i.job_id.in_(some)).order_by(i.name)):
                found.setdefault(row.job_id, []).append(row)
    return found


def group_of_batch(store: Store, batch: str) -> str | None:
    """The group that owns a batch's jobs; None where there is no such batch."""
    j = t.jobs.c
    with store.read() as tx:
        return tx.execute(sa.select(j.group_id).where(j.batch == batch).limit(1)).scalar()


def unfinished_of_batch(store: Store, batch: str, user: str | None = None) -> list[str]:
    """Jobs of a batch that have not ended; those of one user, or (None) all."""
    j = t.jobs.c
    query = sa.select(j.id).where(j.batch == batch, j.state.not_in(ENDED), j.deleted.is_(None))
    if user is not None:
        query = query.where(j.user_id == user)
    with store.read() as tx:
        return list(tx.execute(query.order_by(j.id)).scalars())


def counts_of_batch(store: Store, batch: str) -> dict[State, int]:
    """Jobs of a batch in each state."""
    j = t.jobs.c
    query = sa.select(j.state, sa.func.count()).where(j.batch == batch, j.deleted.is_(None))
    with store.read() as tx:
        found = {State(state): n for state, n in tx.execute(query.group_by(j.state))}
    return {state: found.get(state, 0) for state in State}


def jobs_that_used(store: Store, dataset: str, limit: int = 50) -> list[sa.Row]:
    """Jobs that a data set went into, newest first."""
    j, i = t.jobs.c, t.inputs.c
    query = (
        sa.select(t.jobs, t.users.c.name.label("user_name"))
        .join(t.inputs, i.job_id == j.id)
        .join(t.users, t.users.c.id == j.user_id)
        .where(i.dataset_id == dataset, j.deleted.is_(None))
        .order_by(j.id.desc())
        .limit(limit)
    )
    with store.read() as tx:
        return list(tx.execute(query))


def analyses_used(store: Store, group: str) -> list[str]:
    """Names of the analyses that a group has jobs of."""
    j = t.jobs.c
    query = sa.select(j.analysis).where(j.group_id == group, j.deleted.is_(None)).distinct()
    with store.read() as tx:
        return sorted(tx.execute(query).scalars())


def same_content(store: Store, group: str, sha256: str, name: str) -> sa.Row | None:
    """A data set of the group with this content and name."""
    d = t.datasets.c
    where = (d.group_id == group, d.sha256 == sha256, d.name == name, d.deleted.is_(None))
    with store.read() as tx:
        return tx.execute(sa.select(t.datasets).where(*where).limit(1)).first()


def sessions_of(store: Store, user: str) -> list[sa.Row]:
    """A user's sign-ins that still hold, newest first."""
    s = t.sessions.c
    with store.read() as tx:
        where = (s.user_id == user, s.expires >= store.now(tx))
        return list(tx.execute(sa.select(t.sessions).where(*where).order_by(s.created.desc())))


def users_count(store: Store) -> int:
    with store.read() as tx:
        return tx.execute(sa.select(sa.func.count()).select_from(t.users)).scalar_one()


def totals(store: Store) -> dict[str, int]:
    """For metrics: bytes of data sets and results, users, groups."""
    d, a = t.datasets.c, t.artifacts.c
    count = sa.func.count()
    with store.read() as tx:
        one = lambda query: int(tx.execute(query).scalar() or 0)  # noqa: E731
        return {
            "data_bytes": one(sa.select(sa.func.sum(d.size)).where(d.deleted.is_(None))),
            "result_bytes": one(sa.select(sa.func.sum(a.size))),
            "users": one(sa.select(count).select_from(t.users)),
            "groups": one(sa.select(count).select_from(t.groups)),
        }


def alive(store: Store) -> None:
    """Raise what the database raises where it does not answer."""
    with store.read() as tx:
        tx.execute(sa.select(1))


def _blocks(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (ids[i : i + size] for i in range(0, len(ids), size))
