"""Users, groups, memberships and their roles, budgets and quotas, and who did what."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from lanternfish.service.jobs import Role
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import LARGEST, Store
from lanternfish.service.store.errors import (
    ConflictError,
    NotFoundError,
    OverQuotaError,
    StoreError,
)
from lanternfish.service.store.identity import new_id

_SETTABLE_USER = frozenset(
    ["name", "email", "password_hash", "issuer", "subject", "admin", "disabled"]
)
_SETTABLE_GROUP = frozenset(["name", "budget", "storage_quota", "max_running", "max_queued"])


def create_user(store: Store, name: str, **fields) -> sa.Row:
    """Make a user (email, password_hash, issuer and subject, admin: as given); returns the row.

    Raises:
        ConflictError: the name or address is taken.
    """
    _known(fields, _SETTABLE_USER)
    values = {"id": new_id(), "name": name, **fields}
    try:
        with store.write() as tx:
            values["created"] = store.now(tx)
            return tx.execute(t.users.insert().values(**values).returning(t.users)).one()
    except IntegrityError:
        raise ConflictError(f"Expected a name and address not in use; got {name!r}.") from None


def change_user(store: Store, user: str, **fields) -> sa.Row:
    """Change fields of a user; disabling one ends their sessions and tokens at once."""
    _known(fields, _SETTABLE_USER)
    try:
        with store.write() as tx:
            row = tx.execute(
                t.users.update().where(t.users.c.id == user).values(**fields).returning(t.users)
            ).first()
            if fields.get("disabled") or "password_hash" in fields:
                tx.execute(t.sessions.delete().where(t.sessions.c.user_id == user))
    except IntegrityError:
        raise ConflictError("Expected a name and address not in use; got one that is.") from None
    if row is None:
        raise NotFoundError(f"Expected the id of a user; got {user}.")
    return row


def find_user(store: Store, **by: str) -> sa.Row | None:
    """The user of a unique field: id, name or email; or issuer and subject. None: nobody."""
    _known(by, _SETTABLE_USER | {"id"})
    query = sa.select(t.users).where(*(t.users.c[name] == value for name, value in by.items()))
    with store.read() as tx:
        return tx.execute(query).first()


def list_users(store: Store) -> list[sa.Row]:
    """All users, by name."""
    with store.read() as tx:
        return list(tx.execute(sa.select(t.users).order_by(t.users.c.name)))


def create_group(store: Store, name: str, *, owner: str | None = None, **fields) -> sa.Row:
    """Make a group (budget, storage_quota, max_running, max_queued: None is unlimited).

    Raises:
        ConflictError: the name is taken.
    """
    _known(fields, _SETTABLE_GROUP)
    try:
        with store.write() as tx:
            now = store.now(tx)
            values = {"id": new_id(), "name": name, "created": now, **fields}
            row = tx.execute(t.groups.insert().values(**values).returning(t.groups)).one()
            if owner is not None:
                join(tx, owner, row.id, Role.OWNER, now)
            return row
    except IntegrityError:
        raise ConflictError(f"Expected a name not in use; got {name!r}.") from None


def change_group(store: Store, group: str, **fields) -> sa.Row:
    """Change a group's name, budget or quotas; returns the row."""
    _known(fields, _SETTABLE_GROUP)
    with store.write() as tx:
        row = tx.execute(
            t.groups.update().where(t.groups.c.id == group).values(**fields).returning(t.groups)
        ).first()
    if row is None:
        raise NotFoundError(f"Expected the id of a group; got {group}.")
    return row


def find_group(store: Store, group: str) -> sa.Row | None:
    """The group of this id (its row has budget, reserved and spent, in micro-units), or None."""
    with store.read() as tx:
        return tx.execute(sa.select(t.groups).where(t.groups.c.id == group)).first()


def list_groups(store: Store) -> list[sa.Row]:
    """All groups, by name."""
    with store.read() as tx:
        return list(tx.execute(sa.select(t.groups).order_by(t.groups.c.name)))


def groups_of(store: Store, user: str) -> list[sa.Row]:
    """The user's groups, by name, each with `role`."""
    m, g = t.memberships.c, t.groups.c
    query = (
        sa.select(t.groups, m.role)
        .join(t.memberships, m.group_id == g.id)
        .where(m.user_id == user)
        .order_by(g.name)
    )
    with store.read() as tx:
        return list(tx.execute(query))


def members_of(store: Store, group: str) -> list[sa.Row]:
    """The group's users, by name: user_id, name, email, role, created."""
    m, u = t.memberships.c, t.users.c
    query = (
        sa.select(m.user_id, u.name, u.email, m.role, m.created)
        .join(t.users, u.id == m.user_id)
        .where(m.group_id == group)
        .order_by(u.name)
    )
    with store.read() as tx:
        return list(tx.execute(query))


def role_of(store: Store, user: str, group: str) -> Role | None:
    """The user's role in the group; `Role.ADMIN` for administrators, None for strangers."""
    m, u = t.memberships.c, t.users.c
    query = (
        sa.select(u.admin, u.disabled, m.role)
        .outerjoin(t.memberships, sa.and_(m.user_id == u.id, m.group_id == group))
        .where(u.id == user)
    )
    with store.read() as tx:
        row = tx.execute(query).first()
    if row is None or row.disabled:
        return None
    if row.admin:
        return Role.ADMIN
    return Role(row.role) if row.role else None


