"""Stylesheet, scripts and Plotly's script; their addresses change with their content."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from starlette.responses import FileResponse, Response

from lanternfish.service.server.access import PUBLIC
from lanternfish.service.server.rendering import STATIC, plotly_script, static

router = APIRouter()
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/static/{version}/{name}", **PUBLIC)
def file(version: str, name: str) -> Response:
    """A file of ours, or Plotly's script out of its wheel."""
    known = {path.name for path in STATIC.iterdir()} | {"plotly.min.js"}
    if name not in known:
        raise HTTPException(404, "There is no such file.")
    path = plotly_script() if name == "plotly.min.js" else STATIC / name
    fresh = static(name).split("/")[2] == version
    return FileResponse(path, headers=_FOR_EVER if fresh else {"Cache-Control": "no-cache"})
