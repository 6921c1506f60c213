"""One database, SQLite or PostgreSQL, opened with the promises that the ledger needs.

SQLite: write-ahead log, synchronous FULL, writes under BEGIN IMMEDIATE, local disks only.
PostgreSQL: psycopg 3, READ COMMITTED, rows locked where they are read to be changed.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import functools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy import event as sa_event
from sqlalchemy import exc as sa_exc

from lanternfish.service.store.blobs import Blobs, open_blobs
from lanternfish.service.store.disks import refuse_network
from lanternfish.service.store.errors import StoreError
from lanternfish.service.store.schema import bring_up, check_version

LARGEST = 2**62  # number that is asked for: databases hold 64 bits
PATIENCE = 60.0  # seconds that a write waits for others' writes
IDLE = 1.0  # seconds after which a connection to PostgreSQL may have gone


@dataclass(frozen=True)
class Store:
    """An open database with its blobs. Give it to every function of this room."""

    url: str
    folder: Path
    engine: Engine
    blobs: Blobs
    clock: Callable[[], float] | None = field(default=None, compare=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this machine."""
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that writes: all of it is kept, or none."""
        with self._turn(), self.engine.connect() as connection:
            connection = connection.execution_options(lanternfish_write=True)
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def write_together(self) -> Iterator[Connection]:
        """As `write`, in few messages: PostgreSQL is waited for only where rows come back.

        A statement's `rowcount` is not known in it: ask for rows with RETURNING.
        """
        if self.is_sqlite:
            with self.write() as connection:
                yield connection
            return
        with self.engine.connect() as connection:
            raw = _driver(connection)
            with contextlib.ExitStack() as ends, _told_as_sqlalchemy_does():
                line = ends.enter_context(raw.pipeline())
                connection = connection.execution_options(lanternfish_line=line)
                with connection.begin():
                    try:
                        yield connection
                        raw.execute("COMMIT")  # on its way with what comes before it
                    except BaseException:
                        with contextlib.suppress(sa_exc.DBAPIError), _told_as_sqlalchemy_does():
                            ends.close()  # what is on its way comes back before the rollback
                        raise
                    ends.close()  # waits for all that is on its way

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """SQLite: wait for one's turn to write. Its own waiting is by sleeping, and far slower."""
        if not self.is_sqlite:
            yield
            return
        with builtins.open(f"{self.engine.url.database}-turn", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Questions: on SQLite all at one moment, on PostgreSQL each at its own."""
        with self.engine.connect() as connection:
            yield connection.execution_options(lanternfish_read=True)

    def now(self, connection: Connection) -> float:
        """The time by the database's clock, which all workers share."""
        if self.clock is not None:
            return self.clock()
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(_CLOCK).scalar_one())

    def now_and_in_order(self, connection: Connection) -> float:
        """`now`, for a transaction that claims.

        PostgreSQL then walks the queue's index to the first job that may start, whatever it
        believes of the number of jobs; until it has counted them anew it would read and sort all
        of them, at each claim.
        """
        if self.is_sqlite:
            return self.now(connection)
        now = float(connection.execute(_CLOCK_IN_ORDER).scalar_one())
        return now if self.clock is None else self.clock()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


CLOCK_IN_ORDER = (  # columns of PostgreSQL; see `Store.now_and_in_order`
    sa.literal_column("extract(epoch FROM clock_timestamp())").label("now"),
    sa.literal_column("set_config('enable_sort', 'off', true)").label("in_order"),
)
_CLOCK = sa.select(CLOCK_IN_ORDER[0])
_CLOCK_IN_ORDER = sa.select(*CLOCK_IN_ORDER)


def _driver(connection: Connection) -> Any:
    raw = connection.connection.driver_connection
    assert raw is not None
    return raw


def send(tx: Connection, statement: sa.UpdateBase | sa.TextClause, values: dict) -> None:
    """Run a statement of fixed form that returns nothing: on PostgreSQL past SQLAlchemy's own work.

    That takes longer than PostgreSQL does, eight times in each move of the ledger.
    """
    if tx.dialect.name != "postgresql":
        tx.execute(statement, values)
        return
    from psycopg.types.json import Json

    text, fixed = _text(statement, tuple(values), tx.dialect)
    values = {name: Json(v) if isinstance(v, dict) else v for name, v in values.items()}
    with _told_as_sqlalchemy_does():
        _driver(tx).execute(text, fixed | values)


