"""The statements of the ledger's busiest path, built once: a worker runs all of them for each job.

Building a statement takes longer than SQLite takes to run it, and does so inside of a transaction
that others wait for. Parameters whose names end in an underscore stand in conditions.
"""

from __future__ import annotations

from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy import bindparam

from lanternfish.service.jobs import State
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import CLOCK_IN_ORDER

_j, _a, _g = t.jobs.c, t.attempts.c, t.groups.c
_JOB, _TOKEN = bindparam("job_"), bindparam("token_")
_IS_LIVE = sa.or_(_j.state == str(State.RUNNING), _j.state == str(State.CANCELLING))
_HELD = (_j.id == _JOB, _j.token == _TOKEN, _IS_LIVE)

_MOVED = (  # what a move of a job asks of it; all of its columns take longer than the rest of it
    *(_j.id, _j.group_id, _j.state, _j.reason, _j.ended_by),
    *(_j.attempts, _j.max_attempts, _j.reserved, _j.spent),
)
CLAIMED = (  # what a worker asks of the job that it was given
    *(_j.id, _j.group_id, _j.user_id, _j.analysis, _j.version, _j.code, _j.settings, _j.seed),
    *(
        _j.state,
        _j.token,
        _j.attempts,
        _j.max_attempts,
        _j.seconds_limit,
        _j.memory_limit,
        _j.log_size,
    ),
)
HOLDER = sa.select(*_MOVED).where(*_HELD).with_for_update()
HOLDER_NOW = HOLDER.add_columns(*CLOCK_IN_ORDER)  # of PostgreSQL
HOLDER_IF_FREE = sa.select(*_MOVED).where(*_HELD).with_for_update(skip_locked=True)
STATE = sa.select(_j.state).where(*_HELD).with_for_update()
LOG_GROWS = (
    t.jobs.update()
    .where(*_HELD)
    .values(log_size=_j.log_size + bindparam("more"))
    .returning(_j.log_size)
)
BEAT = (
    t.attempts.update()
    .where(_a.job_id == _JOB, _a.token == _TOKEN)
    .values(
        leased_until=bindparam("until"),
        pid=sa.func.coalesce(bindparam("new_pid", type_=sa.Integer), _a.pid),
        environment=sa.func.coalesce(bindparam("lock", type_=sa.String), _a.environment),
        peak_memory=sa.func.coalesce(bindparam("memory", type_=sa.BigInteger), _a.peak_memory),
        cpu_seconds=sa.func.coalesce(bindparam("cpu", type_=sa.Double), _a.cpu_seconds),
    )
)
ATTEMPT_BEGINS = t.attempts.insert().inline()
ATTEMPT_ENDS = (
    t.attempts.update()
    .where(_a.job_id == _JOB, _a.token == _TOKEN)
    .values(
        ended=bindparam("now"),
        outcome=bindparam("how"),
        reason=bindparam("why"),
        peak_memory=sa.func.coalesce(bindparam("memory", type_=sa.BigInteger), _a.peak_memory),
        cpu_seconds=bindparam("cpu"),
    )
)
LOST = (
    sa.select(_a.job_id, _a.token, _a.worker_id)
    .where(_a.outcome.is_(None), _a.leased_until < bindparam("now"))
    .order_by(_a.id)
    .limit(20)
)
ATTEMPT_LOST = (
    t.attempts.update()
    .where(_a.job_id == _JOB, _a.token == _TOKEN)
    .where(_a.outcome.is_(None), _a.leased_until < bindparam("now"))
    .values(ended=bindparam("now"), outcome="lost", reason="The lease expired.")
    .returning(_a.cpu_seconds)
)
AGAIN = (
    t.jobs.update()
    .where(_j.id == _JOB)
    .values(
        state=str(State.QUEUED),
        reason=bindparam("why"),
        not_before=bindparam("later"),
        spent=_j.spent + bindparam("used"),
    )
)
END = (
    t.jobs.update()
    .where(_j.id == _JOB)
    .values(
        state=bindparam("to"),
        reason=bindparam("why"),
        ended_by=bindparam("who"),
        finished=bindparam("now"),
        spent=bindparam("used"),
    )
)
PAY = (
    t.groups.update()
    .where(_g.id == bindparam("group_"))
    .values(reserved=_g.reserved - bindparam("held"), spent=_g.spent + bindparam("paid"))
)
EVENT = t.events.insert()
CHUNK = t.log_chunks.insert()
ARTIFACT = t.artifacts.insert()
ARTIFACT_AGAIN = (
    t.artifacts.update()
    .where(t.artifacts.c.job_id == _JOB, t.artifacts.c.path == bindparam("path_"))
    .values(
        token=bindparam("new_token"),
        kind=bindparam("new_kind"),
        size=bindparam("new_size"),
        sha256=bindparam("new_sha256"),
        created=bindparam("now"),
    )
    .returning(t.artifacts.c.id)
)


@lru_cache(maxsize=8)
def next_job(analyses: tuple[str, ...] | None) -> sa.Update:
    """UPDATE ... WHERE id = (SELECT ... FOR UPDATE SKIP LOCKED) RETURNING, on both databases."""
    other = t.jobs.alias("other")
    full = (  # groups that run as many jobs as they may
        sa.select(other.c.group_id)
        .join(t.groups, _g.id == other.c.group_id)
        .where(sa.or_(other.c.state == "running", other.c.state == "cancelling"))
        .where(_g.max_running.is_not(None))
        .group_by(other.c.group_id, _g.max_running)
        .having(sa.func.count() >= _g.max_running)
    )
    never = sa.select(_g.id).where(_g.max_running == 0)
    first = (
        sa.select(_j.id)
        .where(_j.state == str(State.QUEUED), _j.not_before <= bindparam("now"))
        .where(_j.group_id.not_in(full), _j.group_id.not_in(never))
        .order_by(_j.priority, _j.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if analyses is not None:
        first = first.where(_j.analysis.in_(list(analyses)))
    return (
        t.jobs.update()
        .where(_j.id == first.scalar_subquery())
        .values(
            state=str(State.RUNNING),
            token=_j.token + 1,
            attempts=_j.attempts + 1,
            started=sa.func.coalesce(_j.started, bindparam("now")),
            progress=None,
            progress_text=None,
        )
        .returning(*CLAIMED)
    )


@lru_cache(maxsize=32)
def rows(table: sa.Table, names: tuple[str, ...], count: int) -> sa.Insert:
    """INSERT of `count` rows at once, of parameters name_0, name_1, ...; nobody asks for ids."""
    values = [
        {name: bindparam(f"{name}_{n}", type_=table.c[name].type) for name in names}
        for n in range(count)
    ]
    return table.insert().inline().values(values[0] if count == 1 else values)
