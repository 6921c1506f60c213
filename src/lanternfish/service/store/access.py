"""Ways in: invitations, sign-in sessions, personal access tokens, and the limit on wrong guesses.

Every secret is shown once and stored as its SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from lanternfish.service.jobs import Role
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import Store
from lanternfish.service.store.errors import ExpiredError, NotFoundError
from lanternfish.service.store.identity import hashed, new_id, new_secret
from lanternfish.service.store.people import join

WEEK = 7 * 24 * 3600.0


def create_invitation(
    store: Store,
    group: str,
    role: Role | str,
    by: str | None = None,
    *,
    seconds: float = WEEK,
    uses: int = 1,
) -> tuple[str, sa.Row]:
    """Invite into a group; returns the code, which is shown once, and the invitation's row."""
    code = new_secret()
    with store.write() as tx:
        now = store.now(tx)
        row = tx.execute(
            t.invitations.insert()
            .values(
                id=new_id(),
                code_hash=hashed(code),
                group_id=group,
                role=Role(role).value,
                created_by=by,
                created=now,
                expires=now + seconds,
                uses_left=uses,
            )
            .returning(t.invitations)
        ).one()
    return code, row


def look_at_invitation(store: Store, code: str) -> sa.Row:
    """The invitation of a code (with `group_name`), without using it.

    Raises:
        NotFoundError, ExpiredError: there is none; it has expired or was used.
    """
    i = t.invitations.c
    query = (
        sa.select(t.invitations, t.groups.c.name.label("group_name"))
        .join(t.groups, t.groups.c.id == i.group_id)
        .where(i.code_hash == hashed(code))
    )
    with store.read() as tx:
        row, now = tx.execute(query).first(), store.now(tx)
    if row is None:
        raise NotFoundError("Expected the code of an invitation; there is none like this.")
    if row.expires < now or row.uses_left < 1:
        raise ExpiredError("The invitation has expired or was used: ask the group's owner anew.")
    return row


def use_invitation(store: Store, code: str, user: str) -> sa.Row:
    """Join the group that a code invites to; returns the invitation's row.

    A member keeps the higher of the two roles.

    Raises:
        NotFoundError, ExpiredError: there is none; it has expired or was used.
    """
    i, m = t.invitations.c, t.memberships.c
    look_at_invitation(store, code)
    with store.write() as tx:
        now = store.now(tx)
        row = tx.execute(
            t.invitations.update()
            .where(i.code_hash == hashed(code), i.uses_left > 0, i.expires >= now)
            .values(uses_left=i.uses_left - 1)
            .returning(t.invitations)
        ).first()
        if row is None:
            raise ExpiredError("The invitation has expired or was used: ask the group's owner.")
        has = tx.execute(
            sa.select(m.role).where(m.user_id == user, m.group_id == row.group_id)
        ).scalar()
        roles = list(Role)
        if has is None or roles.index(Role(has)) < roles.index(Role(row.role)):
            join(tx, user, row.group_id, Role(row.role), now)
    return row


def invitations_of(store: Store, group: str) -> list[sa.Row]:
    """The group's invitations that still hold, newest first."""
    i = t.invitations.c
    with store.read() as tx:
        where = (i.group_id == group, i.uses_left > 0, i.expires >= store.now(tx))
        return list(tx.execute(sa.select(t.invitations).where(*where).order_by(i.id.desc())))


def revoke_invitation(store: Store, invitation: str) -> None:
    """End an invitation."""
    with store.write() as tx:
        tx.execute(t.invitations.delete().where(t.invitations.c.id == invitation))


def create_session(
    store: Store, user: str, *, seconds: float = WEEK, agent: str = ""
) -> tuple[str, sa.Row]:
    """Sign a user in; returns the session's secret (the cookie) and its row (with `csrf`)."""
    secret = new_secret()
    with store.write() as tx:
        now = store.now(tx)
        row = tx.execute(
            t.sessions.insert()
            .values(
                token_hash=hashed(secret),
                user_id=user,
                csrf=new_secret(),
                agent=agent[:200],
                created=now,
                expires=now + seconds,
            )
            .returning(t.sessions)
        ).one()
    return secret, row