def set_member(store: Store, user: str, group: str, role: Role | str) -> None:
    """Give a user a role in a group."""
    with store.write() as tx, _an_owner_stays(tx, group):
        join(tx, user, group, Role(role), store.now(tx))


def remove_member(store: Store, user: str, group: str) -> None:
    """Take a user out of a group. Their data and jobs stay: they are the group's."""
    m = t.memberships.c
    with store.write() as tx, _an_owner_stays(tx, group):
        tx.execute(t.memberships.delete().where(m.user_id == user, m.group_id == group))


def join(tx: Connection, user: str, group: str, role: Role, now: float) -> None:
    """Insert or change a membership in the caller's transaction."""
    m = t.memberships.c
    where = (m.user_id == user, m.group_id == group)
    if not tx.execute(t.memberships.update().where(*where).values(role=role.value)).rowcount:
        values = {"user_id": user, "group_id": group, "role": role.value, "created": now}
        tx.execute(t.memberships.insert().values(**values))


def storage_used(store: Store, group: str) -> int:
    """Bytes of the group's data sets, unfinished uploads and results."""
    with store.read() as tx:
        return _storage(tx, group)


def check_storage(store: Store, group: str, more: int) -> None:
    """Raise `OverQuotaError` where `more` bytes would pass the group's quota.

    Blocks uploads and new results; never sign-in, listing, download or delete.
    """
    with store.read() as tx:
        row = tx.execute(
            sa.select(t.groups.c.storage_quota, t.groups.c.name).where(t.groups.c.id == group)
        ).first()
        if row is None or row.storage_quota is None:
            return
        used = _storage(tx, group)
    if used + more > row.storage_quota:
        raise OverQuotaError(
            f"Expected at most {row.storage_quota:,} bytes in {row.name}; it has {used:,}, and "
            f"{more:,} more would pass that. Delete data sets or jobs, or ask an administrator."
        )


def charges_of(store: Store, group: str, *, before: int | None = None, limit: int = 100) -> list:
    """The changes of a group's budget, newest first (id, job_id, kind, amount, time)."""
    c = t.charges.c
    query = sa.select(t.charges).where(c.group_id == group)
    if before is not None:
        query = query.where(c.id < before)
    with store.read() as tx:
        return list(tx.execute(query.order_by(c.id.desc()).limit(limit)))


def record(
    store: Store,
    action: str,
    *,
    user: str | None = None,
    group: str | None = None,
    object: str | None = None,
    detail: dict | None = None,
    address: str | None = None,
) -> None:
    """Note in the audit trail who did what to what, from where."""
    values = {"user_id": user, "group_id": group, "action": action, "object": object}
    values |= {"detail": detail, "address": address}
    with store.write() as tx:
        tx.execute(t.audit.insert().values(time=store.now(tx), **values))


def trail(
    store: Store, *, group: str | None = None, before: int | None = None, limit: int = 100
) -> list[sa.Row]:
    """The audit trail, newest first, with `user_name`; of one group or of the platform."""
    a = t.audit.c
    query = sa.select(t.audit, t.users.c.name.label("user_name")).outerjoin(
        t.users, t.users.c.id == a.user_id
    )
    if group is not None:
        query = query.where(a.group_id == group)
    if before is not None:
        query = query.where(a.id < max(-LARGEST, min(before, LARGEST)))
    with store.read() as tx:
        return list(tx.execute(query.order_by(a.id.desc()).limit(limit)))


def _storage(tx: Connection, group: str) -> int:
    d, u, a, j = t.datasets.c, t.uploads.c, t.artifacts.c, t.jobs.c
    data = sa.select(sa.func.coalesce(sa.func.sum(d.size), 0)).where(
        d.group_id == group, d.deleted.is_(None), d.location.is_(None)
    )
    growing = sa.select(sa.func.coalesce(sa.func.sum(u.offset), 0)).where(
        u.group_id == group, u.dataset_id.is_(None)
    )
    results = (
        sa.select(sa.func.coalesce(sa.func.sum(a.size), 0))
        .join(t.jobs, j.id == a.job_id)
        .where(j.group_id == group)
    )
    return sum(int(tx.execute(query).scalar_one()) for query in (data, growing, results))


@contextlib.contextmanager
def _an_owner_stays(tx: Connection, group: str) -> Iterator[None]:
    """Refuse a change that takes a group's last owner away."""
    m = t.memberships.c
    owns = m.role.in_([Role.OWNER.value, Role.ADMIN.value])
    owners = sa.select(m.user_id).where(m.group_id == group, owns)
    before = tx.execute(owners.with_for_update()).all()
    yield
    if before and not tx.execute(owners).all():
        raise ConflictError("Expected a group to keep an owner; this was its last. Name another.")


def _known(fields: dict, allowed: frozenset[str]) -> None:
    strange = set(fields) - allowed
    if strange:
        raise StoreError(f"Expected fields of {sorted(allowed)}; got {sorted(strange)}.")
