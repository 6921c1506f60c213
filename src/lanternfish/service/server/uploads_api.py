"""The tus endpoints: create, ask, append, give up."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lanternfish.service import store as st
from lanternfish.service.jobs import Action
from lanternfish.service.server import tus
from lanternfish.service.server.access import PUBLIC, allow
from lanternfish.service.server.configuration import DAY
from lanternfish.service.server.direct import KEY, Connection
from lanternfish.service.server.platform import platform_of

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])


class UploadSeen(BaseModel):
    """An upload as it stands; `dataset` is set once it is whole and hashed."""

    id: str
    name: str
    size: int
    offset: int
    expires: float
    dataset: str | None = None
    problem: str | None = None


def _headers(row: Row) -> dict[str, str]:
    found = {"Tus-Resumable": tus.VERSION, "Upload-Offset": str(row.offset)}
    if row.dataset_id is None:
        found["Upload-Expires"] = formatdate(row.expires, usegmt=True)
    return found


@router.options("", **PUBLIC, status_code=204, response_class=Response)
@router.options("/{upload_id}", **PUBLIC, status_code=204, response_class=Response)
def options(request: Request) -> Response:
    """What this server can do of the tus protocol."""
    largest = platform_of(request).configuration.largest_upload
    return Response(status_code=204, headers=tus.options_headers(largest))


@router.post("", **allow(Action.RUN, "group"), status_code=201, response_class=Response)
async def create(request: Request) -> Response:
    """Announce a file (tus creation): its length, and its name as metadata `filename`.

    Metadata `sha256` (hexadecimal) is checked at the end. A body of type
    application/offset+octet-stream is its first bytes.
    """
    platform, actor, group = platform_of(request), request.state.actor, request.state.group
    tus.check_version(request.headers)
    made = tus.creation(request.headers, platform.configuration.largest_upload)
    wanted = made.metadata.get("group")
    if wanted and wanted not in (group.id, group.name):
        group = next((g for g in actor.groups if wanted in (g.id, g.name)), None)
        if group is None or not actor.may(Action.RUN, group.id):
            raise HTTPException(403, "Expected a group in which you may upload.")
    row = await run_in_threadpool(
        st.begin_upload,
        platform.store,
        group.id,
        actor.id,
        made.name,
        made.size,
        metadata=made.metadata,
        sha256=made.metadata.get("sha256"),
        seconds=platform.configuration.upload_days * DAY,
    )
    headers = _headers(row) | {"Location": f"{router.prefix}/{row.id}"}
    if request.headers.get("content-type") == tus.OFFSET_TYPE or made.size == 0:
        headers["Upload-Offset"] = str(await _append(request, row, 0))
    return Response(status_code=201, headers=headers)


@router.head("/{upload_id}", **allow(Action.RUN, "upload"), response_class=Response)
def offset(request: Request, upload_id: str) -> Response:
    """The bytes that are on disk and confirmed (tus core)."""
    row = _alive(request.state.upload)
    length = {"Upload-Length": str(row.length), "Cache-Control": "no-store"}
    return Response(status_code=200, headers=_headers(row) | length)


@router.get("/{upload_id}", **allow(Action.RUN, "upload"))
def look(request: Request, upload_id: str) -> UploadSeen:
    """An upload as it stands."""
    row, platform = request.state.upload, platform_of(request)
    return UploadSeen(
        id=row.id,
        name=row.name,
        size=row.length,
        offset=row.offset,
        expires=row.expires,
        dataset=row.dataset_id,
        problem=platform.growing.problems.get(row.id),
    )


@router.patch(
    "/{upload_id}", **allow(Action.RUN, "upload"), status_code=204, response_class=Response
)
async def append(request: Request, upload_id: str) -> Response:
    """Append bytes at the confirmed offset (tus core, checksum)."""
    tus.check_version(request.headers)
    row = _alive(request.state.upload)
    if request.headers.get("content-type") != tus.OFFSET_TYPE:
        raise tus.Refusal(415, f"Expected bytes of type {tus.OFFSET_TYPE}.")
    begin = tus.natural(request.headers.get("upload-offset"), "Upload-Offset")
    reached = await _append(request, row, begin)
    return Response(status_code=204, headers=_headers(row) | {"Upload-Offset": str(reached)})


@router.post(
    "/{upload_id}", **allow(Action.RUN, "upload"), status_code=204, response_class=Response
)
async def overridden(request: Request, upload_id: str) -> Response:
    """PATCH for clients that can only POST (X-HTTP-Method-Override)."""
    if request.headers.get("x-http-method-override", "").upper() != "PATCH":
        raise tus.Refusal(405, "Expected PATCH.")
    return await append(request, upload_id)


@router.delete(
    "/{upload_id}", **allow(Action.RUN, "upload"), status_code=204, response_class=Response
)
def give_up(request: Request, upload_id: str) -> Response:
    """Forget an unfinished upload and its bytes (tus termination)."""
    platform, row = platform_of(request), request.state.upload
    if row.dataset_id is not None:
        raise tus.Refusal(409, "The upload is finished: delete the data set instead.")
    if row.id in platform.growing.locks:
        raise tus.Refusal(423, "Another request is writing to this upload; try again in a moment.")
    st.drop_upload(platform.store, row.id)
    return Response(status_code=204, headers={"Tus-Resumable": tus.VERSION})


async def _append(request: Request, row: Row, begin: int) -> int:
    platform = platform_of(request)
    check = tus.checksum(request.headers)
    try:
        direct = _direct(request)
        reached = await platform.growing.append(row, begin, request.stream(), check, direct)
    except ClientDisconnect:
        raise tus.Refusal(400, "The connection broke; what came is kept.") from None
    if reached == row.length:
        await platform.growing.end(row.id)
    return reached


def _direct(request: Request) -> tuple[Connection, int] | None:
    """The connection and the length of the body; None where the length is not told."""
    connection, length = request.scope.get(KEY), request.headers.get("content-length", "")
    if connection is None or not length.isdigit() or "transfer-encoding" in request.headers:
        return None
    return connection, int(length)


def _alive(row: Any) -> Row:
    if row.dataset_id is None and row.expires < time.time():
        raise tus.Refusal(410, "This upload has expired; begin it again.")
    return row
