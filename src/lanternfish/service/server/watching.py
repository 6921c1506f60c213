"""Structured logs and Prometheus metrics of requests."""

from __future__ import annotations

import json
import logging
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "lanternfish_requests", "Requests answered.", ["method", "route", "status"], registry=REGISTRY
)
SECONDS = Histogram(
    "lanternfish_request_seconds",
    "Time until the answer began.",
    ["route"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
RECEIVED = Counter("lanternfish_received_bytes", "Bytes of request bodies.", registry=REGISTRY)
_log = logging.getLogger("lanternfish.request")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what `extra={"told": …}` holds."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


class RequestLog:
    """Counts and logs every request; paths are kept without their query, which may hold keys."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status, took = time.perf_counter(), 500, None

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                RECEIVED.inc(len(message.get("body", b"")))
            return message

        async def sending(message: Message) -> None:
            nonlocal status, took
            if message["type"] == "http.response.start":
                status, took = message["status"], time.perf_counter() - begun
            await send(message)

        try:
            await self.app(scope, receiving, sending)
        finally:
            self._note(scope, status, took if took is not None else time.perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        REQUESTS.labels(scope["method"], route, status).inc()
        SECONDS.labels(route).observe(seconds)
        state = scope.get("state", {})
        actor = state.get("actor") if isinstance(state, dict) else None
        _log.info(
            "%s %s %s",
            scope["method"],
            _known(scope["path"]),
            status,
            extra={
                "told": {
                    "method": scope["method"],
                    "path": _known(scope["path"]),
                    "status": status,
                    "ms": round(1000 * seconds, 1),
                    "user": getattr(actor, "name", None),
                    "address": (scope.get("client") or ("",))[0],
                }
            },
        )


def _known(path: str) -> str:
    """The path without secrets: invitation codes stand in it."""
    return "/join/…" if path.startswith("/join/") else path
