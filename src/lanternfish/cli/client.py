"""Talking to a platform from the command line: who we are there, uploads, streams, downloads."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from lanternfish.cli.console import Mistake

PIECE = 16 << 20  # bytes of one request of an upload
RETRIES = (0.5, 1, 2, 4, 8, 15, 30, 60)  # seconds between tries of what broke
_OFFSET = "application/offset+octet-stream"


def credentials_path() -> Path:
    """File of servers and tokens, readable by its owner only."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "lanternfish" / "servers.json"


def remember(url: str, token: str) -> None:
    """Keep a token; the server is the one that is asked from now on."""
    path = credentials_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {k: v for k, v in _known().items() if k != url}
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({url: token, **known}, file, indent=2)
    os.replace(temporary, path)


def _known() -> dict[str, str]:
    try:
        return json.loads(credentials_path().read_text())
    except (OSError, ValueError):
        return {}


def connect(server: str | None) -> Client:
    """The server that is named, was signed in to last, or runs on this machine for its owner."""
    token = os.environ.get("LANTERNFISH_TOKEN")
    known = _known()
    if server:
        url = server.rstrip("/")
        token = token or known.get(url) or _own().get(url)
        if not token:
            raise Mistake(f"Expected to be signed in at {url}: lanternfish login {url}")
        return Client(url, token)
    for url, secret in [*known.items(), *_own().items()]:
        return Client(url, token or secret)
    raise Mistake(
        "Expected a server: `lanternfish login https://…` signs in, `lanternfish serve` opens one "
        "here."
    )


def _own() -> dict[str, str]:
    """Address and token of the personal server that runs on this machine."""
    folder = Path(os.environ.get("LANTERNFISH_FOLDER") or Path.home() / ".lanternfish")
    try:
        return {(folder / "address").read_text().strip(): (folder / "token").read_text().strip()}
    except OSError:
        return {}


class Client:
    """One server, asked with a token."""

    def __init__(self, url: str, token: str):
        self.url = url
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; a refusal becomes its sentence."""
        try:
            answer = self.http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise OSError(f"Expected an answer of {self.url}; got none: {error}.") from None
        if answer.is_error:
            raise Mistake(sentence(answer))
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an address of the API."""
        return self.ask("GET", f"/api/v1{path}", params=query).json()

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """Send JSON; returns the answer's."""
        return self.ask("POST", f"/api/v1{path}", json=body or {}, **options).json()

    def ask_openly(self, path: str, body: Any) -> Any:
        """Send JSON without a token, as signing in does."""
        try:
            answer = httpx.post(f"{self.url}/api/v1{path}", json=body, timeout=60)
        except httpx.HTTPError as error:
            raise OSError(f"Expected an answer of {self.url}; got none: {error}.") from None
        if answer.is_error:
            raise Mistake(sentence(answer))
        return answer.json()

    def upload(
        self, path: Path, told: Callable[[int], None], group: str | None = None
    ) -> dict[str, Any]:
        """Upload a file in pieces; what breaks goes on from what the server has confirmed.

        `told` is given the confirmed bytes. Returns the data set.
        """
        place = self._announce(path, group)
        offset = 0
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            while offset < size:
                offset = self._piece(place, file, offset)
                told(offset)
        while True:
            seen = self.ask("GET", place).json()
            if seen["dataset"]:
                return self.get(f"/datasets/{seen['dataset']}")
            if seen["problem"]:
                raise OSError(seen["problem"])
            time.sleep(0.2)

    def _announce(self, path: Path, group: str | None) -> str:
        name = base64.b64encode(path.name.encode()).decode()
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(path.stat().st_size),
            "Upload-Metadata": f"filename {name}",
        }
        query = {"group": group} if group else {}
        return self.ask("POST", "/api/v1/uploads", headers=headers, params=query).headers[
            "Location"
        ]

    def _piece(self, place: str, file, offset: int) -> int:
        for pause in (*RETRIES, None):
            file.seek(offset)
            headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(offset)}
            headers["Content-Type"] = _OFFSET
            try:
                answer = self.http.patch(place, content=file.read(PIECE), headers=headers)
                if answer.is_success:
                    return int(answer.headers["Upload-Offset"])
                if answer.status_code not in (409, 423, 502, 503, 504) or pause is None:
                    raise Mistake(sentence(answer))
            except httpx.HTTPError as error:
                if pause is None:
                    raise OSError(f"{self.url} does not answer: {error}.") from None
            time.sleep(pause)
            offset = self._confirmed(place, offset)
        raise AssertionError("the last try returns or raises")

    def _confirmed(self, place: str, offset: int) -> int:
        try:
            answer = self.http.head(place)
            return int(answer.headers["Upload-Offset"]) if answer.is_success else offset
        except httpx.HTTPError:
            return offset

    def stream(self, job: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events of a job until its end; a cut stream goes on where it was."""
        last, tries = "", 0
        while True:
            try:
                for name, data, place in self._events(job, last):
                    last, tries = place, 0
                    yield name, data
                    if name == "end":
                        return
            except httpx.HTTPError as error:
                if tries == len(RETRIES):
                    raise OSError(f"{self.url} does not answer: {error}.") from None
            time.sleep(RETRIES[min(tries, len(RETRIES) - 1)])
            tries += 1

    def _events(self, job: str, last: str) -> Iterator[tuple[str, dict[str, Any], str]]:
        headers = {"Last-Event-ID": last} if last else {}
        patience = httpx.Timeout(60, read=45)  # a comment comes every 15 s
        path = f"/api/v1/jobs/{job}/stream"
        with self.http.stream("GET", path, headers=headers, timeout=patience) as answer:
            if answer.status_code >= 500:
                raise httpx.ReadError(f"status {answer.status_code}")
            if answer.is_error:
                answer.read()
                raise Mistake(sentence(answer))
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "id":
                    last = value
                elif field == "data":
                    yield name, json.loads(value), last

    def download(self, job: str, path: str, to: Path) -> None:
        """One result file; what is there already of it is not fetched again."""
        part = to.with_name(to.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        address = f"/api/v1/jobs/{job}/files/{quote(path)}"
        with self.http.stream("GET", address, headers=headers) as answer:
            if answer.status_code == 416:  # it was whole
                answer.read()
            elif answer.is_error:
                answer.read()
                raise Mistake(sentence(answer))
            else:
                with open(part, "ab" if answer.status_code == 206 else "wb") as file:
                    for block in answer.iter_bytes(1 << 20):
                        file.write(block)
        os.replace(part, to)


def sentence(answer: httpx.Response) -> str:
    """Why a request was refused."""
    try:
        told = answer.json()
    except ValueError:
        return f"The server answered {answer.status_code}."
    text = told.get("detail") or f"The server answered {answer.status_code}."
    lines = [f"  {p or 'settings'}: {s}" for p, s in (told.get("errors") or {}).items()]
    return "\n".join([text.split(". ")[0] + "." if lines else text, *lines])
