"""Ways in and out: sign-in and its limit, cookies, cross-site requests, invitations, headers."""

import httpx
import pytest
from server_kit import PASSWORD, PATIENCE, serving, upload

from lanternfish.service import store as st
from lanternfish.service.server.passwords import complaint
from lanternfish.service.server.sign_in import inside

PAGE = {"Accept": "text/html"}


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path, sign_in_tries=3) as running:
        owner = running.user("owner", email="owner@example.org")
        running.group = st.create_group(running.store, "lab", owner=owner).id
        running.user("admin", admin=True)
        yield running


@pytest.fixture
def mine(tmp_path):
    with serving(tmp_path, personal=True) as running:
        yield running


def sign_in(server, name, password):
    return httpx.post(
        f"{server.url}/sign-in", data={"name": name, "password": password}, timeout=PATIENCE
    )


def test_signing_in_by_name_or_address_and_out_again(server):
    for name in ("owner", "owner@example.org"):
        answer = sign_in(server, name, PASSWORD)
        assert answer.status_code == 303
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
    with server.browser("owner") as browser:
        page = browser.get("/account")
        csrf = page.text.split('name="csrf" content="')[1].split('"')[0]
        assert browser.post("/sign-out", data={"csrf": csrf}).status_code == 303
        assert browser.get("/account", headers=PAGE).headers["Location"].startswith("/sign-in")


def test_wrong_guesses_make_everybody_wait_who_comes_from_there(server):
    for _ in range(3):
        assert sign_in(server, "owner", "a wrong password").status_code == 401
    refused = sign_in(server, "owner", PASSWORD)
    assert refused.status_code == 429
    assert int(refused.headers.get("Retry-After", "1")) > 0
    told = {"name": "admin", "password": PASSWORD}
    assert (
        httpx.post(f"{server.url}/api/v1/sign-in", json=told, timeout=PATIENCE).status_code == 429
    )


def test_an_unknown_name_and_a_wrong_password_look_alike(server):
    unknown = sign_in(server, "nobody at all", "a wrong password")
    wrong = sign_in(server, "owner", "a wrong password")
    assert unknown.status_code == wrong.status_code == 401
    assert "The name or the password is wrong." in wrong.text


@pytest.mark.parametrize("path", ["/account/tokens", "/sign-out", "/data/point", "/group"])
def test_a_form_without_our_token_is_refused(server, path):
    with server.browser("owner") as browser:
        for data in ({}, {"csrf": "forged"}):
            assert browser.post(path, data=data).status_code == 403
        assert browser.post(path, headers={"X-CSRF-Token": "forged"}).status_code == 403


