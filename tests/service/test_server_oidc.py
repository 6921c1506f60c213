"""Signing in with OpenID Connect: a small real provider on loopback, and its hostile kin."""

import base64
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from server_kit import PASSWORD, serving

from lanternfish.service import store as st
from lanternfish.service.server import read_configuration
from lanternfish.service.server.configuration import Provider

pytest.importorskip("authlib")
jwk = pytest.importorskip("joserfc.jwk")
CLIENT, SECRET = "lanternfish", "a client's secret"


@dataclass
class Elsewhere:
    """A provider: signs in whom `person` says, at once, and is as honest as `twist` lets it be."""

    url: str = ""
    person: dict = field(default_factory=dict)
    twist: dict = field(default_factory=dict)  # claims of the ID token that are changed
    answer: dict = field(default_factory=dict)  # of the way back
    document: dict = field(default_factory=dict)
    codes: dict = field(default_factory=dict)
    key: object = None
    published: object = None
    algorithm: str = "RS256"

    def told(self) -> dict:
        places = ("authorize", "token", "jwks", "userinfo")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
        found = {n: f"{self.url}/{p}" for n, p in zip(names, places, strict=True)}
        return {"issuer": self.url, **found, **self.document}

    def authorize(self, query: dict) -> str:
        """Somebody signs in there: the address to go back to."""
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.url, **self.answer}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, form: dict, authorization: str) -> dict | None:
        """Tokens for a code: once, for its client, with the verifier of its challenge."""
        from joserfc import jwt

        asked = self.codes.pop(form["code"], None)
        client = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked is None or authorization != client:
            return None
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300}
        claims |= {"nonce": asked["nonce"], **self.person, **self.twist}
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm, "kid": "one"}
        token = jwt.encode(header, claims, self.key, algorithms=[self.algorithm])
        return {"access_token": "opens", "token_type": "Bearer", "id_token": token}


@pytest.fixture(scope="module")
def keys():
    return [jwk.RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}) for _ in range(2)]


