"""Administration: users, groups, workers, environments, who did what; and the API's document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lanternfish.service import store as st
from lanternfish.service.analyses import built
from lanternfish.service.jobs import MICRO, Action, Role
from lanternfish.service.server.access import allow
from lanternfish.service.server.openapi import document
from lanternfish.service.server.people_api import GroupSeen, group_seen
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.rendering import page
from lanternfish.service.server.sign_in import audit, new_user

router = APIRouter(prefix="/api", tags=["administration"])


class UserSeen(BaseModel):
    """A user."""

    id: str
    name: str
    email: str | None = None
    admin: bool
    disabled: bool
    created: float


class UserAsked(BaseModel):
    """A user to be made."""

    name: str = Field(max_length=60)
    password: str = Field(max_length=1_000)
    email: str = Field(default="", max_length=254)
    admin: bool = False


class UserChanged(BaseModel):
    """What changes of a user."""

    admin: bool | None = None
    disabled: bool | None = None


class GroupAsked(BaseModel):
    """A group to be made, or what changes of one; core-hours and bytes, none: unlimited."""

    name: str = Field(min_length=2, max_length=100)
    budget: float | None = Field(default=None, ge=0, le=1e9)
    storage_quota: int | None = Field(default=None, ge=0, lt=2**60)
    max_running: int | None = Field(default=None, ge=0, le=100_000)
    max_queued: int | None = Field(default=None, ge=0, le=10_000_000)


class Deed(BaseModel):
    """An entry of the audit trail."""

    id: int
    time: float
    user: str | None = None
    group: str | None = None
    action: str
    object: str | None = None
    detail: dict[str, Any] | None = None
    address: str | None = None


class WorkerSeen(BaseModel):
    """A worker that was heard of in the last minute."""

    id: str
    host: str
    pid: int
    analyses: list[str] | None = None
    version: str | None = None
    seen: float


class EnvironmentSeen(BaseModel):
    """An environment that an analysis has built on the server's machine."""

    key: str
    built: str
    analyses: list[str]
    bytes: int


@router.get("/openapi.json", **allow(), include_in_schema=False)
def openapi(request: Request) -> Response:
    """The OpenAPI document of this API."""
    return JSONResponse(document(request.app))


@router.get("/docs", **allow(), include_in_schema=False)
def docs(request: Request) -> Response:
    """The API as a page."""
    return page(request, "api.html", document=document(request.app))


@router.get("/v1/admin/users", **allow(Action.GOVERN))
def users(request: Request) -> list[UserSeen]:
    """All users."""
    return [_user(row) for row in st.list_users(platform_of(request).store)]


@router.post("/v1/admin/users", **allow(Action.GOVERN), status_code=201)
def make_user(request: Request, asked: UserAsked) -> UserSeen:
    """Make a user with a first password."""
    platform = platform_of(request)
    user = new_user(platform, asked.name, asked.password, asked.email, admin=asked.admin)
    audit(request, "make user", object=asked.name)
    return _user(st.find_user(platform.store, id=user))


@router.patch("/v1/admin/users/{user_id}", **allow(Action.GOVERN))
def change_user(request: Request, user_id: str, changed: UserChanged) -> UserSeen:
    """Make an administrator, disable, enable; a disabled user is signed out at once."""
    if user_id == request.state.actor.id and (changed.disabled or changed.admin is False):
        raise st.ConflictError("Expected another user: you cannot lock yourself out.")
    fields = changed.model_dump(exclude_none=True)
    if not fields:
        raise st.StoreError("Expected something to change; got nothing.")
    row = st.change_user(platform_of(request).store, user_id, **fields)
    audit(request, "change user", object=row.name, detail=fields)
    return _user(row)


@router.get("/v1/admin/groups", **allow(Action.GOVERN))
def groups(request: Request) -> list[GroupSeen]:
    """All groups."""
    return [group_seen(row, Role.ADMIN) for row in st.list_groups(platform_of(request).store)]


@router.post("/v1/admin/groups", **allow(Action.GOVERN), status_code=201)
def make_group(request: Request, asked: GroupAsked) -> GroupSeen:
    """Make a group."""
    row = st.create_group(platform_of(request).store, asked.name.strip(), **_fields(asked))
    audit(request, "make group", group=row.id, object=row.name)
    return group_seen(row, Role.ADMIN)


@router.put("/v1/admin/groups/{group_id}", **allow(Action.GOVERN))
def change_group(request: Request, group_id: str, asked: GroupAsked) -> GroupSeen:
    """Change a group's name, budget and quotas."""
    store = platform_of(request).store
    row = st.change_group(store, group_id, name=asked.name.strip(), **_fields(asked))
    audit(request, "change group", group=row.id, detail=asked.model_dump())
    return group_seen(row, Role.ADMIN)


@router.get("/v1/admin/workers", **allow(Action.GOVERN))
def workers(request: Request) -> list[WorkerSeen]:
    """Workers that were heard of in the last minute."""
    return [
        WorkerSeen(
            id=r.id, host=r.host, pid=r.pid, analyses=r.analyses, version=r.version, seen=r.seen
        )
        for r in st.list_workers(platform_of(request).store)
    ]


@router.get("/v1/admin/environments", **allow(Action.GOVERN))
def environments(request: Request) -> list[EnvironmentSeen]:
    """Environments of analyses that are built on the server's machine."""
    return [EnvironmentSeen(**each) for each in built.kept(_environments(request))]


@router.delete("/v1/admin/environments/{key}", **allow(Action.GOVERN), status_code=204)
def remove_environment(request: Request, key: str) -> None:
    """Remove an environment in which no job runs; the next job that needs it builds it again."""
    try:
        freed = built.remove(_environments(request), key)
    except ValueError as error:
        raise st.ConflictError(str(error)) from None
    audit(request, "remove environment", object=key, detail={"bytes": freed})


def _environments(request: Request) -> Path:
    return platform_of(request).configuration.folder / built.FOLDER


@router.get("/v1/admin/audit", **allow(Action.GOVERN))
def trail(
    request: Request, group: str | None = None, before: int | None = None, limit: int = 100
) -> list[Deed]:
    """Who did what, newest first."""
    rows = st.trail(
        platform_of(request).store, group=group, before=before, limit=min(max(limit, 1), 1_000)
    )
    return [deed(row) for row in rows]


def deed(row: Any) -> Deed:
    return Deed(
        id=row.id,
        time=row.time,
        user=row.user_name,
        group=row.group_id,
        action=row.action,
        object=row.object,
        detail=row.detail,
        address=row.address,
    )


def _user(row: Any) -> UserSeen:
    return UserSeen(
        id=row.id,
        name=row.name,
        email=row.email,
        admin=bool(row.admin),
        disabled=bool(row.disabled),
        created=row.created,
    )


def _fields(asked: GroupAsked) -> dict[str, Any]:
    return {
        "budget": None if asked.budget is None else round(asked.budget * MICRO),
        "storage_quota": asked.storage_quota,
        "max_running": asked.max_running,
        "max_queued": asked.max_queued,
    }
