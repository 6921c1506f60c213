"""What the server's tests share: a real server on a real SQLite file, people, and clients.

The analyses are the toys of this folder; the worker is the real one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from lanternfish.service import analyses
from lanternfish.service import store as st
from lanternfish.service.analyses import built
from lanternfish.service.server import Configuration, create_app
from lanternfish.service.server.passwords import hashed
from lanternfish.service.server.personal import ensure_token
from lanternfish.service.server.serve import make_server
from lanternfish.service.store import Store

PASSWORD = "a long password"  # of everybody
PATIENCE = 120.0  # s, of clients: a loaded machine, too
SOURCE = str(Path(st.__file__).parents[3])
TOYS = str(Path(__file__).parent / "toys")


def share_environments(folder: Path) -> None:
    """Let a platform's folder have the environments of this machine's user; jobs build there."""
    kept = built.home() / built.FOLDER
    kept.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / built.FOLDER).symlink_to(kept.absolute())


def leave_environment(folder: Path, key: str, size: int, *analyses: str) -> None:
    """An environment as a build leaves it: an interpreter, packages, and who has used it."""
    place = folder / built.FOLDER / key
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(sys.executable)
    (place / "package.py").write_bytes(b"#" * size)
    for name in analyses:
        (place / "bridges" / name).mkdir(parents=True)
    built.note_ready(place)


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


@dataclass
class Running:
    """A server in a thread of this process."""

    url: str
    app: object
    store: Store
    configuration: Configuration
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def platform(self):
        return self.app.state.platform

    def client(self, who: str = "", **options) -> httpx.Client:
        """A client with somebody's token; without a name, nobody's."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, **options)

    @contextlib.contextmanager
    def browser(self, name: str):
        """A client that is signed in as a browser is: with a cookie."""
        with httpx.Client(base_url=self.url, timeout=PATIENCE) as client:
            answer = client.post("/sign-in", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
            yield client

    def user(self, name: str, **fields) -> str:
        """A user with a token; returns the id."""
        made = st.create_user(self.store, name, password_hash=_HASH, **fields)
        self.tokens[name], _ = st.create_token(self.store, made.id, "tests")
        return made.id


_HASH = hashed(PASSWORD)


@contextlib.contextmanager
def serving(folder: Path, **options):
    """A server on a free port, with the store in `folder`.

    It asks the packages for their analyses as all servers of this process did before: no package
    changes meanwhile, and each answer takes two seconds of a core.
    """
    options.setdefault("personal", False)
    options.setdefault("workers", 0)
    port = options.pop("port", None) or free_port()
    configuration = Configuration(folder=folder, port=port, **options)
    store = st.open(configuration.database, folder, blobs=configuration.blobs)
    known, asked_once = analyses.catalogue(), pytest.MonkeyPatch()
    app = create_app(configuration, store)
    server = make_server(app, port=port)
    thread = threading.Thread(target=server.run)
    asked_once.setattr(analyses, "catalogue", lambda refresh=False: known)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        running = Running(f"http://127.0.0.1:{port}", app, store, configuration)
        if configuration.personal:
            owner = app.state.platform.owner
            running.tokens["owner"] = ensure_token(store, owner, folder)
        yield running
    finally:
        app.state.platform.hub.close()
        app.state.platform.growing.stop()
        server.should_exit = True
        thread.join(20)
        asked_once.undo()
        store.close()


@contextlib.contextmanager
def working(folder: Path, database: str | None = None):
    """The real worker, as a process of its own."""
    environment = {**os.environ, "LANTERNFISH_FOLDER": str(folder)}
    environment["PYTHONPATH"] = os.pathsep.join([SOURCE, TOYS])
    if database:
        environment["LANTERNFISH_DATABASE"] = database
    with open(folder / "worker.log", "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "lanternfish.cli", "worker"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        child.wait(30)


@contextlib.contextmanager
def command_line_server(folder: Path, *options: str):
    """`lanternfish serve` as a user starts it; gives its link, and the process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, TOYS])}
    command = [sys.executable, "-m", "lanternfish.cli", "serve", "--no-browser", "--folder"]
    child = subprocess.Popen(
        [*command, str(folder), "--port", str(free_port()), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = child.stdout.readline()
        found = re.search(r"http\S+", line)
        assert found, line + child.stdout.read()
        yield found.group(0), child
    finally:
        child.terminate()
        child.wait(30)
        child.stdout.close()


def ended(client: httpx.Client, job: str, seconds: float = 60.0) -> dict:
    """A job once it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seen = client.get(f"/api/v1/jobs/{job}").json()
        if seen["state"] in ("succeeded", "failed", "cancelled"):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{job} has not ended: {seen}")


def events(client, job, after="", stop=None):
    """(name, data, id) of a stream, until `stop` says so or the end."""
    found = []
    headers = {"Last-Event-ID": after} if after else {}
    with client.stream("GET", f"/api/v1/jobs/{job}/stream", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = place = ""
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                place = value
            elif field == "data":
                found.append((name, json.loads(value), place))
                if name == "end" or (stop and stop(found)):
                    break
    return found


def upload(client: httpx.Client, name: str, data: bytes, **headers: str) -> str:
    """Upload in one request; returns the data set's id."""
    import base64

    told = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(data)),
        "Upload-Metadata": "filename " + base64.b64encode(name.encode()).decode(),
        "Content-Type": "application/offset+octet-stream",
    }
    answer = client.post("/api/v1/uploads", content=data, headers=told | headers)
    assert answer.status_code == 201, answer.text
    return client.get(answer.headers["Location"]).json()["dataset"]