@functools.lru_cache(maxsize=64)
def _text(
    statement: sa.UpdateBase | sa.TextClause, names: tuple[str, ...], dialect: sa.Dialect
) -> tuple[str, dict]:
    made = statement.compile(dialect=dialect, column_keys=names)
    return made.string, {k: v for k, v in made.params.items() if v is not None}


@contextlib.contextmanager
def _told_as_sqlalchemy_does() -> Iterator[None]:
    """Errors of statements whose end SQLAlchemy does not wait for."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        while isinstance(error, psycopg.errors.PipelineAborted) and error.__context__:
            error = error.__context__  # why
        made = sa_exc.DBAPIError.instance(None, None, error, psycopg.Error)
        raise made from error


def open(  # the room's verb: store.open(url, folder)
    url: str | None,
    folder: str | os.PathLike,
    *,
    blobs: str | None = None,
    clock: Callable[[], float] | None = None,
    upgrade: bool = False,
) -> Store:
    """Open the store, and make its tables where there are none.

    Args:
        url: "postgresql://user:password@host/name"; None or "sqlite:///path" for a file (None:
            `lanternfish.sqlite` in `folder`).
        folder: local folder for blobs, unfinished uploads, environments and work.
        blobs: fsspec URL of an object store for the blobs, as "s3://bucket/prefix".
        clock: seconds since 1970, in place of the database's clock (for tests).
        upgrade: bring tables of an older release up to date; otherwise they are refused.

    Raises:
        StoreError: SQLite on a network file system; a database that cannot be reached; tables of
            another release.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    url = url or f"sqlite:///{folder / 'lanternfish.sqlite'}"
    engine = connect(url)
    store = Store(url, folder, engine, open_blobs(blobs, folder), clock)
    try:
        check_version(engine, url) if not upgrade else bring_up(engine)
    except sa_exc.OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        engine.dispose()
        raise StoreError(f"Expected a database at {_public(url)}; got: {reason}.") from error
    except BaseException:
        engine.dispose()
        raise
    return store


def connect(url: str) -> Engine:
    """An engine with the settings of this house."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError("Expected SQLite in a file, sqlite:///path; got one in memory.")
        refuse_network(Path(parsed.database).absolute().parent)
        Path(parsed.database).absolute().parent.mkdir(parents=True, exist_ok=True)
        return _sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed)
    raise StoreError(
        f"Expected a database of SQLite (sqlite:///path) or PostgreSQL (postgresql://…); "
        f"got {parsed.get_backend_name()}."
    )


def _postgresql(url: sa.URL) -> Engine:
    """Connections that lay idle are tried before they are used; those of a busy worker are not."""
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=10,
        max_overflow=20,
        connect_args={"connect_timeout": 10},
        isolation_level="AUTOCOMMIT",  # SQLAlchemy says BEGIN, not the driver, which waits for it
    )

    @sa_event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("lanternfish_read"):
            connection.exec_driver_sql("BEGIN")

    @sa_event.listens_for(engine, "do_execute")
    def execute(cursor, statement, parameters, context) -> bool | None:
        line = context.execution_options.get("lanternfish_line")
        if line is None:
            return None
        cursor.execute(statement, parameters)
        asked = context.invoked_statement
        if asked is not None and (asked.is_select or context.compiled.effective_returning):
            line.sync()
        return True

    @sa_event.listens_for(engine, "checkin")
    def note(_raw, record) -> None:
        record.info["used"] = time.monotonic()

    @sa_event.listens_for(engine, "checkout")
    def attempt(raw, record, _proxy) -> None:
        if time.monotonic() - record.info.get("used", -IDLE) < IDLE:
            return
        try:
            engine.dialect.do_ping(raw)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa_exc.DisconnectionError from error  # the pool makes another one

    return engine


def _sqlite(url: sa.URL) -> Engine:
    engine = sa.create_engine(
        url,
        connect_args={"timeout": PATIENCE, "check_same_thread": False},
        poolclass=sa.QueuePool,
        pool_size=10,
        max_overflow=20,
    )

    @sa_event.listens_for(engine, "connect")
    def prepare(raw, _record) -> None:
        raw.isolation_level = None  # SQLAlchemy says BEGIN, not the driver
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "wal_autocheckpoint=1000",
            f"busy_timeout={int(PATIENCE * 1000)}",
        ):
            raw.execute(f"PRAGMA {pragma}")

    @sa_event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("lanternfish_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _public(url: str) -> str:
    return sa.make_url(url).render_as_string(hide_password=True)
