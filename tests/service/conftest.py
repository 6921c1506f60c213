"""Stores on a real SQLite file and a real PostgreSQL, which a user without rights runs."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from glob import glob
from pathlib import Path

import pytest
import sqlalchemy as sa

from lanternfish.service import store

TOYS = Path(__file__).parent / "toys"  # a package of analyses, as a stranger would install it
NOBODY = "lanternfish-tests"  # runs PostgreSQL where the tests run as root, which it refuses


def postgres_folder() -> Path | None:
    """Where initdb, postgres and pg_ctl are; None if PostgreSQL is not installed."""
    found = sorted(glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)
    place = found[0] if found else shutil.which("initdb")
    return Path(place).parent if place else None


def _account() -> str | None:
    """The user that PostgreSQL runs as; None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", NOBODY):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    subprocess.run(["useradd", "--system", "--no-create-home", NOBODY], check=True)
    return NOBODY


def _run(account: str | None, *command: str | Path) -> None:
    prefix = ["runuser", "-u", account, "--"] if account else []
    done = subprocess.run(
        [*prefix, *map(str, command)], capture_output=True, text=True, cwd="/", check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


@pytest.fixture(scope="session")
def postgres():
    """URL of the server's own database, on a Unix socket; the cluster goes with the session."""
    binaries = postgres_folder()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (initdb not found); ./dev setup installs it")
    account = _account()
    base = Path(tempfile.mkdtemp(prefix="lf-pg-"))
    try:
        if account:
            shutil.chown(base, account)
        data = base / "data"
        _run(account, binaries / "initdb", "-D", data, "-A", "trust", "-U", "tests", "--no-sync")
        options = f"-k {base} -c listen_addresses='' -c max_connections=200 -c fsync=off"
        log = base / "log"
        _run(account, binaries / "pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
        try:
            yield f"postgresql://tests@/postgres?host={base}"
        finally:
            _run(account, binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def database(postgres):
    """URL of an empty PostgreSQL database."""
    name = f"t{uuid.uuid4().hex}"
    engine = sa.create_engine(
        sa.make_url(postgres).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session", autouse=True)
def toys():
    """The toy analyses, findable here and in child processes."""
    before = os.environ.get("PYTHONPATH")
    source = str(Path(store.__file__).parents[3])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TOYS), source, *([before] if before else [])])
    sys.path.insert(0, str(TOYS))
    yield
    sys.path.remove(str(TOYS))
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """URL of an empty database: once of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return f"sqlite:///{tmp_path / 'lanternfish.sqlite'}"


@pytest.fixture
def db(url, tmp_path):
    """An open, empty store: once of each kind."""
    opened = store.open(url, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def lab(db):
    """A group with its owner: (store, group id, user id)."""
    user = store.create_user(db, getpass.getuser())
    group = store.create_group(db, "lab", owner=user.id)
    return db, group.id, user.id
