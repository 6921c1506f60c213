"""Whether the server is well, for those who look after it."""

from __future__ import annotations

import shutil

from fastapi import APIRouter
from prometheus_client import generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lanternfish import __version__
from lanternfish.service import store as st
from lanternfish.service.jobs import Action
from lanternfish.service.server.access import PUBLIC, allow
from lanternfish.service.server.platform import Platform, platform_of
from lanternfish.service.server.watching import REGISTRY
from lanternfish.service.store import pages

router = APIRouter()


@router.get("/health", **PUBLIC)
def health(request: Request) -> Response:
    """Whether the server and its database answer: 200 or 503."""
    platform = platform_of(request)
    try:
        pages.alive(platform.store)
    except Exception as error:  # whatever the driver raises, the answer is the same
        return JSONResponse({"status": "database away", "error": type(error).__name__}, 503)
    return JSONResponse({"status": "ok", "version": __version__})


@router.get("/metrics", **allow(Action.GOVERN))
def metrics(request: Request) -> Response:
    """Prometheus metrics; send an administrator's token."""
    text = generate_latest(REGISTRY).decode() + _gauges(platform_of(request))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _gauges(platform: Platform) -> str:
    found = {f"lanternfish_{name}": value for name, value in pages.totals(platform.store).items()}
    found["lanternfish_watchers"] = platform.hub.watching
    found["lanternfish_workers"] = len(st.list_workers(platform.store))
    found["lanternfish_disk_free_bytes"] = shutil.disk_usage(platform.configuration.folder).free
    lines = [f"# TYPE {name} gauge\n{name} {value}\n" for name, value in sorted(found.items())]
    lines.append("# TYPE lanternfish_jobs gauge\n")
    for state, count in st.counts_of(platform.store).items():
        lines.append(f'lanternfish_jobs{{state="{state}"}} {count}\n')
    return "".join(lines)
