"""Who may do what in a group.

viewer   sees data, jobs and results, and downloads them
member   uploads data and runs jobs; deletes and cancels what is theirs
owner    all of the group: invitations, members, deletion, cancelling anybody's job
admin    owner of every group, and of the platform: users, budgets, quotas
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """A user's standing in a group, from least to most."""

    VIEWER = "viewer"
    MEMBER = "member"
    OWNER = "owner"
    ADMIN = "admin"


ROLES = tuple(Role)


class Action(StrEnum):
    """What is done in a group."""

    SEE = "see"
    RUN = "run"  # upload, submit; cancel and delete one's own
    MANAGE = "manage"  # invitations, members; cancel and delete anybody's
    GOVERN = "govern"  # budgets, quotas, users


_LEAST = {
    Action.SEE: Role.VIEWER,
    Action.RUN: Role.MEMBER,
    Action.MANAGE: Role.OWNER,
    Action.GOVERN: Role.ADMIN,
}


def allows(role: Role | str | None, action: Action | str) -> bool:
    """Whether `role` (None: a stranger) may do `action`."""
    return role is not None and ROLES.index(Role(role)) >= ROLES.index(_LEAST[Action(action)])
