"""A PostgreSQL of its own for tests and benchmarks: on a Unix socket, run by a user without rights.

PostgreSQL refuses to run as root; where the tests do, the system's `postgres` user runs it, or one
that is made for it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import sqlalchemy as sa

NOBODY = "lanternfish-tests"


class NoPostgresError(RuntimeError):
    """PostgreSQL is not installed."""


@dataclass(frozen=True)
class Cluster:
    """A running server. `crash` is what a power cut does to its processes; `start` recovers."""

    binaries: Path
    folder: Path
    account: str | None
    options: str

    @property
    def url(self) -> str:
        return f"postgresql://tests@/postgres?host={self.folder}"

    def run(self, program: str, *arguments: str | Path) -> None:
        prefix = ["runuser", "-u", self.account, "--"] if self.account else []
        command = [*prefix, str(self.binaries / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")

    def start(self) -> None:
        data, log = self.folder / "data", self.folder / "log"
        self.run("pg_ctl", "-D", data, "-l", log, "-o", self.options, "-w", "start")

    def crash(self) -> None:
        self.run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """URL of a copy of a database, which goes at the end."""
        name = f"t{uuid.uuid4().hex}"
        url = sa.make_url(self.url).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        try:
            yield sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)
        finally:
            engine.dispose()  # the server may have crashed in between
            with engine.connect() as connection:
                connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
            engine.dispose()


@contextlib.contextmanager
def postgres(*, durable: bool = True) -> Iterator[Cluster]:
    """A new cluster. Not `durable`: it does not wait for the disk, as tests of processes may.

    Raises:
        NoPostgresError: there is no initdb on this machine.
    """
    found = sorted(glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)
    place = found[0] if found else shutil.which("initdb")
    if place is None:
        raise NoPostgresError("PostgreSQL is not installed (no initdb); ./dev setup installs it")
    folder = Path(tempfile.mkdtemp(prefix="lf-pg-"))
    options = f"-k {folder} -c listen_addresses='' -c max_connections=200"
    options += "" if durable else " -c fsync=off"
    cluster = Cluster(Path(place).parent, folder, _account(), options)
    try:
        if cluster.account:
            shutil.chown(folder, cluster.account)
        cluster.run("initdb", "-D", folder / "data", "-A", "trust", "-U", "tests", "--no-sync")
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.crash()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> str | None:
    """The user that PostgreSQL runs as; None: whoever runs this."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", NOBODY):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    subprocess.run(["useradd", "--system", "--no-create-home", NOBODY], check=True)
    return NOBODY
