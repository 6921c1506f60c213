"""Who may do what: every route of the OpenAPI document against every kind of person.

The matrix is drawn from the document (`x-access`). A route that is not classified, or whose
classification the table below does not know, fails here.
"""

import contextlib
import json

import httpx
import pytest
from fastapi.routing import APIRoute
from server_kit import PASSWORD, serving

from lanternfish.service import store as st
from lanternfish.service.server.openapi import full_document

PEOPLE = ("nobody", "expired", "stranger", "viewer", "member", "owner", "admin")

# Lowest of PEOPLE who may, by what the route says that it asks for.
LEAST = {
    "public": "nobody",
    "user": "stranger",
    "see job": "viewer",
    "see dataset": "viewer",
    "see batch": "viewer",
    "see group": "viewer",
    "run job": "member",
    "run dataset": "member",
    "run upload": "member",
    "run batch": "member",
    "run group": "member",
    "manage group": "owner",
    "govern": "admin",
}
REFUSED = {401, 403, 404}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("access"), sign_in_tries=10_000) as running:
        store = running.store
        owner = running.user("owner")
        running.group = st.create_group(store, "lab", owner=owner).id
        for name in ("viewer", "member"):
            st.set_member(store, running.user(name), running.group, name)
        stranger = running.user("stranger")
        running.other = st.create_group(store, "other lab", owner=stranger).id
        running.user("admin", admin=True)
        expired, _ = st.create_token(store, owner, "old", seconds=-1)
        running.tokens["expired"] = expired
        yield running


@pytest.fixture(scope="module")
def document(server):
    return full_document(server.app)


