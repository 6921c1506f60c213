"""Who I am, my tokens, groups, members, invitations."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import Row
from starlette.requests import Request

from lanternfish.service import store as st
from lanternfish.service.jobs import Action, Role, hours
from lanternfish.service.server.access import PUBLIC, allow
from lanternfish.service.server.configuration import DAY
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.sign_in import audit, checked

router = APIRouter(prefix="/api/v1", tags=["people"])
_GIVEN = frozenset({Role.VIEWER, Role.MEMBER, Role.OWNER})


class GroupSeen(BaseModel):
    """A group, and what I am in it."""

    id: str
    name: str
    role: Role
    budget: float | None = Field(default=None, description="Core-hours in all; none: unlimited.")
    spent: float
    reserved: float
    storage_quota: int | None = None


class Me(BaseModel):
    """Who asks."""

    id: str
    name: str
    admin: bool
    groups: list[GroupSeen]


class Credentials(BaseModel):
    """Name and password, for a token."""

    name: str = Field(max_length=200)
    password: str = Field(max_length=1_000)
    token: str = Field(
        default="command line", max_length=100, description="What to call the token."
    )


class TokenAsked(BaseModel):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100)
    days: float | None = Field(default=None, gt=0, le=3_650)


class TokenMade(BaseModel):
    """A token that was made; its secret is shown this once."""

    id: str
    name: str
    secret: str
    expires: float | None = None


class TokenSeen(BaseModel):
    """One of my tokens."""

    id: str
    name: str
    created: float
    expires: float | None = None
    last_used: float | None = None


class MemberSeen(BaseModel):
    """Somebody in a group."""

    user: str
    name: str
    role: Role


class InvitationAsked(BaseModel):
    """An invitation to be made."""

    role: Role = Role.MEMBER
    days: float = Field(default=7, gt=0, le=90)
    uses: int = Field(default=1, ge=1, le=1_000)


class InvitationMade(BaseModel):
    """An invitation; its address is shown this once."""

    id: str
    address: str
    role: Role
    expires: float


class RoleGiven(BaseModel):
    """A role in a group."""

    role: Role


@router.get("/me", **allow())
def me(request: Request) -> Me:
    """Who I am and the groups that I am in."""
    actor = request.state.actor
    groups = [group_seen(each, actor.role(each.id)) for each in actor.groups]
    return Me(id=actor.id, name=actor.name, admin=actor.admin, groups=groups)


@router.post("/sign-in", **PUBLIC, status_code=201)
def sign_in(request: Request, credentials: Credentials) -> TokenMade:
    """A token for a name and password, as `lanternfish login` asks for; limited in rate."""
    user = checked(request, credentials.name, credentials.password)
    return _token(request, user, credentials.token, 90.0)


@router.post("/start-link", **allow(), status_code=201)
def start_link(request: Request) -> dict[str, str]:
    """A link that opens a personal server in a browser, once."""
    platform = platform_of(request)
    if not platform.configuration.personal:
        raise HTTPException(404, "Only personal servers are opened by links.")
    return {"address": f"{platform.configuration.url}/start?key={platform.start_keys.new()}"}


@router.get("/tokens", **allow())
def tokens(request: Request) -> list[TokenSeen]:
    """My tokens."""
    rows = st.tokens_of(platform_of(request).store, request.state.actor.id)
    return [
        TokenSeen(id=r.id, name=r.name, created=r.created, expires=r.expires, last_used=r.last_used)
        for r in rows
    ]


@router.post("/tokens", **allow(), status_code=201)
def make_token(request: Request, asked: TokenAsked) -> TokenMade:
    """Make a personal access token."""
    made = _token(request, request.state.actor.id, asked.name, asked.days)
    audit(request, "make token", object=made.id)
    return made


@router.delete("/tokens/{token_id}", **allow(), status_code=204)
def revoke_token(request: Request, token_id: str) -> None:
    """End one of my tokens."""
    st.revoke_token(platform_of(request).store, token_id, request.state.actor.id)
    audit(request, "revoke token", object=token_id)


@router.get("/groups/{group_id}", **allow(Action.SEE, "group"))
def group(request: Request, group_id: str) -> GroupSeen:
    """A group, its budget and quotas."""
    return group_seen(request.state.group, request.state.actor.role(group_id))


@router.get("/groups/{group_id}/members", **allow(Action.SEE, "group"))
def members(request: Request, group_id: str) -> list[MemberSeen]:
    """Who is in a group."""
    rows = st.members_of(platform_of(request).store, group_id)
    return [MemberSeen(user=r.user_id, name=r.name, role=Role(r.role)) for r in rows]


@router.put(
    "/groups/{group_id}/members/{user_id}", **allow(Action.MANAGE, "group"), status_code=204
)
def give_role(request: Request, group_id: str, user_id: str, given: RoleGiven) -> None:
    """Change a member's role; people come in by invitations."""
    set_role(request, group_id, user_id, given.role)


