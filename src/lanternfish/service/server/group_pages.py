"""The page of a group: members, invitations, budget, storage, who did what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.jobs import Action, Role
from lanternfish.service.server import people_api
from lanternfish.service.server.access import allow
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.rendering import page

router = APIRouter()


@router.get("/groups/{group_id}", **allow(Action.SEE, "group"))
def group(request: Request, group_id: str) -> Response:
    """Members, budget, storage; for owners invitations and the trail."""
    return _group(request)


@router.post("/groups/{group_id}/invitations", **allow(Action.MANAGE, "group"))
def invite(
    request: Request,
    group_id: str,
    role: Annotated[str, Form()] = "member",
    days: Annotated[str, Form()] = "7",
    uses: Annotated[str, Form()] = "1",
) -> Response:
    """Make an invitation; its address is shown this once."""
    if role not in ("viewer", "member", "owner") or not (days.isdigit() and uses.isdigit()):
        raise HTTPException(422, "Expected a role, and days and uses as whole numbers.")
    asked = people_api.InvitationAsked(
        role=Role(role), days=min(max(int(days), 1), 90), uses=min(max(int(uses), 1), 1_000)
    )
    made = people_api.invite(request, group_id, asked)
    return _group(request, invited=made.address)


@router.post(
    "/groups/{group_id}/invitations/{invitation_id}/revoke", **allow(Action.MANAGE, "group")
)
def revoke(request: Request, group_id: str, invitation_id: str) -> Response:
    """End an invitation."""
    people_api.revoke_invitation(request, group_id, invitation_id)
    return RedirectResponse(f"/groups/{group_id}", 303)


@router.post("/groups/{group_id}/members/{user_id}", **allow(Action.MANAGE, "group"))
def member(
    request: Request, group_id: str, user_id: str, role: Annotated[str, Form()] = ""
) -> Response:
    """Change a member's role, or remove them."""
    try:
        if role == "remove":
            people_api.remove(request, group_id, user_id)
        elif role in ("viewer", "member", "owner"):
            people_api.set_role(request, group_id, user_id, Role(role))
        else:
            raise HTTPException(422, "Expected a role of viewer, member or owner.")
    except st.ConflictError as error:
        return _group(request, problem=str(error))
    return RedirectResponse(f"/groups/{group_id}", 303)


def _group(request: Request, invited: str = "", problem: str = "") -> Response:
    store, actor, row = platform_of(request).store, request.state.actor, request.state.group
    manages = actor.may(Action.MANAGE, row.id)
    return page(
        request,
        "group.html",
        409 if problem else 200,
        shown=st.find_group(store, row.id),
        members=st.members_of(store, row.id),
        invitations=st.invitations_of(store, row.id) if manages else [],
        manages=manages,
        used=st.storage_used(store, row.id),
        charges=st.charges_of(store, row.id, limit=20),
        trail=st.trail(store, group=row.id, limit=30) if manages else [],
        counts=st.counts_of(store, row.id),
        invited=invited,
        problem=problem,
    )
