"""What the routes share: store, configuration, streams, catalogue of analyses."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from lanternfish.service.server.configuration import Configuration
from lanternfish.service.store import Store
from lanternfish.service.store.identity import new_secret

if TYPE_CHECKING:
    from lanternfish.service.server.catalogue import Catalogue
    from lanternfish.service.server.growing import Growing
    from lanternfish.service.server.hub import Hub
    from lanternfish.service.server.oidc import SignInWith

START_SECONDS = 600.0  # that a link into a personal server holds


@dataclass
class StartKeys:
    """Links that let the owner of a personal server in, once each."""

    keys: dict[str, float] = field(default_factory=dict)

    def new(self) -> str:
        secret = new_secret()
        self.keys[hashlib.sha256(secret.encode()).hexdigest()] = time.monotonic() + START_SECONDS
        return secret

    def use(self, secret: str) -> bool:
        """Whether the key opens; it does so once."""
        ends = self.keys.pop(hashlib.sha256(secret.encode()).hexdigest(), 0.0)
        return ends > time.monotonic()


@dataclass
class Platform:
    """One running server."""

    configuration: Configuration
    store: Store
    hub: Hub
    growing: Growing
    catalogue: Catalogue
    start_keys: StartKeys = field(default_factory=StartKeys)
    provider: SignInWith | None = None  # of accounts of elsewhere
    owner: str = ""  # personal mode: the one user's id


def platform_of(request: Request) -> Platform:
    return request.app.state.platform