@router.delete(
    "/groups/{group_id}/members/{user_id}", **allow(Action.MANAGE, "group"), status_code=204
)
def remove(request: Request, group_id: str, user_id: str) -> None:
    """Take somebody out of a group; their data and jobs stay."""
    st.remove_member(platform_of(request).store, user_id, group_id)
    audit(request, "remove member", group=group_id, object=user_id)


@router.post("/groups/{group_id}/invitations", **allow(Action.MANAGE, "group"), status_code=201)
def invite(request: Request, group_id: str, asked: InvitationAsked) -> InvitationMade:
    """Invite into a group; the address works until it expires or is used up."""
    platform = platform_of(request)
    _givable(asked.role)
    code, row = st.create_invitation(
        platform.store,
        group_id,
        asked.role,
        request.state.actor.id,
        seconds=asked.days * DAY,
        uses=asked.uses,
    )
    audit(request, "invite", group=group_id, object=row.id, detail={"role": asked.role})
    address = f"{platform.configuration.url}/join/{code}"
    return InvitationMade(id=row.id, address=address, role=asked.role, expires=row.expires)


@router.delete(
    "/groups/{group_id}/invitations/{invitation_id}",
    **allow(Action.MANAGE, "group"),
    status_code=204,
)
def revoke_invitation(request: Request, group_id: str, invitation_id: str) -> None:
    """End an invitation."""
    store = platform_of(request).store
    if invitation_id not in {row.id for row in st.invitations_of(store, group_id)}:
        raise st.NotFoundError("There is no such invitation.")
    st.revoke_invitation(store, invitation_id)
    audit(request, "revoke invitation", group=group_id, object=invitation_id)


def set_role(request: Request, group: str, user: str, role: Role) -> None:
    """Change the role of somebody who is in a group."""
    store = platform_of(request).store
    _givable(role)
    if user not in {row.user_id for row in st.members_of(store, group)}:
        raise st.NotFoundError("Expected a member of this group; invite them first.")
    st.set_member(store, user, group, role)
    audit(request, "give role", group=group, object=user, detail={"role": role})


def group_seen(row: Row, role: Role | None) -> GroupSeen:
    return GroupSeen(
        id=row.id,
        name=row.name,
        role=role or Role.VIEWER,
        budget=None if row.budget is None else hours(row.budget),
        spent=hours(row.spent),
        reserved=hours(row.reserved),
        storage_quota=row.storage_quota,
    )


def _givable(role: Role) -> None:
    if role not in _GIVEN:
        raise HTTPException(422, "Expected a role of viewer, member or owner.")


def _token(request: Request, user: str, name: str, days: float | None) -> TokenMade:
    seconds = None if days is None else days * DAY
    secret, row = st.create_token(platform_of(request).store, user, name, seconds=seconds)
    return TokenMade(id=row.id, name=row.name, secret=secret, expires=row.expires)
