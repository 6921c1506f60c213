"""Who asks, and whether they may: every route names what it needs, and is refused otherwise.

A route is declared with `**allow(Action.SEE, "job")`: the gate finds the job of the path, asks for
the actor's role in the group that owns it, and puts the row on `request.state.job`. To strangers it
answers 404, as if there were none. The same words stand in the OpenAPI document (`x-access`), from
which the tests draw their matrix of routes and roles.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from lanternfish.service import store as st
from lanternfish.service.jobs import Action, Role, allows
from lanternfish.service.server.platform import Platform, platform_of
from lanternfish.service.store import pages

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
GROUP_COOKIE = "lanternfish_group"


@dataclass(frozen=True)
class Actor:
    """Who asks: a user, signed in by a session's cookie or a personal access token."""

    id: str
    name: str
    admin: bool
    groups: tuple[Row, ...]  # each with `role`
    group: Row | None  # the one whose data pages show
    via: str  # "session" or "token"

    def role(self, group: str) -> Role | None:
        """Standing in a group; administrators stand in all."""
        if self.admin:
            return Role.ADMIN
        return next((Role(g.role) for g in self.groups if g.id == group), None)

    def may(self, action: Action | str, group: str | None = None) -> bool:
        """Whether the actor may do something in a group, or in the one shown."""
        shown = str(self.group.id) if self.group else ""
        return allows(self.role(group or shown), action)


async def identify(request: Request) -> None:
    """Find out who asks, before any route; refuse what another site's page would send."""
    request.state.actor, request.state.csrf = None, ""
    await run_in_threadpool(_identify, request)
    if request.method in SAFE:
        return
    actor = request.state.actor
    if actor is not None and actor.via == "token":
        return  # no browser sends tokens by itself
    _same_origin(request)
    if actor is not None:
        sent = request.headers.get("x-csrf-token") or await _form_token(request)
        if not hmac.compare_digest(sent.encode(), request.state.csrf.encode()):
            raise HTTPException(
                403, "The page was out of date, or the request did not come from it. Load it again."
            )