def test_requests_of_other_sites_are_refused_even_with_the_token(server):
    with server.browser("owner") as browser:
        csrf = browser.get("/account").text.split('name="csrf" content="')[1].split('"')[0]
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            told = headers | {"X-CSRF-Token": csrf}
            assert browser.post("/account/tokens", headers=told).status_code == 403
    answer = httpx.post(
        f"{server.url}/sign-in",
        data={"name": "owner", "password": PASSWORD},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403


def test_cookies_open_the_api_with_the_token_of_the_page_only(server):
    with server.browser("owner") as browser:
        csrf = browser.get("/account").text.split('name="csrf" content="')[1].split('"')[0]
        body = {"name": "from a page"}
        assert browser.post("/api/v1/tokens", json=body).status_code == 403
        made = browser.post("/api/v1/tokens", json=body, headers={"X-CSRF-Token": csrf})
        assert made.status_code == 201
        assert made.json()["secret"].startswith("lf_")


def test_invitations_make_accounts_until_they_are_used_up(server):
    with server.client("owner") as owner:
        made = owner.post(f"/api/v1/groups/{server.group}/invitations", json={"role": "viewer"})
    place = made.json()["address"]
    assert "lab" in httpx.get(place, headers=PAGE, timeout=PATIENCE).text
    short = httpx.post(place, data={"name": "Nora", "password": "short"}, timeout=PATIENCE)
    assert short.status_code == 422
    assert "10 characters" in short.text
    joined = httpx.post(
        place, data={"name": "Nora", "password": "a long password"}, timeout=PATIENCE
    )
    assert joined.status_code == 303
    nora = st.find_user(server.store, name="Nora")
    assert st.role_of(server.store, nora.id, server.group) == "viewer"
    assert httpx.get(place, headers=PAGE, timeout=PATIENCE).status_code == 410


def test_an_expired_invitation_says_so(server):
    code, _ = st.create_invitation(server.store, server.group, "member", seconds=-1)
    assert httpx.get(f"{server.url}/join/{code}", headers=PAGE, timeout=PATIENCE).status_code == 410


def test_guessing_invitations_is_limited(server):
    answers = [
        httpx.get(f"{server.url}/join/guess{i}", timeout=PATIENCE).status_code for i in range(5)
    ]
    assert answers == [404, 404, 404, 429, 429]


def test_the_last_owner_stays(server):
    owner = st.find_user(server.store, name="owner").id
    st.set_member(server.store, server.user("viewer"), server.group, "viewer")
    with server.client("owner") as client:
        gone = client.delete(f"/api/v1/groups/{server.group}/members/{owner}")
    assert gone.status_code == 409
    assert st.role_of(server.store, owner, server.group) == "owner"


def test_a_personal_server_lets_in_by_its_link_once(mine):
    key = mine.platform.start_keys.new()
    assert (
        httpx.get(f"{mine.url}/analyses", headers=PAGE, timeout=PATIENCE)
        .headers["Location"]
        .startswith("/sign-in")
    )
    with httpx.Client(base_url=mine.url) as browser:
        assert browser.get(f"/start?key={key}").headers["Location"] == "/analyses"
        assert browser.get("/analyses").status_code == 200
    again = httpx.get(f"{mine.url}/start?key={key}", timeout=PATIENCE)
    assert again.headers["Location"] == "/sign-in"
    assert (
        "lanternfish serve" in httpx.get(f"{mine.url}/sign-in", headers=PAGE, timeout=PATIENCE).text
    )
    token = mine.configuration.folder / "token"
    assert token.stat().st_mode & 0o077 == 0


def test_other_host_names_are_refused(mine):
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1"):
        answer = httpx.get(f"{mine.url}/health", headers={"Host": host}, timeout=PATIENCE)
        assert answer.status_code in (400, 421)


@pytest.mark.parametrize("path", ["/sign-in", "/health", "/api/v1/me", "/no/such/page"])
def test_every_answer_forbids_foreign_scripts_and_frames(server, path):
    headers = httpx.get(f"{server.url}{path}", timeout=PATIENCE).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_no_page_has_inline_scripts_or_styles():
    from lanternfish.service.server.rendering import WEB

    for template in (WEB / "templates").glob("*.html"):
        text = template.read_text()
        assert " style=" not in text, template
        assert "<style" not in text, template
        assert " onclick=" not in text, template
        for script in text.split("<script")[1:]:
            assert " src=" in script.split(">")[0], template
        assert "|safe" not in text, template


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\nb", ""]
)
def test_after_sign_in_nobody_is_sent_elsewhere(target):
    assert inside(target) == "/analyses"
    assert inside("/jobs?show=failed") == "/jobs?show=failed"


def test_bad_passwords_are_told_in_a_sentence():
    assert "10 characters" in complaint("short")
    assert "three different" in complaint("aaaaaaaaaaaa")
    assert "other than the name" in complaint("Nora Nora Nora", "nora nora nora")
    assert complaint("a long password") == ""


