"""The OpenAPI document: of the API, and (for the tests) of every route."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

_SECURITY = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A personal access token, from the page Account.",
    }
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document that is published."""
    if app.openapi_schema is None:
        routes = [route for route in _routes(app.state.api) if route.include_in_schema]
        app.openapi_schema = _made(app, routes)
    return app.openapi_schema


def full_document(app: FastAPI) -> dict[str, Any]:
    """With the pages, which are for browsers."""
    routes = _routes([*app.state.api, *app.state.pages])
    hidden = [route for route in routes if not route.include_in_schema]
    for route in hidden:
        route.include_in_schema = True
    try:
        return _made(app, routes)
    finally:
        for route in hidden:
            route.include_in_schema = False


def _routes(routers: list[APIRouter]) -> list[APIRoute]:
    """As they stand in the routers, whatever a release of FastAPI makes of them in the app."""
    return [route for each in routers for route in each.routes if isinstance(route, APIRoute)]


def _made(app: FastAPI, routes: list[APIRoute]) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=routes
    )
    made.setdefault("components", {})["securitySchemes"] = _SECURITY
    made["security"] = [{"token": []}]
    refused = {"description": "Refused: `detail` is a sentence that says why."}
    for path in made["paths"].values():
        for operation in path.values():
            if operation.get("x-access") != "public":
                for status in ("401", "403", "404"):
                    operation["responses"].setdefault(status, refused)
    return made