async def _form_token(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return ""
    form = await request.form(max_files=8, max_fields=10_000)
    token = form.get("csrf", "")
    return token if isinstance(token, str) else ""


def _same_origin(request: Request) -> None:
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    strange = site not in (None, "same-origin", "none")
    strange = strange or (origin is not None and urlsplit(origin).netloc != host)
    if strange:
        raise HTTPException(403, "Expected a request from a page of this server.")


def _identify(request: Request) -> None:
    platform = platform_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        row = st.find_token(platform.store, secret.strip())
        if row is None:
            raise HTTPException(
                401,
                "Expected a valid token; it is unknown, expired or revoked. "
                "Make another on the page Account, or `lanternfish login` again.",
                {"WWW-Authenticate": "Bearer"},
            )
        request.state.actor = _actor(platform, request, row, "token")
        return
    cookie = request.cookies.get(platform.configuration.cookie)
    row = st.find_session(platform.store, cookie) if cookie else None
    if row is not None:
        request.state.actor = _actor(platform, request, row, "session")
        request.state.csrf = row.csrf


def _actor(platform: Platform, request: Request, row: Row, via: str) -> Actor:
    mine = st.groups_of(platform.store, row.user_id)
    if row.user_admin:
        standing = {group.id for group in mine}
        others = [g for g in st.list_groups(platform.store) if g.id not in standing]
        mine = [*mine, *others]
    wanted = request.query_params.get("group") or request.cookies.get(GROUP_COOKIE)
    shown = next((g for g in mine if g.id == wanted or g.name == wanted), mine[0] if mine else None)
    return Actor(row.user_id, row.user_name, bool(row.user_admin), tuple(mine), shown, via)


Finder = Callable[[Platform, Request, Actor], tuple[Any, str]]


@dataclass(frozen=True)
class Gate:
    """The check of one route: `action` in the group that owns the `of` which the path names."""

    action: Action | None
    of: str | None

    @property
    def words(self) -> str:
        """As the OpenAPI document says it."""
        if self.action is None:
            return "user"
        return f"{self.action} {self.of}" if self.of else str(self.action)

    def __call__(self, request: Request) -> None:
        actor: Actor | None = request.state.actor
        if actor is None:
            raise HTTPException(401, "Expected somebody signed in.", {"WWW-Authenticate": "Bearer"})
        if self.action is None:
            return
        if self.action is Action.GOVERN:
            if not actor.admin:
                raise HTTPException(403, "Only administrators may do this.")
            return
        found, group = _FINDERS[self.of or "group"](platform_of(request), request, actor)
        role = actor.role(group)
        if role is None:
            raise HTTPException(404, f"There is no such {_WORDS.get(self.of or '', self.of)}.")
        if not allows(role, self.action):
            raise HTTPException(403, f"A {role} of this group may not do this.")
        if self.action is Action.RUN and self.of in _OWNED and not allows(role, Action.MANAGE):
            self._own(request, found, actor)
        setattr(request.state, self.of or "group", found)

    def _own(self, request: Request, found: Row, actor: Actor) -> None:
        """A member changes what is theirs; what is another's needs an owner of the group."""
        changes = self.of == "upload" or request.method == "DELETE"
        changes = changes or request.url.path.endswith(("/cancel", "/delete"))
        if changes and found.user_id != actor.id:
            raise HTTPException(
                403, "It is another member's; only an owner of the group may do this."
            )


def _by_path(name: str, find: Callable[[st.Store, str], Row | None]) -> Finder:
    def finder(platform: Platform, request: Request, actor: Actor) -> tuple[Any, str]:
        row = find(platform.store, request.path_params[f"{name}_id"])
        if row is None or getattr(row, "deleted", None) is not None:
            raise HTTPException(404, f"There is no such {_WORDS.get(name, name)}.")
        return row, row.group_id if name != "group" else row.id

    return finder


def _batch(platform: Platform, request: Request, actor: Actor) -> tuple[Any, str]:
    batch = request.path_params["batch_id"]
    group = pages.group_of_batch(platform.store, batch)
    if group is None:
        raise HTTPException(404, "There is no such batch.")
    return batch, group


def _shown_group(platform: Platform, request: Request, actor: Actor) -> tuple[Any, str]:
    """The group of the path, or the one that is asked for, or shown."""
    if "group_id" in request.path_params:
        return _by_path("group", st.find_group)(platform, request, actor)
    wanted = request.query_params.get("group")
    if wanted and (actor.group is None or wanted not in (actor.group.id, actor.group.name)):
        raise HTTPException(404, "There is no such group.")
    if actor.group is None:
        raise HTTPException(403, "You are in no group yet: ask for an invitation.")
    return actor.group, actor.group.id


_FINDERS: dict[str, Finder] = {
    "job": _by_path("job", st.find_job),
    "dataset": _by_path("dataset", st.find_dataset),
    "upload": _by_path("upload", st.find_upload),
    "group": _shown_group,
    "batch": _batch,
}
_OWNED = frozenset({"job", "dataset", "upload"})
_WORDS = {"dataset": "data set"}
PUBLIC: dict[str, Any] = {"openapi_extra": {"x-access": "public", "security": []}}


def allow(action: Action | None = None, of: str | None = None) -> dict[str, Any]:
    """Keywords of a route: its gate, and the same said in the OpenAPI document.

    Args:
        action: what is done; None: anybody who is signed in may.
        of: "job", "dataset", "upload", "batch" or "group" named by the path; for "group" without
            one in the path, the group that is asked for (`?group=`) or shown.
    """
    gate = Gate(action, of)
    return {"dependencies": [Depends(gate)], "openapi_extra": {"x-access": gate.words}}
