"""Data sets: list, register a path or bucket, download, delete."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lanternfish.service import store as st
from lanternfish.service.jobs import Action
from lanternfish.service.server import views
from lanternfish.service.server.access import allow
from lanternfish.service.server.configuration import Configuration
from lanternfish.service.server.downloads import File, send
from lanternfish.service.server.errors import Mistake
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.sign_in import audit
from lanternfish.service.store import places

router = APIRouter(prefix="/api/v1/datasets", tags=["data"])
FOLDER_FILES = 100_000  # files of a folder that are looked at to tell its size


class Place(BaseModel):
    """Data that stay where they are: a path on the server's machine, or an object of a bucket."""

    location: str = Field(
        min_length=1, max_length=4_000, examples=["/data/recording.nwb", "s3://lab/recording.nwb"]
    )
    name: str = Field(default="", max_length=200)


@router.get("", **allow(Action.SEE, "group"))
def datasets(
    request: Request, before: str | None = None, limit: int = 50, text: str = ""
) -> list[views.DatasetSeen]:
    """The group's data sets, newest first; those older than the id `before`."""
    store, group = platform_of(request).store, request.state.group
    rows = st.datasets_of(
        store, group.id, before=before, limit=min(max(limit, 1), 500), text=text[:200]
    )
    return [views.dataset(row) for row in rows]


@router.post("", **allow(Action.RUN, "group"), status_code=201)
def point(request: Request, place: Place) -> views.DatasetSeen:
    """Register data in place: any of a personal server, else in `local_data` and `buckets`."""
    return views.dataset(register(request, place.location, place.name))


@router.get("/{dataset_id}", **allow(Action.SEE, "dataset"))
def look(request: Request, dataset_id: str) -> views.DatasetSeen:
    """One data set."""
    return views.dataset(request.state.dataset)


@router.get(
    "/{dataset_id}/content",
    **allow(Action.SEE, "dataset"),
    response_class=Response,
    responses={
        206: {"description": "The range that was asked for."},
        304: {"description": "The content is known already."},
    },
)
@router.head("/{dataset_id}/content", **allow(Action.SEE, "dataset"), response_class=Response)
def content(request: Request, dataset_id: str) -> Response:
    """The bytes, whole or a range."""
    row = request.state.dataset
    if row.location is not None:
        raise st.ConflictError(f"These data stay at {row.location}; they were never uploaded.")
    return send(request, platform_of(request).store, File(row.name, row.size, row.sha256))


@router.delete("/{dataset_id}", **allow(Action.RUN, "dataset"), status_code=204)
def delete(request: Request, dataset_id: str) -> None:
    """Delete a data set; jobs that used it keep its name and hash."""
    row = request.state.dataset
    st.delete_dataset(platform_of(request).store, row.id)
    audit(request, "delete data", group=row.group_id, object=row.name)


def register(request: Request, location: str, name: str = ""):
    """Register a path or an object of a bucket; refused where users may not read it."""
    platform, group = platform_of(request), request.state.group
    if places.is_bucket(location):
        told = _object(platform.configuration, location)
    else:
        told = _path(platform.configuration, location)
    found, size, detail = told
    row = st.add_dataset(
        platform.store,
        group.id,
        request.state.actor.id,
        name or found.rstrip("/").rsplit("/", 1)[-1] or found,
        size,
        "",
        location=found,
        detail=detail,
    )
    audit(request, "point at data", group=group.id, object=found[:200])
    return row


def _path(configuration: Configuration, location: str) -> tuple[str, int, dict]:
    path = allowed_path(configuration, location)
    detail = {"folder": path.is_dir(), "modified": path.stat().st_mtime}
    return str(path), _size(path), detail


def _object(configuration: Configuration, location: str) -> tuple[str, int, dict]:
    """An existing object: any of a personal server, else below the prefixes of `buckets`."""
    try:
        address = places.clean_bucket(location)
    except st.StoreError as error:
        raise Mistake(str(error), {"/location": str(error)}) from None
    prefixes = configuration.buckets
    if not configuration.personal and not any(places.below(address, p) for p in prefixes):
        where = ", ".join(prefixes) or "none on this server"
        raise Mistake(f"Expected an object below the buckets of shared data ({where}).", status=403)
    try:
        found = places.look(address)
    except st.NotFoundError as error:
        raise Mistake(str(error), {"/location": str(error)}) from None
    return address, found.size, {"version": found.version}


def allowed_path(configuration: Configuration, location: str) -> Path:
    """An existing path that users may read: any of a personal server, else below `local_data`."""
    if "\0" in location:
        raise Mistake("Expected a path.", {"/location": "Expected a path."})
    path = Path(os.path.realpath(os.path.expanduser(location.strip())))
    if not configuration.personal:
        roots = [Path(os.path.realpath(each)) for each in configuration.local_data]
        if not any(path == root or root in path.parents for root in roots):
            where = ", ".join(map(str, configuration.local_data)) or "none on this server"
            raise Mistake(
                f"Expected a path below the folders of shared data ({where}).", status=403
            )
    if path == platform_folder(configuration) or platform_folder(configuration) in path.parents:
        raise Mistake("Expected a path outside of lanternfish's own folder.", status=403)
    if not path.exists():
        sentence = f"Expected a file or folder on this server's machine; there is none at {path}."
        raise Mistake(sentence, {"/location": sentence})
    if not os.access(path, os.R_OK):
        raise Mistake(f"Expected a path that lanternfish may read; {path} is not.")
    return path


def platform_folder(configuration: Configuration) -> Path:
    return Path(os.path.realpath(configuration.folder))


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for count, (folder, _, files) in enumerate(os.walk(path)):
        total += sum(_file_size(os.path.join(folder, each)) for each in files)
        if count > FOLDER_FILES:
            break
    return total


def _file_size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0