def find_session(store: Store, secret: str) -> sa.Row | None:
    """The valid session of a cookie, with `csrf` and the user's columns as user_*; or None."""
    s, u = t.sessions.c, t.users.c
    query = (
        sa.select(t.sessions, u.name.label("user_name"), u.admin.label("user_admin"))
        .join(t.users, u.id == s.user_id)
        .where(s.token_hash == hashed(secret), u.disabled.is_(sa.false()))
    )
    with store.read() as tx:
        row = tx.execute(query).first()
        return row if row is not None and row.expires >= store.now(tx) else None


def end_session(store: Store, secret: str) -> None:
    """Sign out."""
    with store.write() as tx:
        tx.execute(t.sessions.delete().where(t.sessions.c.token_hash == hashed(secret)))


def end_sessions(store: Store, user: str) -> None:
    """Sign a user out everywhere."""
    with store.write() as tx:
        tx.execute(t.sessions.delete().where(t.sessions.c.user_id == user))


def create_token(
    store: Store, user: str, name: str, *, seconds: float | None = None
) -> tuple[str, sa.Row]:
    """Make a personal access token; returns it (shown once, "lf_…") and its row."""
    secret = "lf_" + new_secret()
    with store.write() as tx:
        now = store.now(tx)
        row = tx.execute(
            t.tokens.insert()
            .values(
                id=new_id(),
                token_hash=hashed(secret),
                user_id=user,
                name=name[:100],
                created=now,
                expires=None if seconds is None else now + seconds,
            )
            .returning(t.tokens)
        ).one()
    return secret, row


def find_token(store: Store, secret: str) -> sa.Row | None:
    """The valid token of a secret, with user_name and user_admin; or None."""
    k, u = t.tokens.c, t.users.c
    query = (
        sa.select(t.tokens, u.name.label("user_name"), u.admin.label("user_admin"))
        .join(t.users, u.id == k.user_id)
        .where(k.token_hash == hashed(secret), k.revoked.is_(None), u.disabled.is_(sa.false()))
    )
    with store.read() as tx:
        row, now = tx.execute(query).first(), store.now(tx)
    if row is None or (row.expires is not None and row.expires < now):
        return None
    if row.last_used is None or now - row.last_used > 60:  # not a write for each request
        with store.write() as tx:
            tx.execute(t.tokens.update().where(k.id == row.id).values(last_used=now))
    return row


def tokens_of(store: Store, user: str) -> list[sa.Row]:
    """The user's tokens that are not revoked, newest first."""
    k = t.tokens.c
    query = sa.select(t.tokens).where(k.user_id == user, k.revoked.is_(None))
    with store.read() as tx:
        return list(tx.execute(query.order_by(k.id.desc())))


def revoke_token(store: Store, token: str, user: str) -> None:
    """End a token of the user.

    Raises:
        NotFoundError: the user has no such token.
    """
    k = t.tokens.c
    with store.write() as tx:
        where = (k.id == token, k.user_id == user, k.revoked.is_(None))
        if not tx.execute(t.tokens.update().where(*where).values(revoked=store.now(tx))).rowcount:
            raise NotFoundError(f"Expected the id of a token of yours; got {token}.")


def note_failure(store: Store, key: str) -> None:
    """Note a wrong guess under `key` (an address, a user name)."""
    with store.write() as tx:
        now = store.now(tx)
        tx.execute(t.failures.delete().where(t.failures.c.time < now - 24 * 3600))
        tx.execute(t.failures.insert().values(key=key[:200], time=now))


def failures_within(store: Store, key: str, seconds: float) -> int:
    """Wrong guesses under `key` in the last `seconds`."""
    f = t.failures.c
    query = sa.select(sa.func.count()).select_from(t.failures).where(f.key == key[:200])
    with store.read() as tx:
        return tx.execute(query.where(f.time >= store.now(tx) - seconds)).scalar_one()


def forget_failures(store: Store, key: str) -> None:
    """Forget the wrong guesses under `key`, after a right one."""
    with store.write() as tx:
        tx.execute(t.failures.delete().where(t.failures.c.key == key[:200]))
