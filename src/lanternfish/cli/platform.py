"""Commands of the platform that are not the server's: workers, backups, replay."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lanternfish.cli.console import Mistake, ending, say

HOME = Path.home() / ".lanternfish"
Folder = Annotated[
    Path,
    typer.Option(envvar="LANTERNFISH_FOLDER", metavar="FOLDER", help="Folder of the platform."),
]
Database = Annotated[
    str | None,
    typer.Option(
        envvar="LANTERNFISH_DATABASE",
        metavar="URL",
        help="Database; give it in the variable, because command lines are seen by all.",
        show_default="SQLite in the folder",
    ),
]
Blobs = Annotated[
    str | None,
    typer.Option(
        envvar="LANTERNFISH_BLOBS",
        metavar="URL",
        help='Object store of file contents, as "s3://bucket/prefix".',
        show_default="in the folder",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextlib.contextmanager
def platform_libraries() -> Iterator[None]:
    """One sentence, where an import says that the platform's libraries are not installed."""
    try:
        yield
    except ImportError as error:
        raise Mistake(
            f"Expected the platform's libraries; got none ({error.name}): "
            "pip install 'lanternfish[service]'."
        ) from None


def opened(folder: Path, database: str | None, blobs: str | None, *, upgrade: bool = False):
    """The store of a platform, or one sentence on why it cannot be opened."""
    with platform_libraries():
        from lanternfish.service import store
    try:
        return store.open(database, folder, blobs=blobs, upgrade=upgrade)
    except store.StoreError as error:
        raise Mistake(str(error)) from None


def worker(
    folder: Folder = HOME,
    database: Database = None,
    blobs: Blobs = None,
    analyses: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Run only this analysis (may be repeated)."),
    ] = None,
    lease: Annotated[
        float,
        typer.Option(min=1, metavar="S", help="Seconds after which a silent worker's job is lost."),
    ] = 30.0,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Run every job inside of bubblewrap.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Return when no job waits, as batch systems want.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, metavar="S", help="With --once: wait for a first job so long.")
    ] = 0.0,
    retry_delay: Annotated[
        float,
        typer.Option(min=0, metavar="S", help="Seconds before a failure from outside is retried."),
    ] = 30.0,
    debug: Debug = False,
) -> None:
    """Run jobs of a platform, one at a time; start as many workers as there are cores.

    A worker outlives the server. SIGTERM and Ctrl-C let it finish the job in hand; a worker that is
    killed loses nothing: another goes on from the last checkpoint.

    Examples:

      lanternfish worker
      LANTERNFISH_DATABASE=postgresql://lab@db/lanternfish lanternfish worker --folder /srv/work
    """
    with ending(debug):
        store = opened(folder, database, blobs)
        from lanternfish.service.store import work_waits
        from lanternfish.service.worker import Worker, work
        from lanternfish.service.worker.loop import stop_on_signals
        from lanternfish.service.worker.sandbox import Sandbox, available

        if sandbox and (reason := available()):
            raise Mistake(reason)
        logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
        names = tuple(analyses) if analyses else None
        stop = stop_on_signals()
        until = time.monotonic() + wait
        while once and time.monotonic() < until and not work_waits(store, names):
            stop.wait(0.1)
        say(f"Worker {os.getpid()} of {folder} is ready.")
        done = work(
            store,
            Worker(names, lease, once, Sandbox() if sandbox else None, delay=retry_delay),
            stop,
        )
        say(f"Worker {os.getpid()} has stopped, after {done} jobs.")
        store.close()


def replay(
    crate: Annotated[Path, typer.Argument(metavar="CRATE.zip", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Work folder.", show_default="a temporary one"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run a job anew from its crate alone, and compare the hash of every result.

    The crate is what a job's certificate page gives for download; it holds the inputs, the settings
    and the seed. The analysis's package must be installed in the same version.

    Examples:

      lanternfish replay crate.zip
    """
    import sys
    import tempfile

    with ending(debug), tempfile.TemporaryDirectory(prefix="lanternfish-replay-") as temporary:
        try:
            from lanternfish.service.worker.replay import ReplayError
            from lanternfish.service.worker.replay import replay as run_again
        except ImportError as error:
            raise Mistake(
                f"Expected the platform's libraries; got none ({error.name}): "
                "pip install 'lanternfish[service]'."
            ) from None
        folder = (out or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)

        def log(data: bytes) -> None:
            sys.stderr.buffer.write(data)
            sys.stderr.flush()

        try:
            found = run_again(crate, folder, log)
        except ReplayError as error:
            raise Mistake(str(error)) from None
        for each in found:
            typer.echo(f"{each.verdict:<10} {each.path}")
        wrong = [each for each in found if each.verdict in ("different", "missing", "new")]
        if wrong:
            raise Mistake(f"Expected equal hashes; {len(wrong)} of {len(found)} files differ.")
        equal = sum(each.verdict == "equal" for each in found)
        say(f"{equal} of {len(found)} files are equal; the others tell dates or times.")


def backup(
    to: Annotated[Path, typer.Argument(metavar="TO", help="Folder of the backup.")],
    folder: Folder = HOME,
    database: Database = None,
    blobs: Blobs = None,
    debug: Debug = False,
) -> None:
    """Copy a platform's database and file contents to a folder, while it works.

    A second backup into the same folder copies only what is new.
    """
    with ending(debug):
        store = opened(folder, database, blobs)
        from lanternfish.service.store import StoreError
        from lanternfish.service.store import backup as copy

        try:
            found = copy(store, to)
        except StoreError as error:
            raise Mistake(str(error)) from None
        say(f"The backup in {to} holds {found['blobs']:,} contents, {found['new']:,} of them new.")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="Folder of the backup.")],
    folder: Folder = HOME,
    database: Database = None,
    blobs: Blobs = None,
    debug: Debug = False,
) -> None:
    """Make a platform from a backup, where there is none yet; every content is checked."""
    with ending(debug):
        from lanternfish.service.store import StoreError, restore_blobs, restore_database

        url = database or f"sqlite:///{folder.absolute() / 'lanternfish.sqlite'}"
        try:
            restore_database(source, url)
            store = opened(folder, url, blobs, upgrade=True)
            found = restore_blobs(store, source)
        except StoreError as error:
            raise Mistake(str(error)) from None
        say(f"Restored {found['blobs']:,} contents, all with the hash that the database names.")


def upgrade(
    folder: Folder = HOME, database: Database = None, blobs: Blobs = None, debug: Debug = False
) -> None:
    """Bring a platform's tables up to date after an update of lanternfish; make a backup first."""
    with ending(debug):
        opened(folder, database, blobs, upgrade=True).close()
        say("The tables are up to date.")


def environments(
    folder: Folder = HOME,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="KEY", help="Delete this one (may be repeated)."),
    ] = None,
    debug: Debug = False,
) -> None:
    """List the environments that analyses have built on this machine, or remove some.

    A removed environment is built again by the next job that needs it.

    Examples:

      lanternfish environments
    """
    with ending(debug):
        with platform_libraries():
            from lanternfish.service.analyses import built as found
        place = folder / found.FOLDER
        for key in remove or ():
            try:
                freed = found.remove(place, key)
            except ValueError as error:
                raise Mistake(str(error)) from None
            say(f"Removed {key}: {freed / 1e9:.2f} GB.")
        for each in [] if remove else found.kept(place):
            names = ", ".join(each["analyses"])
            typer.echo(f"{each['key']}  {each['bytes'] / 1e9:6.2f} GB  {each['built']}  {names}")


COMMANDS = (worker, replay, backup, restore, upgrade, environments)
