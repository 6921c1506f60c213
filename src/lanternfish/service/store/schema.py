"""The schema's version, and bringing it up to date (Alembic)."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from lanternfish.service.store.errors import StoreError

HEAD = "0001"  # the newest file of migrations/versions
_LOCK = 0x6C616E74  # "lant": one upgrade at a time


def version_of(engine: Engine) -> str | None:
    """Version of the tables; None where there are none."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def check_version(engine: Engine, url: str) -> None:
    """Make the tables where there are none; refuse those of another release."""
    found = version_of(engine)
    if found == HEAD:
        return
    if found is None:
        bring_up(engine)
        return
    known = {path.name[:4] for path in (_HERE / "versions").glob("[0-9]*.py")}
    where = sa.make_url(url).render_as_string(hide_password=True)
    if found not in known:
        raise StoreError(
            f"Expected tables of version {HEAD} or older in {where}; got {found}, of a newer "
            "release of lanternfish: use that release."
        )
    raise StoreError(
        f"Expected tables of version {HEAD} in {where}; got {found}, of an older release. Make a "
        "backup (lanternfish backup), then run `lanternfish upgrade`."
    )


def bring_up(engine: Engine, to: str = "head") -> None:
    """Run the migrations that the database lacks, one process at a time, all or none."""
    writer = engine.connect().execution_options(lanternfish_write=True)
    with writer as connection, connection.begin(), _alone(connection):
        migrate(connection, to)


def migrate(connection: Connection, to: str = "head") -> None:
    """Run the missing migrations in the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    logging.getLogger("alembic").setLevel(logging.WARNING)
    command.upgrade(config, to)


_HERE = Path(__file__).parent / "migrations"


@contextlib.contextmanager
def _alone(connection: Connection):
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    yield