def test_downloads_have_ranges_tags_and_stay_harmless(server):
    with server.client("owner") as client:
        dataset = upload(client, "page.html", b"<script>alert(1)</script>0123456789")
        place = f"/api/v1/datasets/{dataset}/content"
        whole = client.get(place)
        assert whole.headers["Content-Type"] == "application/octet-stream"
        assert whole.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in whole.headers["Content-Security-Policy"]
        part = client.get(place, headers={"Range": "bytes=25-28"})
        assert (part.status_code, part.content) == (206, b"0123")
        assert part.headers["Content-Range"] == "bytes 25-28/35"
        assert client.get(place, headers={"Range": "bytes=-3"}).content == b"789"
        assert client.get(place, headers={"Range": "bytes=30-"}).content == b"56789"
        beyond = client.get(place, headers={"Range": "bytes=35-"})
        assert beyond.status_code == 416
        assert client.get(place, headers={"Range": "nonsense"}).status_code == 200
        tag = whole.headers["ETag"]
        assert client.get(place, headers={"If-None-Match": tag}).status_code == 304
        stale = {"Range": "bytes=0-1", "If-Range": '"other"'}
        assert client.get(place, headers=stale).status_code == 200
        assert client.head(place).headers["Content-Length"] == "35"


def test_paths_of_the_machine_are_for_personal_servers_and_named_folders(mine, tmp_path_factory):
    data = tmp_path_factory.mktemp("elsewhere") / "recording.csv"
    data.write_text("1,2\n")
    with mine.client("owner") as client:
        made = client.post("/api/v1/datasets", json={"location": str(data)})
        assert made.status_code == 201
        assert made.json()["size"] == 4
        gone = client.post("/api/v1/datasets", json={"location": str(data) + ".not"})
        assert gone.status_code == 422
        assert "there is none" in gone.json()["detail"]
        inner = client.post(
            "/api/v1/datasets", json={"location": str(mine.configuration.folder / "token")}
        )
        assert inner.status_code == 403


def test_shared_servers_refuse_paths_outside_of_their_folders(tmp_path):
    allowed = tmp_path / "shared"
    allowed.mkdir()
    (allowed / "a.csv").write_text("1")
    (tmp_path / "secret.csv").write_text("2")
    (allowed / "link.csv").symlink_to(tmp_path / "secret.csv")
    with serving(tmp_path / "lab", local_data=(allowed,)) as server:
        user = server.user("mara")
        st.create_group(server.store, "lab", owner=user)
        with server.client("mara") as client:

            def ask(path):
                return client.post("/api/v1/datasets", json={"location": str(path)}).status_code

            assert ask(allowed / "a.csv") == 201
            assert ask(tmp_path / "secret.csv") == 403
            assert ask(allowed / ".." / "secret.csv") == 403
            assert ask(allowed / "link.csv") == 403
            assert ask("/etc/passwd") == 403


def test_the_form_gives_a_job_its_title_seed_and_limit(server):
    told = {"verb": "start", "title": "Timed", "seed": "4", "minutes": "1.5"}
    told |= {"/to": "2", "/pause": "0"}
    with server.client("owner") as client:
        answer = client.post("/analyses/count/new", data=told)
        assert answer.status_code == 303, answer.text
    job = st.find_job(server.store, answer.headers["Location"].rsplit("/", 1)[-1])
    assert (job.title, job.seed, job.seconds_limit) == ("Timed", 4, 90.0)
    assert job.parent_id is None


def test_health_and_metrics(server):
    assert httpx.get(f"{server.url}/health", timeout=PATIENCE).json()["status"] == "ok"
    with server.client("owner") as owner:
        assert owner.get("/metrics").status_code == 403
    with server.client("admin") as admin:
        text = admin.get("/metrics").text
    assert 'lanternfish_jobs{state="queued"} 0' in text
    assert "lanternfish_request_seconds_bucket" in text
    assert 'route="/health"' in text


@pytest.mark.parametrize("before", [2**63, 2**80, -(2**80)])
def test_numbers_that_no_database_holds_are_numbers(server, before):
    sign_in(server, "owner", "wrong password here")
    with server.client("admin") as admin:
        found = admin.get("/api/v1/admin/audit", params={"before": before})
    assert found.status_code == 200
    assert bool(found.json()) == (before > 0)


def test_who_did_what_is_kept(server):
    with server.browser("admin") as admin:
        assert "sign-in" in admin.get("/admin").text
    sign_in(server, "owner", "wrong password here")
    with server.client("admin") as admin:
        deeds = admin.get("/api/v1/admin/audit").json()
    refused = next(d for d in deeds if d["action"] == "sign-in refused")
    assert refused["object"] == "owner"
    assert refused["address"] == "127.0.0.1"
