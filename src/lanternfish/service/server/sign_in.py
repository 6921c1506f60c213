"""Ways in: the link of a personal server, name and password, invitations."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.server.access import GROUP_COOKIE, PUBLIC, allow
from lanternfish.service.server.configuration import DAY
from lanternfish.service.server.errors import Mistake
from lanternfish.service.server.passwords import complaint, hashed, matches, needs_rehash
from lanternfish.service.server.platform import Platform, platform_of
from lanternfish.service.server.rendering import page

router = APIRouter()
NAME_RULE = "Expected a name of 2 to 60 letters, digits, dots, dashes or spaces."


@router.get("/", **PUBLIC)
def home(request: Request) -> Response:
    """The first page: analyses, or the way in."""
    if request.state.actor is None:
        return RedirectResponse("/sign-in", 303)
    return RedirectResponse("/analyses", 303)


@router.get("/start", **PUBLIC)
def start(request: Request, key: str = "") -> Response:
    """The owner of a personal server comes in by the printed link."""
    platform = platform_of(request)
    if not platform.configuration.personal:
        raise HTTPException(404, "There is no such page.")
    if request.state.actor is not None:
        return RedirectResponse("/analyses", 303)
    if not platform.start_keys.use(key):
        return RedirectResponse("/sign-in", 303)
    return signed_in(request, platform.owner, "/analyses")


@router.get("/sign-in", **PUBLIC)
def form(request: Request, next: str = "/analyses") -> Response:
    """Name and password; on a personal server, how to come in."""
    if request.state.actor is not None:
        return RedirectResponse(inside(next), 303)
    return page(request, "sign_in.html", next=inside(next), name="", problem="")


@router.post("/sign-in", **PUBLIC)
def sign_in(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/analyses",
) -> Response:
    """Sign in with name and password."""
    try:
        user = checked(request, name, password)
    except HTTPException as error:
        values = {"next": inside(next), "name": name, "problem": error.detail}
        return page(request, "sign_in.html", error.status_code, **values)
    return signed_in(request, user, inside(next))


@router.post("/sign-out", **allow())
def sign_out(request: Request) -> Response:
    """End this session."""
    platform = platform_of(request)
    cookie = platform.configuration.cookie
    st.end_session(platform.store, request.cookies.get(cookie, ""))
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(cookie, path="/", secure=platform.configuration.secure, httponly=True)
    return answer


@router.get("/join/{code}", **PUBLIC)
def invitation(request: Request, code: str) -> Response:
    """What an invitation is to."""
    _shared(platform_of(request))
    slow_down(request, "invitation")
    try:
        row = st.look_at_invitation(platform_of(request).store, code)
    except st.NotFoundError:
        failed(request, "invitation")
        raise
    return page(request, "join.html", invitation=row, code=code, name="", problem="")


@router.post("/join/{code}", **PUBLIC)
def join(
    request: Request,
    code: str,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    email: Annotated[str, Form()] = "",
) -> Response:
    """Accept an invitation, with a new account where nobody is signed in."""
    platform, actor = platform_of(request), request.state.actor
    _shared(platform)
    slow_down(request, "invitation")
    row = st.look_at_invitation(platform.store, code)
    if actor is not None:
        st.use_invitation(platform.store, code, actor.id)
        audit(request, "join", group=row.group_id)
        return shows(RedirectResponse("/analyses", 303), row.group_id)
    try:
        user = new_user(platform, name, password, email)
    except (HTTPException, st.ConflictError) as error:
        problem = error.detail if isinstance(error, HTTPException) else str(error)
        return page(
            request, "join.html", 422, invitation=row, code=code, name=name, problem=problem
        )
    st.use_invitation(platform.store, code, user)
    st.record(platform.store, "join", user=user, group=row.group_id, address=address(request))
    return shows(signed_in(request, user, "/analyses"), row.group_id)


@router.post("/group", **allow())
def show_group(request: Request, group: Annotated[str, Form()]) -> Response:
    """Show another group's data and jobs from now on."""
    if request.state.actor.role(group) is None:
        raise HTTPException(404, "There is no such group.")
    back = urlsplit(request.headers.get("referer", "")).path
    listing = back if back in ("/analyses", "/data", "/jobs") else "/jobs"
    return shows(RedirectResponse(listing, 303), group)


