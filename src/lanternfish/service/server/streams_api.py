"""Streams of server-sent events: a job as it runs, and that a group's jobs changed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from lanternfish.service.jobs import Action
from lanternfish.service.server.access import allow
from lanternfish.service.server.hub import Position
from lanternfish.service.server.platform import platform_of
from lanternfish.service.store import last_event

router = APIRouter(prefix="/api/v1", tags=["streams"])
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx passes each at once
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Events, until the end."}
}


@router.get(
    "/jobs/{job_id}/stream",
    **allow(Action.SEE, "job"),
    response_class=StreamingResponse,
    responses=_STREAM,
)
async def job(request: Request, job_id: str, after: str = "") -> StreamingResponse:
    """State, log, metrics, progress and use of a job as they come.

    Each event's id is `EVENT.OFFSET` of the database; `Last-Event-ID`, or `after`, resumes there
    without gap or repeat. `end` is the last.
    """
    return _answer(request, "job", job_id, after)


@router.get(
    "/groups/{group_id}/stream",
    **allow(Action.SEE, "group"),
    response_class=StreamingResponse,
    responses=_STREAM,
)
async def group(request: Request, group_id: str, after: str = "") -> StreamingResponse:
    """`change` whenever a job or data set of the group does, from now on or after an id."""
    if not after:
        newest = await run_in_threadpool(last_event, platform_of(request).store, group=group_id)
        after = str(newest)
    return _answer(request, "group", group_id, after)


def _answer(request: Request, kind: str, key: str, after: str) -> StreamingResponse:
    since = Position.parse(request.headers.get("last-event-id") or after)
    body = platform_of(request).hub.stream(kind, key, since)
    return StreamingResponse(body, media_type="text/event-stream", headers=_HEADERS)
