"""The page of one's own account: password, tokens, where one is signed in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.server.access import allow
from lanternfish.service.server.configuration import DAY
from lanternfish.service.server.passwords import complaint, hashed, matches
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.rendering import page
from lanternfish.service.server.sign_in import audit, signed_in
from lanternfish.service.store import pages

router = APIRouter()


@router.get("/account", **allow())
def account(request: Request) -> Response:
    """Tokens, sign-ins, password."""
    return _account(request)


@router.post("/account/tokens", **allow())
def make_token(
    request: Request, name: Annotated[str, Form()] = "", days: Annotated[str, Form()] = ""
) -> Response:
    """Make a token; it is shown this once."""
    if not name.strip():
        return _account(request, problem="Expected a name for the token, as that of a machine.")
    seconds = float(days) * DAY if days in ("7", "90", "365") else None
    store, actor = platform_of(request).store, request.state.actor
    secret, row = st.create_token(store, actor.id, name.strip(), seconds=seconds)
    audit(request, "make token", object=row.id)
    return _account(request, secret=secret)


@router.post("/account/tokens/{token_id}/revoke", **allow())
def revoke(request: Request, token_id: str) -> Response:
    """End a token."""
    st.revoke_token(platform_of(request).store, token_id, request.state.actor.id)
    audit(request, "revoke token", object=token_id)
    return RedirectResponse("/account", 303)


@router.post("/account/password", **allow())
def password(
    request: Request, old: Annotated[str, Form()] = "", new: Annotated[str, Form()] = ""
) -> Response:
    """Change the password; all other sign-ins end."""
    store, actor = platform_of(request).store, request.state.actor
    user = st.find_user(store, id=actor.id)
    if user is None or not matches(user.password_hash, old):
        st.note_failure(store, f"sign-in of {actor.name.casefold()}")
        return _account(request, problem="The old password is wrong.")
    if problem := complaint(new, actor.name):
        return _account(request, problem=problem)
    st.change_user(store, actor.id, password_hash=hashed(new))
    audit(request, "change password")
    return signed_in(request, actor.id, "/account")


@router.post("/account/sign-out-everywhere", **allow())
def sign_out_everywhere(request: Request) -> Response:
    """End all sign-ins, this one too."""
    st.end_sessions(platform_of(request).store, request.state.actor.id)
    audit(request, "sign out everywhere")
    return RedirectResponse("/sign-in", 303)


def _account(request: Request, secret: str = "", problem: str = "") -> Response:
    store, actor = platform_of(request).store, request.state.actor
    user = st.find_user(store, id=actor.id)
    return page(
        request,
        "account.html",
        422 if problem else 200,
        tokens=st.tokens_of(store, actor.id),
        sessions=pages.sessions_of(store, actor.id),
        secret=secret,
        problem=problem,
        has_password=bool(user and user.password_hash),
        url=platform_of(request).configuration.url,
    )