def new_user(platform: Platform, name: str, password: str, email: str, **more) -> str:
    """Make a user; returns the id. A bad name or password is refused in a sentence."""
    name = " ".join(name.split())
    if not 2 <= len(name) <= 60 or not all(c.isalnum() or c in " ._-'" for c in name):
        raise Mistake(NAME_RULE, {"/name": NAME_RULE})
    if problem := complaint(password, name):
        raise Mistake(problem, {"/password": problem})
    fields = {"password_hash": hashed(password), "email": email.strip() or None, **more}
    return st.create_user(platform.store, name, **fields).id


def checked(request: Request, name: str, password: str) -> str:
    """Id of the user whose name (or address) and password these are; 401 or 429 otherwise."""
    platform = platform_of(request)
    name = " ".join(name.split())[:200]
    keys = [_key(request, "sign-in"), f"sign-in of {name.casefold()}"]
    slow_down(request, *keys)
    user = st.find_user(platform.store, name=name) or st.find_user(platform.store, email=name)
    if not matches(user.password_hash if user else None, password) or user is None or user.disabled:
        for key in keys:
            st.note_failure(platform.store, key)
        st.record(platform.store, "sign-in refused", object=name[:100], address=address(request))
        raise HTTPException(401, "The name or the password is wrong.")
    st.forget_failures(platform.store, keys[1])
    if needs_rehash(user.password_hash):
        st.change_user(platform.store, user.id, password_hash=hashed(password))
    return user.id


def signed_in(request: Request, user: str, target: str) -> RedirectResponse:
    """A new session; its cookie can be read by no script and is sent by no other site."""
    platform = platform_of(request)
    configuration = platform.configuration
    seconds = configuration.session_days * DAY
    agent = request.headers.get("user-agent", "")
    secret, _ = st.create_session(platform.store, user, seconds=seconds, agent=agent)
    st.record(platform.store, "sign-in", user=user, address=address(request))
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        configuration.cookie,
        secret,
        max_age=int(seconds),
        path="/",
        secure=configuration.secure,
        httponly=True,
        samesite="lax",
    )
    return answer


def audit(request: Request, action: str, *, group: str | None = None, **more) -> None:
    """Note who did what, from where."""
    actor = request.state.actor
    user = actor.id if actor else None
    st.record(
        platform_of(request).store,
        action,
        user=user,
        group=group,
        address=address(request),
        **more,
    )


def address(request: Request) -> str:
    return request.client.host if request.client else ""


def inside(target: str) -> str:
    """An address of this server, and of no other."""
    parts = urlsplit(target)
    strange = parts.scheme or parts.netloc or not target.startswith("/")
    strange = strange or target.startswith("//") or "\\" in target or "\n" in target
    return "/analyses" if strange else target


def slow_down(request: Request, *keys: str) -> None:
    platform = platform_of(request)
    limit = platform.configuration
    window = 60 * limit.sign_in_minutes
    for key in keys:
        name = _key(request, key) if key in ("invitation", "provider") else key
        if st.failures_within(platform.store, name, window) >= limit.sign_in_tries:
            sentence = f"Too many wrong tries. Wait {limit.sign_in_minutes:.0f} minutes."
            raise HTTPException(429, sentence, {"Retry-After": str(int(window))})


def failed(request: Request, what: str) -> None:
    """Count a wrong try from where the request comes."""
    st.note_failure(platform_of(request).store, _key(request, what))


def _key(request: Request, what: str) -> str:
    return f"{what} from {address(request)}"


def _shared(platform: Platform) -> None:
    if platform.configuration.personal:
        raise HTTPException(404, "A personal server has one user.")


def shows(answer: RedirectResponse, group: str) -> RedirectResponse:
    answer.set_cookie(GROUP_COOKIE, group, path="/", httponly=True, samesite="lax")
    return answer
