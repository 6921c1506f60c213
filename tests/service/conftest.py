"""Stores on a real SQLite file and a real PostgreSQL, which a user without rights runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from clusters import NoPostgresError, postgres
from lanternfish.service import store

TOYS = Path(__file__).parent / "toys"  # a package of analyses, as a stranger would install it


@pytest.fixture(scope="session")
def cluster():
    """A PostgreSQL server on a Unix socket, which goes with the session."""
    try:
        opened = postgres(durable=False)
        server = opened.__enter__()
    except NoPostgresError as error:
        pytest.skip(str(error))
    yield server
    opened.__exit__(None, None, None)


@pytest.fixture(scope="session")
def template(cluster, tmp_path_factory):
    """Name of a database with all tables, which tests get copies of."""
    with cluster.database() as url:
        store.open(url, tmp_path_factory.mktemp("template")).close()
        yield sa.make_url(url).database


@pytest.fixture
def database(cluster, template):
    """URL of a PostgreSQL database with empty tables."""
    with cluster.database(template) as url:
        yield url


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
    user = store.create_user(db, "grace")
    group = store.create_group(db, "lab", owner=user.id)
    return db, group.id, user.id


@pytest.fixture
def here(tmp_path):
    """A lab on SQLite: what a worker does with its child does not depend on the database."""
    db = store.open(None, tmp_path)
    user = store.create_user(db, "ada")
    group = store.create_group(db, "lab", owner=user.id)
    yield db, group.id, user.id
    db.close()


@pytest.fixture(scope="session")
def s3_server():
    """Address of an S3 server on loopback, of other people."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """An empty bucket: a prefix in it for blobs. Child processes find the server, too."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("lab")
    yield "s3://lab/blobs"
    s3fs.S3FileSystem().rm("lab", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()
