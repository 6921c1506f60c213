"""Administration as pages: users, groups with quotas, workers, environments, who did what."""

from __future__ import annotations

import shutil
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.analyses import built
from lanternfish.service.jobs import MICRO, Action
from lanternfish.service.server import admin_api
from lanternfish.service.server.access import allow
from lanternfish.service.server.platform import Platform, platform_of
from lanternfish.service.server.rendering import page
from lanternfish.service.server.typed import number, whole
from lanternfish.service.store import pages

router = APIRouter()
GB = 1_000_000_000


@router.get("/admin", **allow(Action.GOVERN))
def overview(request: Request, before: int | None = None) -> Response:
    """Everything at one glance."""
    return _admin(request, before=before)


@router.post("/admin/users", **allow(Action.GOVERN))
def make_user(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    email: Annotated[str, Form()] = "",
    admin: Annotated[str, Form()] = "",
) -> Response:
    """Make a user with a first password."""
    try:
        asked = admin_api.UserAsked(name=name, password=password, email=email, admin=bool(admin))
        admin_api.make_user(request, asked)
    except (HTTPException, st.StoreError) as error:
        return _admin(request, problem=_words(error))
    except ValidationError:
        return _admin(request, problem="Expected a shorter name, password or address.")
    return RedirectResponse("/admin", 303)


@router.post("/admin/users/{user_id}", **allow(Action.GOVERN))
def change_user(request: Request, user_id: str, verb: Annotated[str, Form()] = "") -> Response:
    """Disable, enable, make or unmake an administrator."""
    changes = {
        "disable": admin_api.UserChanged(disabled=True),
        "enable": admin_api.UserChanged(disabled=False),
        "promote": admin_api.UserChanged(admin=True),
        "demote": admin_api.UserChanged(admin=False),
    }
    if verb not in changes:
        raise HTTPException(422, "Expected disable, enable, promote or demote.")
    try:
        admin_api.change_user(request, user_id, changes[verb])
    except st.ConflictError as error:
        return _admin(request, problem=str(error))
    return RedirectResponse("/admin", 303)


@router.post("/admin/groups", **allow(Action.GOVERN))
def make_group(request: Request, name: Annotated[str, Form()] = "") -> Response:
    """Make a group."""
    try:
        made = admin_api.make_group(request, admin_api.GroupAsked(name=name.strip()))
    except st.StoreError as error:
        return _admin(request, problem=_words(error))
    except ValidationError:
        return _admin(request, problem="Expected a name of 2 to 100 characters.")
    return RedirectResponse(f"/admin/groups/{made.id}", 303)


@router.post("/admin/environments/{key}/remove", **allow(Action.GOVERN))
def remove_environment(request: Request, key: str) -> Response:
    """Remove an environment that an analysis has built."""
    try:
        admin_api.remove_environment(request, key)
    except st.ConflictError as error:
        return _admin(request, problem=str(error))
    return RedirectResponse("/admin", 303)


@router.get("/admin/groups/{group_id}", **allow(Action.GOVERN))
def group(request: Request, group_id: str) -> Response:
    """Budget and quotas of a group."""
    return _limits(request, group_id)


@router.post("/admin/groups/{group_id}", **allow(Action.GOVERN))
def change_group(
    request: Request,
    group_id: str,
    name: Annotated[str, Form()] = "",
    budget: Annotated[str, Form()] = "",
    storage: Annotated[str, Form()] = "",
    max_running: Annotated[str, Form()] = "",
    max_queued: Annotated[str, Form()] = "",
) -> Response:
    """Change budget and quotas; empty is unlimited."""
    try:
        asked = admin_api.GroupAsked(
            name=name.strip(),
            budget=number(budget) if budget.strip() else None,
            storage_quota=round(number(storage) * GB) if storage.strip() else None,
            max_running=whole(max_running) if max_running.strip() else None,
            max_queued=whole(max_queued) if max_queued.strip() else None,
        )
        admin_api.change_group(request, group_id, asked)
    except ValidationError as error:
        first = error.errors()[0]
        return _limits(request, group_id, f"{first['loc'][0]}: {first['msg']}.")
    except (ValueError, st.ConflictError) as error:
        return _limits(request, group_id, str(error))
    return RedirectResponse("/admin", 303)


def _limits(request: Request, group_id: str, problem: str = "") -> Response:
    row = st.find_group(platform_of(request).store, group_id)
    if row is None:
        raise st.NotFoundError("There is no such group.")
    return page(
        request,
        "admin_group.html",
        422 if problem else 200,
        shown=row,
        problem=problem,
        budget="" if row.budget is None else f"{row.budget / MICRO:g}",
        storage="" if row.storage_quota is None else f"{row.storage_quota / GB:g}",
    )


def _admin(request: Request, problem: str = "", before: int | None = None) -> Response:
    platform = platform_of(request)
    store = platform.store
    used = {row.id: st.storage_used(store, row.id) for row in st.list_groups(store)}
    trail = st.trail(store, before=before, limit=50)
    return page(
        request,
        "admin.html",
        422 if problem else 200,
        problem=problem,
        users=st.list_users(store),
        all_groups=st.list_groups(store),
        used=used,
        workers=st.list_workers(store),
        counts=st.counts_of(store),
        totals=pages.totals(store),
        watching=platform.hub.watching,
        free=shutil.disk_usage(platform.configuration.folder).free,
        broken=platform.catalogue.broken(),
        environments=built.kept(platform.configuration.folder / built.FOLDER),
        unbuilt=_unbuilt(platform),
        trail=trail,
        older=trail[-1].id if len(trail) == 50 else None,
    )


def _unbuilt(platform: Platform) -> list[tuple[str, str]]:
    """Title, and cost in words, of analyses whose environment is not built here."""
    folder = platform.configuration.folder / built.FOLDER
    return [
        (each.title, built.cost_in_words(each.environment))
        for each in platform.catalogue.all()
        if each.environment and not built.is_built(each.environment, folder)
    ]


def _words(error: Exception) -> str:
    return str(error.detail) if isinstance(error, HTTPException) else str(error)
