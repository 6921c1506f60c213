"""The application: routes, who may use them, headers, and what runs while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lanternfish import __version__
from lanternfish.service import store as st
from lanternfish.service.server import (
    account_pages,
    admin_api,
    admin_pages,
    analyses_api,
    analysis_pages,
    data_api,
    data_pages,
    errors,
    group_pages,
    health,
    job_pages,
    jobs_api,
    oidc_pages,
    people_api,
    result_pages,
    sign_in,
    static_files,
    streams_api,
    uploads_api,
)
from lanternfish.service.server.access import identify
from lanternfish.service.server.catalogue import Catalogue
from lanternfish.service.server.configuration import Configuration
from lanternfish.service.server.growing import Growing
from lanternfish.service.server.headers import SafeHeaders
from lanternfish.service.server.hub import Hub
from lanternfish.service.server.oidc import SignInWith
from lanternfish.service.server.personal import ensure_owner
from lanternfish.service.server.platform import Platform
from lanternfish.service.server.watching import RequestLog

TIDY = 600.0  # seconds between looks for expired uploads
DESCRIPTION = """
Analyses for people who do not install anything: upload data, choose an analysis, follow the job,
download results and the certificate.

Send a personal access token (page *Account*) as `Authorization: Bearer lf_…`. Uploads follow the
[tus 1.0 protocol](https://tus.io/protocols/resumable-upload). Errors are
`{"detail": "a sentence"}`, with `errors` by JSON pointer where settings are wrong. `x-access` says
what each route asks for.
"""
_log = logging.getLogger(__name__)


def create_app(configuration: Configuration, store: st.Store | None = None) -> FastAPI:
    """The application of one server, on an open store (opened from the configuration otherwise)."""
    opened = store or st.open(
        configuration.database, configuration.folder, blobs=configuration.blobs
    )
    catalogue = Catalogue(configuration.folder, opened)
    platform = Platform(configuration, opened, Hub(opened), Growing(opened), catalogue)
    if configuration.personal:
        platform.owner = ensure_owner(opened)
    elif configuration.sign_in_with is not None:
        platform.provider = SignInWith(
            configuration.sign_in_with, f"{configuration.url}/sign-in/back"
        )

    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        platform.hub.start()
        catalogue.begin()
        tidying = asyncio.create_task(_tidy(platform))
        yield
        tidying.cancel()
        await platform.hub.stop()
        if store is None:
            opened.close()

    app = FastAPI(
        title="lanternfish",
        version=__version__,
        description=DESCRIPTION,
        lifespan=running,
        dependencies=[Depends(identify)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        separate_input_output_schemas=False,
    )
    app.state.platform = platform
    app.state.api = [module.router for module in _API]
    app.state.pages = [module.router for module in _PAGES]
    for module in _API:
        app.include_router(module.router)
    for module in _PAGES:
        app.include_router(module.router, include_in_schema=False)
    errors.install(app)
    app.add_middleware(SafeHeaders, secure=configuration.secure)
    app.add_middleware(KnownHosts, hosts=configuration.hosts)
    app.add_middleware(RequestLog)
    return app


_API = (analyses_api, data_api, uploads_api, jobs_api, streams_api, people_api, admin_api)
_PAGES = (
    static_files,
    health,
    sign_in,
    oidc_pages,
    analysis_pages,
    data_pages,
    job_pages,
    result_pages,
    account_pages,
    group_pages,
    admin_pages,
)


async def _tidy(platform: Platform) -> None:
    while True:
        try:
            await platform.growing.tidy()
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("tidying uploads failed; it is tried again")
        await asyncio.sleep(TIDY)


class KnownHosts:
    """Refuses requests for other host names, which DNS rebinding would bring."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            header = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            with contextlib.suppress(ValueError):
                if urlsplit(f"//{header}").hostname in self.hosts:
                    return await self.app(scope, receive, send)
            return await _strange_host(header, self.hosts)(scope, receive, send)
        return await self.app(scope, receive, send)


def _strange_host(header: str, hosts: frozenset[str]) -> Response:
    known = ", ".join(sorted(hosts))
    return PlainTextResponse(f"Expected a request for {known}; got one for {header[:100]!r}.", 421)
