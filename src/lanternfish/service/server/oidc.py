"""Signing in with an account of elsewhere: OpenID Connect, authorisation code with PKCE.

    browser -> provider (state, nonce, challenge) -> back with a code -> tokens -> who it is

What was asked for stands in a cookie of the browser that asked, so that an answer in another
browser is refused, and a restart of the server forgets nothing. The ID token must be signed by a
key of the provider, be for us, be fresh, and carry the nonce.

Reference: OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3.7; RFC 7636 (PKCE); RFC 9207 (`iss`).
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from lanternfish.service.server.configuration import Provider
from lanternfish.service.store.identity import new_secret

ALGORITHMS = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
]  # signatures with a provider's private key, and no others
SCOPE = "openid profile email"
SECONDS = 600  # in which the provider's page must be answered
LEEWAY = 60  # seconds that clocks may differ
KEPT = 3_600.0  # seconds that the provider's addresses and keys are kept


class SignInRefused(Exception):
    """The provider's answer is not to be believed, or says no; one sentence for the user."""


@dataclass(frozen=True)
class Asked:
    """What one browser asked for; it stands in a cookie until the answer."""

    state: str
    nonce: str
    verifier: str
    begun: float
    next: str = "/analyses"
    invitation: str = ""

    def sealed(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(self.__dict__).encode()).decode().rstrip("=")

    @classmethod
    def opened(cls, cookie: str) -> Asked:
        """What the cookie says; refused where there is none, or none of ours."""
        try:
            plain = json.loads(base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
            made = cls(**plain)
            texts = (made.state, made.nonce, made.verifier, made.next, made.invitation)
            if not all(isinstance(each, str) for each in texts) or not made.state:
                raise ValueError
            begun = float(made.begun)
        except (ValueError, TypeError):
            raise SignInRefused(
                "This sign-in was not begun in this browser; begin again."
            ) from None
        if not 0 <= time.time() - begun <= SECONDS:
            raise SignInRefused("This sign-in took too long; begin again.")
        return made


@dataclass(frozen=True)
class Person:
    """Who the provider says that it is; `email` only where the provider has verified it."""

    issuer: str
    subject: str
    name: str
    email: str | None


@dataclass
class SignInWith:
    """One provider: its addresses and keys, asked for when they are needed."""

    provider: Provider
    redirect: str
    _told: dict[str, Any] = field(default_factory=dict)
    _keys: dict[str, Any] = field(default_factory=dict)
    _until: float = 0.0

    def begin(self, next: str = "/analyses", invitation: str = "") -> tuple[str, Asked]:
        """The address of the provider's page, and what to keep until the answer."""
        asked = Asked(
            new_secret(), new_secret(), new_secret() + new_secret(), time.time(), next, invitation
        )
        with self._client() as client:
            address, _ = client.create_authorization_url(
                self._addresses()["authorization_endpoint"],
                state=asked.state,
                nonce=asked.nonce,
                code_verifier=asked.verifier,
            )
        return address, asked

    def finish(self, answer: Mapping[str, str], asked: Asked) -> Person:
        """Who signed in, from the query with which the browser came back.

        Raises:
            SignInRefused: the answer is another browser's, forged, stale, or a refusal.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), asked.state.encode()):
            raise SignInRefused("This answer belongs to another sign-in; begin again.")
        if answer.get("iss", self.provider.issuer) != self.provider.issuer:
            raise SignInRefused("This answer comes from another provider; begin again.")
        if "error" in answer:
            told = answer.get("error_description") or answer["error"]
            raise SignInRefused(f"{self.provider.name} refused: {told[:200]}.")
        if not answer.get("code"):
            raise SignInRefused(f"{self.provider.name} sent no code; begin again.")
        tokens = self._tokens(answer["code"], asked)
        claims = self._claims(str(tokens.get("id_token", "")), asked)
        if "email" not in claims:
            claims = {**self._more(str(tokens.get("access_token", "")), claims["sub"]), **claims}
        verified = claims.get("email_verified") is True and isinstance(claims.get("email"), str)
        name = claims.get("name") or claims.get("preferred_username") or ""
        email = str(claims["email"]).strip() if verified else None
        return Person(self.provider.issuer, claims["sub"], str(name), email)

    def _client(self) -> Any:
        from authlib.integrations.httpx_client import OAuth2Client

        return OAuth2Client(
            self.provider.client_id,
            self.provider.client_secret or None,
            scope=SCOPE,
            redirect_uri=self.redirect,
            code_challenge_method="S256",
            token_endpoint_auth_method=(
                "client_secret_basic" if self.provider.client_secret else "none"
            ),
            timeout=10,
        )

    def _tokens(self, code: str, asked: Asked) -> Mapping[str, Any]:
        from authlib.common.errors import AuthlibBaseError

        try:
            with self._client() as client:
                return client.fetch_token(
                    self._addresses()["token_endpoint"],
                    code=code,
                    code_verifier=asked.verifier,
                    grant_type="authorization_code",
                )
        except (AuthlibBaseError, httpx.HTTPError, ValueError):
            raise SignInRefused(
                f"{self.provider.name} did not accept the code that it sent; begin again."
            ) from None

    def _claims(self, token: str, asked: Asked) -> dict[str, Any]:
        """The claims of an ID token that holds: signature, issuer, audience, times, nonce."""
        claims = self._signed(token)
        audience = claims.get("aud")
        audience = audience if isinstance(audience, list) else [audience]
        now, mine = time.time(), self.provider.client_id
        expires, issued = _moment(claims.get("exp")), _moment(claims.get("iat"))
        nonce = claims.get("nonce")
        holds = {
            "another issuer": claims.get("iss") == self.provider.issuer,
            "another audience": mine in audience
            and (len(audience) == 1 or claims.get("azp") == mine),
            "another party": claims.get("azp", mine) == mine,
            "no times": expires is not None and issued is not None,
            "a time that is over": now < (expires or 0) + LEEWAY,
            "a time to come": (issued or 0) < now + LEEWAY,
            "another nonce": isinstance(nonce, str)
            and hmac.compare_digest(nonce.encode(), asked.nonce.encode()),
            "no subject": isinstance(claims.get("sub"), str) and 0 < len(claims["sub"]) <= 200,
        }
        for wrong, right in holds.items():
            if not right:
                raise SignInRefused(
                    f"The ID token of {self.provider.name} cannot be believed: it has {wrong}."
                )
        return claims

    def _signed(self, token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        for fresh in (False, True):  # keys change: they are asked for again, once
            try:
                keys = KeySet.import_key_set(self._key_set(fresh))  # type: ignore[arg-type]
                return dict(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
            except (JoseError, ValueError, KeyError, TypeError):
                continue
        raise SignInRefused(
            f"The ID token of {self.provider.name} cannot be believed: no key of its signs it."
        )

    def _more(self, token: str, subject: str) -> dict[str, Any]:
        """Name and address of the user-info endpoint, where the ID token had none."""
        address = self._addresses().get("userinfo_endpoint")
        if not address or not token:
            return {}
        told = self._get(address, {"Authorization": f"Bearer {token}"})
        if told.get("sub") != subject:
            raise SignInRefused(f"{self.provider.name} told of somebody else; begin again.")
        return told

    def _addresses(self) -> dict[str, Any]:
        """The provider's configuration document."""
        if not self._told or time.monotonic() > self._until:
            issuer = self.provider.issuer
            told = self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
            if told.get("issuer") != issuer:
                raise SignInRefused(
                    f"Expected the issuer {issuer}; its document tells of another. "
                    "An administrator must look at the server's configuration."
                )
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                _check_address(str(told.get(name, "")), self.provider)
            self._told, self._keys, self._until = told, {}, time.monotonic() + KEPT
        return self._told

    def _key_set(self, fresh: bool) -> dict[str, Any]:
        if fresh or not self._keys:
            self._keys = self._get(self._addresses()["jwks_uri"])
        return self._keys

    def _get(self, address: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        _check_address(address, self.provider)
        try:
            answer = httpx.get(address, headers=headers, timeout=10)
            answer.raise_for_status()
            told = answer.json()
        except (httpx.HTTPError, ValueError):
            raise SignInRefused(
                f"{self.provider.name} does not answer; try again in a moment."
            ) from None
        if not isinstance(told, dict):
            raise SignInRefused(f"{self.provider.name} answers strangely; try again in a moment.")
        return told


def _moment(claim: Any) -> float | None:
    """A time of a token, in seconds since 1970."""
    return float(claim) if isinstance(claim, int | float) else None


def _check_address(address: str, provider: Provider) -> None:
    """Only encrypted addresses; this machine's own may be plain."""
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" and parts.hostname) and not local:
        raise SignInRefused(
            f"Expected {provider.name} at an https:// address; got {address[:100]!r}. "
            "An administrator must look at the server's configuration."
        )