@pytest.fixture(scope="module")
def provider_server():
    place = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Silent."""

        def send(self, status, told=None, **headers):
            body = json.dumps(told).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            parts = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(parts.query).items()}
            if parts.path == "/.well-known/openid-configuration":
                self.send(200, place.told())
            elif parts.path == "/authorize":
                self.send(303, Location=place.authorize(query))
            elif parts.path == "/jwks":
                self.send(200, {"keys": [place.published.as_dict(private=False)]})
            elif self.headers["Authorization"] == "Bearer opens":
                self.send(200, {"sub": place.person["sub"], "name": "Told Elsewhere"})
            else:
                self.send(401)

        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {k: v[0] for k, v in parse_qs(text).items()}
            told = place.token(form, self.headers.get("Authorization", ""))
            self.send(200 if told else 400, told or {"error": "invalid_grant"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    place.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield place
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def elsewhere(provider_server, keys):
    """The provider, honest again, and what it says of Ida."""
    place = provider_server
    place.person = {"sub": "ida-1", "name": "Ida Wells", "email": "ida@example.org"}
    place.person |= {"email_verified": True}
    place.twist, place.answer, place.document, place.codes = {}, {}, {}, {}
    place.key = place.published = keys[0]
    place.algorithm = "RS256"
    return place


@pytest.fixture(scope="module")
def server(provider_server, tmp_path_factory):
    told = Provider(provider_server.url, CLIENT, SECRET, "Somewhere University")
    folder = tmp_path_factory.mktemp("oidc")
    with serving(folder, sign_in_with=told, sign_in_tries=1_000) as running:
        owner = running.user("owner")
        running.group = st.create_group(running.store, "lab", owner=owner).id
        running.owner = owner
        yield running


@pytest.fixture
def lab(server, elsewhere):
    """The server, whose provider is asked anew."""
    server.platform.provider._until = 0.0
    return server


def browser(server):
    return httpx.Client(base_url=server.url, timeout=30)


def sign_in(client, **query):
    """There and back, as a browser goes; the last answer."""
    there = client.get("/sign-in/with", params=query)
    assert there.status_code == 303, there.text
    back = httpx.get(there.headers["Location"])
    return client.get(back.headers["Location"])


def invitation(server):
    return st.create_invitation(server.store, server.group, "member", server.owner)[0]


def who(client):
    answer = client.get("/account")
    return answer.text if answer.status_code == 200 else ""


def test_an_invited_person_comes_in_and_is_known_the_next_time(lab, elsewhere):
    with browser(lab) as client:
        page = client.get("/sign-in").text
        assert "Sign in with Somewhere University" in page
        assert sign_in(client).status_code == 403  # nobody has invited Ida
        code = invitation(lab)
        assert "Join with Somewhere University" in client.get(f"/join/{code}").text
        came = sign_in(client, invitation=code)
        assert (came.status_code, came.headers["Location"]) == (303, "/analyses")
        assert "Ida Wells" in who(client)
    user = st.find_user(lab.store, issuer=elsewhere.url, subject="ida-1")
    assert (user.name, user.email, user.password_hash) == ("Ida Wells", "ida@example.org", None)
    assert st.role_of(lab.store, user.id, lab.group) == "member"
    elsewhere.person |= {"name": "Ida B. Wells", "email": "other@example.org"}
    with browser(lab) as client:  # by her subject, whatever her address is now
        assert sign_in(client, next="/jobs").headers["Location"] == "/jobs"
        assert "Ida Wells" in who(client)
    assert len([u for u in st.list_users(lab.store) if u.subject == "ida-1"]) == 1


def test_names_are_made_to_fit_and_two_people_may_share_one(lab, elsewhere):
    for subject, wanted in (("twin-1", "Ada script"), ("twin-2", "Ada script 2")):
        elsewhere.person = {"sub": subject, "name": "  Ada<script>  "}
        with browser(lab) as client:
            assert sign_in(client, invitation=invitation(lab)).status_code == 303
        made = st.find_user(lab.store, issuer=elsewhere.url, subject=subject)
        assert (made.name, made.email) == (wanted, None)
    elsewhere.person = {"sub": "unnamed"}  # the user-info endpoint knows
    with browser(lab) as client:
        assert sign_in(client, invitation=invitation(lab)).status_code == 303
        assert "Told Elsewhere" in who(client)


def test_a_verified_address_opens_the_account_that_has_it_and_closes_other_ways(lab, elsewhere):
    user = lab.user("Rosalind", email="Rosalind@example.org")
    st.set_member(lab.store, user, lab.group, "viewer")
    with lab.browser("Rosalind") as old:
        elsewhere.person = {"sub": "r-1", "name": "R", "email": "rosalind@example.org"}
        for verified in (False, "true", None):
            elsewhere.person["email_verified"] = verified
            with browser(lab) as client:
                refused = sign_in(client)
                assert refused.status_code == 403
                assert "is not verified" in refused.text
        assert who(old)
        elsewhere.person["email_verified"] = True
        with browser(lab) as client:
            assert sign_in(client).status_code == 303
            assert "Rosalind" in who(client)
        assert not who(old)  # whoever typed the address may not have owned it
    told = {"name": "Rosalind", "password": PASSWORD}
    assert httpx.post(f"{lab.url}/sign-in", data=told).status_code == 401
    with lab.client("Rosalind") as client:
        assert client.get("/api/v1/jobs").status_code == 401
    elsewhere.person["sub"] = "r-2"  # another subject with her address
    with browser(lab) as client:
        assert sign_in(client).status_code == 403


def test_a_disabled_account_stays_closed(lab, elsewhere):
    elsewhere.person["sub"] = "gone-1"
    elsewhere.person["email"] = "gone@example.org"
    with browser(lab) as client:
        sign_in(client, invitation=invitation(lab))
    user = st.find_user(lab.store, issuer=elsewhere.url, subject="gone-1")
    st.change_user(lab.store, user.id, disabled=True)
    with browser(lab) as client:
        assert "disabled" in sign_in(client, invitation=invitation(lab)).text
        assert not who(client)


LONG_AGO, FAR_OFF = 1_600_000_000, 4_000_000_000  # s: September 2020, October 2096
TWISTS = [
    ({"nonce": "another"}, "another nonce"),
    ({"nonce": None}, "another nonce"),
    ({"iss": "https://evil.example.org"}, "another issuer"),
    ({"aud": "another client"}, "another audience"),
    ({"aud": [CLIENT, "another"]}, "another audience"),
    ({"azp": "another"}, "another party"),
    ({"exp": LONG_AGO}, "a time that is over"),
    ({"iat": FAR_OFF}, "a time to come"),
    ({"exp": None}, "no times"),
    ({"sub": None}, "no subject"),
]


@pytest.mark.parametrize(("twist", "sentence"), TWISTS, ids=lambda each: str(each)[:30])
def test_an_id_token_that_does_not_hold_is_refused(lab, elsewhere, twist, sentence):
    elsewhere.twist = twist
    with browser(lab) as client:
        refused = sign_in(client, invitation=invitation(lab))
        assert refused.status_code == 403
        assert sentence in refused.text
        assert not who(client)


def test_a_key_of_somebody_else_signs_nothing_and_new_keys_are_asked_for(lab, elsewhere, keys):
    with browser(lab) as client:
        assert sign_in(client, invitation=invitation(lab)).status_code == 303  # keys are kept now
    elsewhere.key = keys[1]
    with browser(lab) as client:
        assert "no key of its signs it" in sign_in(client).text
    elsewhere.published = keys[1]  # the provider has changed its keys
    with browser(lab) as client:
        assert sign_in(client).status_code == 303


def test_a_token_signed_with_our_own_secret_is_refused(lab, elsewhere):
    elsewhere.key, elsewhere.algorithm = jwk.OctKey.import_key(SECRET), "HS256"
    with browser(lab) as client:
        assert "no key of its signs it" in sign_in(client, invitation=invitation(lab)).text


def test_answers_of_other_sign_ins_are_refused(lab, elsewhere):
    with browser(lab) as victim, browser(lab) as attacker:
        there = attacker.get("/sign-in/with")
        back = httpx.get(there.headers["Location"]).headers["Location"]
        assert "not begun in this browser" in victim.get(back).text
        victim.get("/sign-in/with")
        assert "another sign-in" in victim.get(back).text  # the attacker's state
        assert "not begun in this browser" in victim.get(back).text  # its cookie is gone
    elsewhere.answer = {"state": "forged"}
    with browser(lab) as client:
        assert "another sign-in" in sign_in(client).text
    elsewhere.answer = {"iss": "https://evil.example.org"}
    with browser(lab) as client:
        assert "another provider" in sign_in(client).text
    elsewhere.answer = {"error": "access_denied", "error_description": "<b>No</b>"}
    with browser(lab) as client:
        assert "&lt;b&gt;No&lt;/b&gt;" in sign_in(client).text


def test_a_code_works_once_and_only_with_its_verifier(lab, elsewhere):
    with browser(lab) as client:
        there = client.get("/sign-in/with", params={"invitation": invitation(lab)})
        back = httpx.get(there.headers["Location"]).headers["Location"]
        for asked in elsewhere.codes.values():
            asked["code_challenge"] = "of another"
        assert "did not accept the code" in client.get(back).text
    elsewhere.answer = {"code": "invented"}
    with browser(lab) as client:
        assert "did not accept the code" in sign_in(client).text


def test_a_sign_in_that_took_too_long_begins_again(lab, monkeypatch):
    from lanternfish.service.server import oidc

    with browser(lab) as client:
        monkeypatch.setattr(oidc, "SECONDS", -1)
        assert "took too long" in sign_in(client).text


def test_the_way_back_leads_nowhere_else(lab):
    with browser(lab) as client:
        sign_in(client, invitation=invitation(lab))
    with browser(lab) as client:
        assert sign_in(client, next="https://evil.example.org/").headers["Location"] == "/analyses"


def test_a_provider_that_is_another_or_away_is_told(lab, elsewhere):
    elsewhere.document = {"issuer": "https://evil.example.org"}
    with browser(lab) as client:
        assert "tells of another" in client.get("/sign-in/with").text
    elsewhere.document = {"token_endpoint": "http://evil.example.org/token"}
    with browser(lab) as client:
        assert "https://" in client.get("/sign-in/with").text


def test_servers_without_a_provider_have_no_such_page(tmp_path):
    with serving(tmp_path) as server:
        assert httpx.get(f"{server.url}/sign-in/with").status_code == 404
        assert "Sign in with" not in httpx.get(f"{server.url}/sign-in").text


def test_the_file_says_which_provider(tmp_path):
    file = tmp_path / "lab.toml"
    (tmp_path / "secret").write_text("hidden\n")
    table = '[sign_in_with]\nissuer = "https://login.example.org"\nclient_id = "x"\n'
    file.write_text(table + 'client_secret_file = "secret"\nname = "Uni"\n')
    made = read_configuration(file).sign_in_with
    assert made == Provider("https://login.example.org", "x", "hidden", "Uni")
    assert "hidden" not in repr(made)
    for wrong, sentence in (
        ('[sign_in_with]\nissuer = "https://x"\n', "client_id"),
        (table + "name = 3\n", "table of texts"),
        (table + 'scope = "all"\n', "table of texts"),
        (table + 'client_secret_file = "none"\n', "secret in"),
    ):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=sentence):
            read_configuration(file)
