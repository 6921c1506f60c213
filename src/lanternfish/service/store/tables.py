"""The tables. All times are seconds since 1970 (UTC), all money whole micro-units of a core-hour.

Ids are 26 characters that sort by time of making and cannot be guessed; `events.id` is a number
that grows in the order in which a group's events became visible, which the event stream shows.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Text

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_SERIAL = BigInteger().with_variant(Integer, "sqlite")


def _table(name: str, *columns) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _id() -> Column:
    return Column("id", String(26), primary_key=True)


def _to(name: str, target: str, **options) -> Column:
    return Column(name, String(26), ForeignKey(f"{target}.id"), **options)


def _time(name: str, **options) -> Column:
    return Column(name, sa.Double, **options)


def _count(name: str, default: int = 0) -> Column:
    return Column(name, BigInteger, nullable=False, server_default=str(default))


# People ---------------------------------------------------------------------------------------

users = _table(
    "users",
    _id(),
    Column("name", String(100), nullable=False, unique=True),
    Column("email", String(254), unique=True),
    Column("password_hash", String(200)),  # null: signs in elsewhere, or not at all
    Column("issuer", String(200)),  # OpenID Connect: who vouches for the user,
    Column("subject", String(200)),  # and the name there
    Column("admin", Boolean, nullable=False, server_default=sa.false()),
    Column("disabled", Boolean, nullable=False, server_default=sa.false()),
    _time("created", nullable=False),
    sa.UniqueConstraint("issuer", "subject"),
)

groups = _table(
    "groups",
    _id(),
    Column("name", String(100), nullable=False, unique=True),
    Column("budget", BigInteger),  # micro-units in all; null: unlimited
    _count("reserved"),
    _count("spent"),
    Column("storage_quota", BigInteger),  # bytes; null: unlimited
    Column("max_running", Integer),  # jobs at a time; null: as many as there are workers
    Column("max_queued", Integer),
    _time("created", nullable=False),
)

memberships = _table(
    "memberships",
    _to("user_id", "users", primary_key=True),
    _to("group_id", "groups", primary_key=True, index=True),
    Column("role", String(10), nullable=False),
    _time("created", nullable=False),
)

invitations = _table(
    "invitations",
    _id(),
    Column("code_hash", String(64), nullable=False, unique=True),
    _to("group_id", "groups", nullable=False, index=True),
    Column("role", String(10), nullable=False),
    _to("created_by", "users"),
    _time("created", nullable=False),
    _time("expires", nullable=False),
    _count("uses_left", 1),
)

sessions = _table(
    "sessions",
    Column("token_hash", String(64), primary_key=True),
    _to("user_id", "users", nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("agent", String(200)),
    _time("created", nullable=False),
    _time("expires", nullable=False),
)

tokens = _table(
    "tokens",
    _id(),
    Column("token_hash", String(64), nullable=False, unique=True),
    _to("user_id", "users", nullable=False, index=True),
    Column("name", String(100), nullable=False),
    _time("created", nullable=False),
    _time("expires"),
    _time("last_used"),
    _time("revoked"),
)

failures = _table(  # of signing in, for the limit on their rate
    "failures",
    Column("id", _SERIAL, primary_key=True),
    Column("key", String(200), nullable=False, index=True),
    _time("time", nullable=False),
)

audit = _table(
    "audit",
    Column("id", _SERIAL, primary_key=True),
    _time("time", nullable=False, index=True),
    _to("user_id", "users"),
    _to("group_id", "groups", index=True),
    Column("action", String(60), nullable=False),
    Column("object", String(200)),
    Column("detail", JSON),
    Column("address", String(60)),
)

# Data -----------------------------------------------------------------------------------------

datasets = _table(
    "datasets",
    _id(),
    _to("group_id", "groups", nullable=False),
    _to("user_id", "users", nullable=False),
    Column("name", String(255), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("location", Text),  # a path or bucket that the data stay in; null: a blob of ours
    Column("detail", JSON),
    _time("created", nullable=False),
    _time("deleted"),
    Index("ix_datasets_listing", "group_id", "id"),
)

uploads = _table(
    "uploads",
    _id(),
    _to("group_id", "groups", nullable=False, index=True),
    _to("user_id", "users", nullable=False),
    Column("name", String(255), nullable=False),
    Column("length", BigInteger),  # null: not yet known
    _count("offset"),  # bytes that are on disk, and confirmed
    Column("metadata", JSON),
    Column("sha256", String(64)),  # what the client says that the whole has
    _to("dataset_id", "datasets"),  # once finished
    _time("created", nullable=False),
    _time("expires", nullable=False),
)

# Jobs -----------------------------------------------------------------------------------------

jobs = _table(
    "jobs",
    _id(),
    _to("group_id", "groups", nullable=False),
    _to("user_id", "users", nullable=False),
    Column("analysis", String(100), nullable=False),
    Column("version", String(60), nullable=False),
    Column("code", String(64)),  # sha256 of the source code that was shown
    Column("title", String(200)),
    Column("settings", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("batch", String(26), index=True),  # jobs that were started by one click
    _to("parent_id", "jobs", index=True),
    Column("relation", String(10)),  # to the parent: rerun, duplicate or next
    Column("idempotency_key", String(100)),
    Column("request_hash", String(64), nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),  # lower goes first
    _count("reserved"),
    _count("spent"),
    Column("seconds_limit", sa.Double),  # wall-clock, of one attempt
    Column("memory_limit", BigInteger),  # bytes
    Column("max_attempts", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("token", Integer, nullable=False, server_default="0"),  # fencing: of the last attempt
    _count("log_size"),
    Column("progress", sa.Double),
    Column("progress_text", String(200)),
    Column("reason", Text),
    Column("ended_by", String(200)),
    _time("created", nullable=False),
    _time("not_before", nullable=False, server_default="0"),
    _time("started"),
    _time("cancel_asked"),
    _time("finished"),
    _time("deleted"),
    sa.UniqueConstraint("group_id", "idempotency_key", name="uq_jobs_idempotency"),
    Index("ix_jobs_queue", "state", "priority", "id"),
    Index("ix_jobs_listing", "group_id", "id"),
    Index("ix_jobs_states", "group_id", "state"),
)

inputs = _table(
    "inputs",
    _to("job_id", "jobs", primary_key=True),
    Column("name", String(100), primary_key=True),
    _to("dataset_id", "datasets", index=True),
    Column("filename", String(255), nullable=False),
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Column("location", Text),
)

attempts = _table(
    "attempts",
    Column("id", _SERIAL, primary_key=True),
    _to("job_id", "jobs", nullable=False),
    Column("token", Integer, nullable=False),
    Column("worker_id", String(60), nullable=False),
    Column("host", String(200)),
    Column("pid", Integer),  # of the child process
    Column("environment", String(64)),  # hash of the lock that it ran in
    Column("surroundings", JSON),  # machine, Python, packages
    _time("started", nullable=False),
    _time("leased_until", nullable=False),
    _time("ended"),
    Column("outcome", String(10)),  # succeeded, failed, cancelled, retried, lost
    Column("reason", Text),
    Column("peak_memory", BigInteger),  # bytes, measured, of the whole process tree
    Column("cpu_seconds", sa.Double),
    sa.UniqueConstraint("job_id", "token", name="uq_attempts_token"),
    Index("ix_attempts_lease", "outcome", "leased_until"),
)

events = sa.Table(
    "events",
    metadata,
    Column("id", _SERIAL, primary_key=True),
    _to("group_id", "groups", nullable=False),
    _to("job_id", "jobs"),
    Column("kind", String(20), nullable=False),
    Column("data", JSON, nullable=False),
    _time("time", nullable=False),
    Index("ix_events_job", "job_id", "id"),
    Index("ix_events_group", "group_id", "id"),
    sqlite_autoincrement=True,  # an id is never used twice
)

log_chunks = _table(
    "log_chunks",
    _to("job_id", "jobs", primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("token", Integer, nullable=False),
    Column("data", sa.LargeBinary, nullable=False),
    _time("time", nullable=False),
)

artifacts = _table(
    "artifacts",
    _id(),
    _to("job_id", "jobs", nullable=False),
    Column("token", Integer, nullable=False),
    Column("path", String(500), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    _time("created", nullable=False),
    sa.UniqueConstraint("job_id", "path", name="uq_artifacts_path"),
)

charges = _table(  # every change of a group's budget
    "charges",
    Column("id", _SERIAL, primary_key=True),
    _to("group_id", "groups", nullable=False, index=True),
    _to("job_id", "jobs"),
    Column("kind", String(10), nullable=False),  # reserve, pay, release
    Column("amount", BigInteger, nullable=False),
    _time("time", nullable=False),
)

workers = _table(
    "workers",
    Column("id", String(60), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("analyses", JSON),  # names that it runs; null: all
    Column("version", String(60)),
    _time("started", nullable=False),
    _time("seen", nullable=False),
    _time("stopped"),
)
