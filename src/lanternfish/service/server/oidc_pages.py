"""The way to a provider of OpenID Connect and back, and whose account it opens."""

from __future__ import annotations

import itertools
import unicodedata

from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.server.access import PUBLIC
from lanternfish.service.server.configuration import Configuration
from lanternfish.service.server.oidc import SECONDS, Asked, Person, SignInRefused, SignInWith
from lanternfish.service.server.platform import Platform, platform_of
from lanternfish.service.server.rendering import page
from lanternfish.service.server.sign_in import (
    address,
    failed,
    inside,
    shows,
    signed_in,
    slow_down,
)

router = APIRouter()
_LONGEST = 50  # characters of a name, before what tells it from another's


@router.get("/sign-in/with", **PUBLIC)
def begin(request: Request, next: str = "/analyses", invitation: str = "") -> Response:
    """To the provider's page."""
    provider = _provider(platform_of(request))
    slow_down(request, "provider")
    try:
        target, asked = provider.begin(inside(next), invitation[:200])
    except SignInRefused as error:
        return _refused(request, str(error), 503)
    answer = RedirectResponse(target, 303)
    configuration = platform_of(request).configuration
    answer.set_cookie(
        _cookie(configuration),
        asked.sealed(),
        max_age=SECONDS,
        path="/",
        secure=configuration.secure,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/sign-in/back", **PUBLIC)
def back(request: Request) -> Response:
    """From the provider's page: who it is, and in."""
    platform = platform_of(request)
    provider, configuration = _provider(platform), platform.configuration
    slow_down(request, "provider")
    try:
        asked = Asked.opened(request.cookies.get(_cookie(configuration), ""))
        person = provider.finish(request.query_params, asked)
        user, group = _account(platform, person, asked.invitation)
    except (SignInRefused, st.StoreError) as error:
        failed(request, "provider")
        st.record(platform.store, "sign-in refused", object="provider", address=address(request))
        made = _refused(request, str(error), 403)
    else:
        made = signed_in(request, user, asked.next)
        if group:
            st.record(platform.store, "join", user=user, group=group, address=address(request))
            shows(made, group)
    made.delete_cookie(_cookie(configuration), path="/", secure=configuration.secure, httponly=True)
    return made


def _account(platform: Platform, person: Person, invitation: str) -> tuple[str, str]:
    """Id of the person's account, and of the group that it has just joined ("" for none).

    By issuer and subject; else by an address that the provider has verified; else a new account,
    for which somebody of a group must have given an invitation.
    """
    store = platform.store
    user = st.find_user(store, issuer=person.issuer, subject=person.subject)
    if user is None and person.email:
        user = _linked(platform, person)
    if user is not None and user.disabled:
        raise SignInRefused("This account is disabled; an administrator can tell you more.")
    if user is None and not invitation:
        verified = "" if person.email else " (your address there is not verified)"
        raise SignInRefused(
            f"Nobody here is known by this account{verified}. Ask the owner of a group for an "
            "invitation, open its link, and sign in from there."
        )
    group = st.look_at_invitation(store, invitation).group_id if invitation else ""
    found = user.id if user is not None else _made(platform, person)
    if invitation:
        st.use_invitation(store, invitation, found)
    return found, group


def _linked(platform: Platform, person: Person):
    """The account of a verified address, from now on opened by the provider alone.

    Whoever made it has typed the address without a proof: passwords, sign-ins and tokens that are
    not the provider's end here.
    """
    store = platform.store
    wanted = (person.email or "").casefold()
    same = [u for u in st.list_users(store) if u.email and u.email.casefold() == wanted]
    if not same or same[0].disabled:
        return same[0] if same else None
    if same[0].issuer:
        raise SignInRefused("This address belongs to an account that another sign-in opens.")
    for token in st.tokens_of(store, same[0].id):
        st.revoke_token(store, token.id, same[0].id)
    about = {"issuer": person.issuer, "subject": person.subject, "password_hash": None}
    made = st.change_user(store, same[0].id, **about)
    st.record(store, "link account", user=made.id, object=person.issuer[:100])
    return made


def _made(platform: Platform, person: Person) -> str:
    """A new account under the provider's name for the person, or one like it that is free."""
    plain = "".join(
        c if c.isalnum() or c in " ._-'" else " " for c in unicodedata.normalize("NFC", person.name)
    )
    name = " ".join(plain.split())[:_LONGEST].strip() or "somebody"
    name = name if len(name) > 1 else f"{name} {name}"
    about = {"issuer": person.issuer, "subject": person.subject, "email": person.email}
    for number in itertools.count(1):
        wanted = name if number == 1 else f"{name} {number}"
        if st.find_user(platform.store, name=wanted) is None:
            return st.create_user(platform.store, wanted, **about).id
    raise AssertionError("counting does not end")


def _provider(platform: Platform) -> SignInWith:
    if platform.provider is None:
        raise HTTPException(404, "There is no such page.")
    return platform.provider


def _cookie(configuration: Configuration) -> str:
    return f"{configuration.cookie}_provider"


def _refused(request: Request, sentence: str, status: int) -> Response:
    return page(request, "sign_in.html", status, next="/analyses", name="", problem=sentence)
