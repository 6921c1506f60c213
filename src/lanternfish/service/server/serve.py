"""Running a server: address, workers beside it, logs, the link that lets the owner in."""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI

from lanternfish.service import store as st
from lanternfish.service.server.app import create_app
from lanternfish.service.server.configuration import Configuration
from lanternfish.service.server.direct import Protocol
from lanternfish.service.server.personal import ensure_token
from lanternfish.service.server.platform import Platform
from lanternfish.service.server.watching import JsonLines

TRIED = 20  # ports after the first, where none was asked for
LOG_BYTES = 10_000_000
_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Ends the streams when it is asked to stop, so that nobody waits for them."""

    platform: Platform

    def handle_exit(self, sig: int, frame) -> None:
        self.platform.hub.close()
        self.platform.growing.stop()
        super().handle_exit(sig, frame)


def bind(configuration: Configuration, *, exact: bool) -> tuple[socket.socket, Configuration]:
    """A listening socket; where the port is taken and none was asked for, on the next free one.

    Raises:
        OSError: the port is taken.
    """
    last = 0 if exact else TRIED
    family = socket.AF_INET6 if ":" in configuration.host else socket.AF_INET
    for port in range(configuration.port, configuration.port + last + 1):
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((configuration.host, port))
        except OSError:
            made.close()
            if port == configuration.port + last:
                raise
            continue
        made.listen(2048)
        made.set_inheritable(True)
        return made, replace(configuration, port=made.getsockname()[1])
    raise AssertionError("a port is bound, or the last one raises")


def run(
    configuration: Configuration,
    listening: socket.socket,
    told: Callable[[str], None],
    *,
    browser: bool,
) -> None:
    """Serve until SIGINT or SIGTERM; `told` is given the address once it answers."""
    _logs(configuration)
    store = st.open(configuration.database, configuration.folder, blobs=configuration.blobs)
    app = create_app(configuration, store)
    platform: Platform = app.state.platform
    server = make_server(app)
    workers = Workers(configuration, store)
    announcing = threading.Thread(
        target=_announce, args=(server, platform, told, browser), daemon=True
    )
    announcing.start()
    workers.start()
    # uvicorn raises the signal that ended it once more, when it is done: by default SIGTERM would
    # end this process there, and leave the workers.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        workers.stop()
        store.close()


def make_server(app: FastAPI, **options: Any) -> Server:
    """The server of an application, as it is run everywhere."""
    platform: Platform = app.state.platform
    proxies = platform.configuration.proxies
    made = Server(
        uvicorn.Config(
            app,
            http=Protocol,
            log_config=None,
            access_log=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=3,
            timeout_keep_alive=75,
            server_header=False,
            **options,
        )
    )
    made.platform = platform
    return made


def _announce(
    server: Server, platform: Platform, told: Callable[[str], None], browser: bool
) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.02)
    configuration = platform.configuration
    address = configuration.url
    if configuration.personal:
        ensure_token(platform.store, platform.owner, configuration.folder)
        address = start_address(platform)
    told(address)
    if browser and configuration.personal:
        open_browser(configuration.folder, start_address(platform))


def start_address(platform: Platform) -> str:
    """A link into a personal server, good for one use."""
    return f"{platform.configuration.url}/start?key={platform.start_keys.new()}"


def open_browser(folder: Path, address: str) -> None:
    """Open a browser without the key in a command line, which other users could read."""
    page = folder / "open.html"
    handle = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={address}">')
    webbrowser.open(page.as_uri())


class Workers:
    """Worker processes beside the server. They outlive it when it dies; when it is stopped they
    finish the job in hand and stop too."""

    def __init__(self, configuration: Configuration, store: st.Store):
        self.configuration, self.store = configuration, store
        self.children: list[subprocess.Popen] = []
        self.ending = threading.Event()

    def start(self) -> None:
        if self.configuration.workers > 0:
            threading.Thread(target=self._look_after, daemon=True, name="workers").start()

    def _look_after(self) -> None:
        pause = 0.5
        while not self.ending.wait(0 if not self.children else pause):
            self.children = [child for child in self.children if child.poll() is None]
            try:
                missing = self.configuration.workers - len(self.alive())
            except Exception:  # the database is away: workers look after themselves
                _log.exception("workers could not be counted")
                missing = 0
            for _ in range(missing):
                self._begin()
            pause = min(2 * pause, 10.0) if missing > 0 else 2.0

    def alive(self) -> set[int]:
        """Process ids of the workers of this machine, also those of an earlier server."""
        here = socket.gethostname()
        known = {w.pid for w in st.list_workers(self.store) if w.host == here}
        living = {pid for pid in known if psutil.pid_exists(pid)}
        return living | {child.pid for child in self.children}

    def _begin(self) -> None:
        configuration = self.configuration
        environment = {**os.environ, "LANTERNFISH_FOLDER": str(configuration.folder)}
        if configuration.database:
            environment["LANTERNFISH_DATABASE"] = configuration.database
        if configuration.blobs:
            environment["LANTERNFISH_BLOBS"] = configuration.blobs
        command = [sys.executable, "-m", "lanternfish.cli", "worker"]
        if not configuration.personal:
            command.append("--sandbox")
        with open(configuration.folder / "worker.log", "ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the server only
            )
        self.children.append(child)

    def stop(self) -> None:
        """Ask the workers to finish what they do and stop."""
        self.ending.set()
        for child in self.children:
            if child.poll() is None:
                child.terminate()


def _logs(configuration: Configuration) -> None:
    configuration.folder.mkdir(parents=True, exist_ok=True)
    if configuration.personal:
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            configuration.folder / "server.log", maxBytes=LOG_BYTES, backupCount=3
        )
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("lanternfish").setLevel(logging.INFO)