def routes(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def test_every_route_says_what_it_asks_for(server, document):
    for method, path, operation in routes(document):
        assert operation.get("x-access") in LEAST, f"{method} {path} is not classified"
    in_document = {(method, path) for method, path, _ in routes(document)}
    ours = [*server.app.state.api, *server.app.state.pages]
    for entry in server.app.routes:  # either the routers themselves, or what is in them
        router = getattr(entry, "original_router", None)
        if router is not None:
            assert router in ours
        else:
            assert isinstance(entry, APIRoute), f"{entry} is outside of the document"
            assert (next(iter(entry.methods)), entry.path_format) in in_document
    for router in ours:
        for route in router.routes:
            assert isinstance(route, APIRoute), f"{route} is outside of the document"
            for method in route.methods:
                assert (method, route.path_format) in in_document, f"{method} {route.path}"


def make(server, user):
    """Something of each kind, owned by the lab."""
    store, found = server.store, {}
    actor = st.find_user(store, name=user)
    sub = st.Submission(server.group, actor.id, "count", "1.0", {"to": 1, "pause": 0})
    found["job_id"] = st.submit(store, sub).id
    found["batch_id"] = st.find_job(store, found["job_id"]).batch
    blob = "ab" * 32
    found["dataset_id"] = st.add_dataset(store, server.group, actor.id, "x.csv", 4, blob).id
    found["upload_id"] = st.begin_upload(store, server.group, actor.id, "half.csv", 10).id
    found["group_id"] = server.group
    found["user_id"] = st.find_user(store, name="viewer").id
    _, invitation = st.create_invitation(store, server.group, "viewer", actor.id)
    found["invitation_id"] = invitation.id
    found["token_id"] = "none"
    found["name"], found["key"] = "count", "none"
    found["path"] = "count.csv"
    found["code"], found["version"] = "no-such-code", "none"
    return found


@pytest.fixture(scope="module")
def clients(server):
    with contextlib.ExitStack() as stack:
        names = {who: "" if who == "nobody" else who for who in PEOPLE}
        yield {who: stack.enter_context(server.client(name)) for who, name in names.items()}


def call(server, client, method, path, made):
    target = path.replace("{path}", made["path"])
    for name, value in made.items():
        target = target.replace("{" + name + "}", value)
    query = {} if "group_id" in path else {"group": server.group}
    if "stream" in path:
        with client.stream(method, target) as answer:
            return answer.status_code
    body = {}
    if method in ("POST", "PUT", "PATCH"):
        body = {"content": b"{}", "headers": {"Content-Type": "application/json"}}
    return client.request(method, target, params=query, **body).status_code


def test_the_matrix(server, document, clients):
    """All who should be refused are; nobody who may is told that they may not."""
    wrong = []
    made = make(server, "member")
    for method, path, operation in routes(document):
        least = PEOPLE.index(LEAST[operation["x-access"]])
        if operation["x-access"] == "public":
            continue
        gone = removes = method == "DELETE" or path.endswith(("/delete", "/remove"))
        for i, who in enumerate(PEOPLE):
            if gone:
                made |= make(server, "member")
            status = call(server, clients[who], method, path, made)
            allowed = i >= least
            gone = removes and allowed
            if not allowed and status not in REFUSED | {303}:
                wrong.append(f"{who} was let into {method} {path}: {status}")
            if not allowed and who in ("nobody", "expired") and status not in (401, 303):
                wrong.append(f"{who} at {method} {path}: {status}, expected 401")
            if allowed and status in (401, 403):
                wrong.append(f"{who} was refused at {method} {path}: {status}")
        _restore(server)
    assert not wrong, "\n".join(wrong)


def _restore(server):
    """Undo what allowed people did to people on the way."""
    store = server.store
    for name in ("viewer", "member", "owner"):
        user = st.find_user(store, name=name)
        st.set_member(store, user.id, server.group, name)
    st.change_group(store, server.group, name="lab")


def test_members_cancel_and_delete_their_own_only(server):
    made = make(server, "owner")
    with server.client("member") as member:
        for method, target in (
            ("POST", f"/api/v1/jobs/{made['job_id']}/cancel"),
            ("DELETE", f"/api/v1/jobs/{made['job_id']}"),
            ("DELETE", f"/api/v1/datasets/{made['dataset_id']}"),
            ("DELETE", f"/api/v1/uploads/{made['upload_id']}"),
        ):
            assert member.request(method, target).status_code == 403
    own = make(server, "member")
    with server.client("member") as member:
        assert member.post(f"/api/v1/jobs/{own['job_id']}/cancel").json()["state"] == "cancelled"
        assert member.delete(f"/api/v1/jobs/{own['job_id']}").status_code == 204


def test_strangers_cannot_tell_what_is_there(server):
    made = make(server, "member")
    with server.client("stranger") as stranger:
        there = stranger.get(f"/api/v1/jobs/{made['job_id']}")
        nowhere = stranger.get("/api/v1/jobs/00000000000000000000000000")
    assert there.status_code == nowhere.status_code == 404
    assert there.json() == nowhere.json()


def test_nobody_takes_anothers_data_into_a_job(server):
    made = make(server, "member")
    wanted = {"analysis": "count", "inputs": [{"lines": made["dataset_id"]}]}
    with server.client("stranger") as stranger:
        answer = stranger.post("/api/v1/jobs", json=wanted)
    assert answer.status_code == 422
    assert "/inputs/lines" in answer.json()["errors"]


def test_a_token_that_was_ended_opens_nothing(server):
    user = st.find_user(server.store, name="viewer").id
    secret, row = st.create_token(server.store, user, "short")
    headers = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{server.url}/api/v1/me", headers=headers).status_code == 200
    st.revoke_token(server.store, row.id, user)
    assert httpx.get(f"{server.url}/api/v1/me", headers=headers).status_code == 401


def test_a_disabled_user_is_out_at_once(server):
    user = server.user("leaver")
    with server.browser("leaver") as browser:
        assert browser.get("/account").status_code == 200
        st.change_user(server.store, user, disabled=True)
        assert browser.get("/api/v1/me").status_code == 401
    with server.client("leaver") as client:
        assert client.get("/api/v1/me").status_code == 401
    answer = httpx.post(f"{server.url}/sign-in", data={"name": "leaver", "password": PASSWORD})
    assert answer.status_code == 401


def test_the_document_is_json_and_says_the_errors(server, document):
    text = json.dumps(document)
    assert "lf_" in text
    answers = document["paths"]["/api/v1/jobs/{job_id}"]["get"]["responses"]
    assert {"401", "403", "404"} <= set(answers)
