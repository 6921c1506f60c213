"""How a server is set up: defaults of a laptop, or a TOML file of a laboratory."""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lanternfish.service.analyses import built

DAY = 86_400.0
GIB = 1 << 30


@dataclass(frozen=True)
class Provider:
    """A provider of OpenID Connect, whose accounts open accounts here.

    Attributes:
        issuer: its address, exactly as its configuration document says it.
        client_id, client_secret: as registered there; no secret for a public client.
        name: on the button.
    """

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    name: str = "your institution"


@dataclass(frozen=True)
class Configuration:
    """What `lanternfish serve` reads.

    Attributes:
        folder: database (SQLite), blobs, unfinished uploads, environments, work.
        personal: one owner on this machine, no accounts; only loopback is listened on.
        host, port: where the server listens.
        address: what users type, as "https://lab.example.org"; needed behind a proxy.
        proxies: addresses of reverse proxies whose X-Forwarded-* headers are believed.
        database: SQLAlchemy URL of PostgreSQL; none: SQLite in `folder`.
        blobs: fsspec URL of an object store; none: in `folder`.
        workers: worker processes that the server starts beside itself.
        largest_upload: bytes of one file.
        upload_days: days that an unfinished upload is kept.
        session_days: days that somebody stays signed in.
        local_data: folders of this machine whose files may be used in place, without an upload.
        buckets: prefixes, as "s3://lab-data/recordings", whose objects may be; a personal server
            takes any object that its owner's credentials reach.
        names: other host names that requests may carry, as that of a health check.
        sign_in_with: a provider of OpenID Connect; a table of the file.
        sign_in_tries: failures within `sign_in_minutes` after which sign-in waits.
    """

    folder: Path
    personal: bool = True
    host: str = "127.0.0.1"
    port: int = 8765
    address: str = ""
    proxies: tuple[str, ...] = ()
    database: str | None = None
    blobs: str | None = None
    workers: int = 1
    largest_upload: int = 1024 * GIB
    upload_days: float = 7.0
    session_days: float = 30.0
    local_data: tuple[Path, ...] = ()
    buckets: tuple[str, ...] = ()
    sign_in_tries: int = 10
    sign_in_minutes: float = 15.0
    names: tuple[str, ...] = ()
    sign_in_with: Provider | None = None

    @property
    def url(self) -> str:
        """The address that users type."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.address.rstrip("/") or f"http://{host}:{self.port}"

    @property
    def secure(self) -> bool:
        return self.url.startswith("https://")

    @property
    def cookie(self) -> str:
        """Name of the session's cookie. Cookies know no ports, so the port is in the name."""
        return "__Host-lanternfish" if self.secure else f"lanternfish_{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """Host names that requests may carry: others come from DNS rebinding."""
        names = {urlsplit(self.url).hostname or ""}
        if self.personal:
            names |= {"127.0.0.1", "localhost", "::1"}
        return frozenset(names | set(self.names))


def default_folder() -> Path:
    """Where a person's data are kept, unless the variable LANTERNFISH_FOLDER says otherwise."""
    return built.home()


def read_configuration(path: Path) -> Configuration:
    """A laboratory's TOML file; unknown or wrong entries are refused by name."""
    try:
        table = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"Expected TOML in {path}: {error}.") from None
    known = {each.name: each for each in fields(Configuration)}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ValueError(
            f"Expected entries of {', '.join(sorted(known))} in {path}; got {', '.join(unknown)}."
        )
    base = path.absolute().parent
    made = Configuration(folder=base / table.pop("folder", "lanternfish-data"), personal=False)
    read = {name: _entry(name, value, made, base) for name, value in table.items()}
    return replace(made, **read)


def _entry(name: str, value: Any, made: Configuration, base: Path) -> Any:
    default = getattr(made, name)
    if name == "sign_in_with":
        return _provider(value, base)
    if name == "local_data" and isinstance(value, list):
        return tuple(base / each for each in value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = str if default is None else type(default)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ValueError(f"Expected {name} as {wanted.__name__}; got {value!r}.")
    return value


def _provider(table: Any, base: Path) -> Provider:
    """The table `sign_in_with`; the secret is in a file of its own, or in the table."""
    known = ("issuer", "client_id", "client_secret", "client_secret_file", "name")
    if not isinstance(table, dict) or not all(
        key in known and isinstance(value, str) for key, value in table.items()
    ):
        raise ValueError(
            f"Expected sign_in_with as a table of texts ({', '.join(known)}); got {table!r:.80}."
        )
    lacking = [key for key in ("issuer", "client_id") if not table.get(key)]
    if lacking:
        raise ValueError(f"Expected {' and '.join(lacking)} in sign_in_with; got none.")
    values = dict(table)
    if "client_secret_file" in values:
        file = base / values.pop("client_secret_file")
        try:
            values["client_secret"] = file.read_text().strip()
        except OSError as error:
            raise ValueError(f"Expected the client's secret in {file}: {error.strerror}.") from None
    if importlib.util.find_spec("authlib") is None:
        raise ValueError(
            "Expected Authlib for sign_in_with; got none: pip install 'lanternfish[oidc]'."
        )
    return Provider(**values)
