"""Pages of data: drop, list, look, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.jobs import Action
from lanternfish.service.server import data_api, views
from lanternfish.service.server.access import allow
from lanternfish.service.server.errors import Mistake
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.rendering import page
from lanternfish.service.store import pages

router = APIRouter()
ROWS = 50


@router.get("/data", **allow(Action.SEE, "group"))
def listing(request: Request, before: str | None = None, text: str = "") -> Response:
    """The group's data sets, unfinished uploads, and where to drop more."""
    return _listing(request, before, text)


@router.post("/data/point", **allow(Action.RUN, "group"))
def point(request: Request, location: Annotated[str, Form()] = "") -> Response:
    """Use data where they are."""
    try:
        data_api.register(request, location)
    except Mistake as error:
        return _listing(request, None, "", location=location, problem=error.detail)
    return RedirectResponse("/data", 303)


@router.get("/data/{dataset_id}", **allow(Action.SEE, "dataset"))
def look(request: Request, dataset_id: str) -> Response:
    """One data set and the jobs that used it."""
    store, row = platform_of(request).store, request.state.dataset
    used = views.listed(store, pages.jobs_that_used(store, row.id))
    user = st.find_user(store, id=row.user_id)
    return page(
        request,
        "dataset.html",
        data=row,
        jobs=used,
        user=user.name if user else "somebody who left",
        analyses=platform_of(request).catalogue.all(),
    )


@router.post("/data/{dataset_id}/delete", **allow(Action.RUN, "dataset"))
def delete(request: Request, dataset_id: str) -> Response:
    """Delete a data set."""
    data_api.delete(request, dataset_id)
    return RedirectResponse("/data", 303)


@router.post("/data/uploads/{upload_id}/delete", **allow(Action.RUN, "upload"))
def give_up(request: Request, upload_id: str) -> Response:
    """Forget an unfinished upload."""
    st.drop_upload(platform_of(request).store, upload_id)
    return RedirectResponse("/data", 303)


def _listing(
    request: Request, before: str | None, text: str, location: str = "", problem: str = ""
) -> Response:
    platform, group = platform_of(request), request.state.group
    rows = st.datasets_of(platform.store, group.id, before=before, limit=ROWS + 1, text=text[:200])
    uploads = st.uploads_of(platform.store, group.id)
    return page(
        request,
        "data.html",
        422 if problem else 200,
        rows=rows[:ROWS],
        older=rows[ROWS - 1].id if len(rows) > ROWS else None,
        before=before,
        text=text,
        uploads=[] if before else uploads,
        arriving=set(platform.growing.locks),
        may_upload=request.state.actor.may(Action.RUN, group.id),
        may_point=platform.configuration.personal
        or bool(platform.configuration.local_data or platform.configuration.buckets),
        location=location,
        problem=problem,
        used=st.storage_used(platform.store, group.id),
    )
