"""Refusals: a status, one sentence, and where it helps a sentence for each wrong setting."""

from __future__ import annotations

import errno
import logging
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.server.rendering import page
from lanternfish.service.server.tus import VERSION, Refusal

_log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (st.NotFoundError, 404),
    (st.ConflictError, 409),
    (st.OverBudgetError, 409),
    (st.OverQuotaError, 413),
    (st.ExpiredError, 410),
    (st.StoreError, 400),
)
_TITLES = {
    400: "That did not work",
    401: "Please sign in",
    403: "Not allowed",
    404: "Not here",
    405: "Not allowed",
    409: "That did not work",
    410: "No longer valid",
    413: "Too large",
    422: "That did not work",
    429: "Too many tries",
    503: "Busy",
    507: "The disk is full",
}


class Mistake(HTTPException):
    """Something wrong in what was sent: 422, with a sentence for each JSON pointer."""

    def __init__(self, sentence: str, errors: dict[str, str] | None = None, status: int = 422):
        super().__init__(status, sentence)
        self.errors = errors or {}


def answer(request: Request, status: int, sentence: str, **more) -> Response:
    """A refusal as a page for a browser that shows pages, as JSON for all others."""
    headers = more.pop("headers", None) or {}
    path = request.url.path
    if path.startswith("/api/v1/uploads"):
        headers["Tus-Resumable"] = VERSION
    accepts = request.headers.get("accept", "")
    if path.startswith("/api/") or "text/html" not in accepts:
        return JSONResponse({"detail": sentence, **more}, status, headers)
    if status == 401:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        back = (
            f"?next={quote(target, safe='')}" if request.method == "GET" and target != "/" else ""
        )
        return RedirectResponse(f"/sign-in{back}", 303)
    title = _TITLES.get(status, "Something went wrong")
    made = page(request, "error.html", status, title=title, sentence=sentence)
    made.headers.update(headers)
    return made


def install(app: FastAPI) -> None:
    """Handlers for all that may be raised below."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        more = {"errors": error.errors} if isinstance(error, Mistake) and error.errors else {}
        detail = error.detail if error.detail != "Not Found" else "There is no such page."
        return answer(request, error.status_code, detail, headers=dict(error.headers or {}), **more)

    async def refused(request: Request, error: Exception) -> Response:
        status = next(s for kind, s in _STATUS if isinstance(error, kind))
        return answer(request, status, str(error))

    async def tus(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        headers = {"Tus-Resumable": VERSION, "Tus-Version": VERSION}
        return JSONResponse({"detail": error.sentence}, error.status, headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = {_pointer(e["loc"]): f"{e['msg']}." for e in error.errors()}
        words = "; ".join(f"{p or 'body'}: {s}" for p, s in errors.items())
        return answer(request, 422, f"Expected other values. {words}", errors=errors)

    async def busy(request: Request, error: Exception) -> Response:
        _log.warning("database does not answer: %s", error)
        sentence = "The database does not answer just now. Nothing is lost; try again in a moment."
        return answer(request, 503, sentence, headers={"Retry-After": "2"})

    async def system(request: Request, error: Exception) -> Response:
        assert isinstance(error, OSError)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = "The server's disk is full. Nothing is lost; delete data or jobs, or wait."
            return answer(request, 507, sentence)
        return await unexpected(request, error)

    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("unexpected", exc_info=error)
        return answer(request, 500, "lanternfish did not expect this. The server's log says more.")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(st.StoreError, refused)
    app.add_exception_handler(Refusal, tus)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(OperationalError, busy)
    app.add_exception_handler(PoolTimeout, busy)
    app.add_exception_handler(OSError, system)
    app.add_exception_handler(Exception, unexpected)


def _pointer(location: tuple) -> str:
    return "".join(f"/{part}" for part in location[1:])
