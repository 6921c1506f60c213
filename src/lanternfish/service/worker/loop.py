"""The worker's loop: claim, work, finish; again."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from lanternfish import __version__
from lanternfish.service import store as ledger
from lanternfish.service.store import LeaseLostError, Outcome, Store
from lanternfish.service.store.identity import new_id
from lanternfish.service.worker.attempt import Attempt, clean
from lanternfish.service.worker.sandbox import Sandbox

LOG = logging.getLogger("lanternfish.worker")
BEAT = 2.0
DELAY = 30.0
POLL = 0.2  # seconds between looks for work
PRESENT = 15.0  # seconds between words that the worker is there


@dataclass
class Worker:
    """How a worker works.

    Attributes:
        analyses: names that it runs; None: all.
        lease: seconds after which a job of a worker that says nothing is given to another.
        once: return when no job waits (for tests and batch systems).
        sandbox: bounds for strangers' code; None: no sandbox (personal mode).
        name: in listings and reasons.
        beat: seconds between heartbeats; a cancel is noticed as soon.
        delay: seconds before an attempt that failed for a cause outside is made again.
    """

    analyses: tuple[str, ...] | None = None
    lease: float = ledger.LEASE
    once: bool = False
    sandbox: Sandbox | None = None
    name: str = ""
    beat: float = BEAT
    delay: float = DELAY

    def __post_init__(self) -> None:
        self.name = self.name or f"{socket.gethostname()[:30]}-{os.getpid()}-{new_id()[-4:]}"


def work(store: Store, worker: Worker, stop: threading.Event | None = None) -> int:
    """Work until `stop` is set; returns how many jobs were worked on.

    A job in hand is finished first. Database outages are waited out.
    """
    stop = stop or threading.Event()
    ended: tuple[str, int, Outcome] | None = None
    done, present = 0, 0.0
    while True:
        try:
            if time.monotonic() - present > PRESENT:
                _note(store, worker)
                present = time.monotonic()
            job = _next(store, worker, ended, stop.is_set())
        except LeaseLostError as error:
            LOG.warning("%s", error)
            ended = None
            continue
        except (sa_exc.DataError, sa_exc.IntegrityError) as error:
            if ended is None:
                raise
            reason = f"Its results could not be recorded: {str(error.orig).splitlines()[0]}"
            ended = (ended[0], ended[1], Outcome("failed", reason))
            continue
        except sa_exc.SQLAlchemyError as error:
            LOG.warning("The database is away: %s", str(error).splitlines()[0])
            time.sleep(1.0)
            continue
        if ended is not None:
            _tidy(store, ended[0])
            ended = None
        if job is None:
            if stop.is_set() or worker.once:
                break
            stop.wait(POLL)
            continue
        done += 1
        outcome = Attempt(store, job, worker).run()
        ended = None if outcome is None else (job.id, job.token, outcome)
    with contextlib.suppress(sa_exc.SQLAlchemyError):
        _note(store, worker, stopped=True)
    return done


def _next(store: Store, worker: Worker, ended, stopping: bool) -> sa.Row | None:
    if stopping:
        if ended is not None:
            ledger.finish(store, *ended)
        return None
    if ended is None and not ledger.work_waits(store, worker.analyses):
        return None
    return ledger.turn(
        store,
        worker.name,
        ended,
        lease=worker.lease,
        analyses=worker.analyses,
        host=socket.gethostname(),
    )


def _tidy(store: Store, job: str) -> None:
    row = ledger.find_job(store, job)
    if row is not None and row.finished is not None:
        clean(store, job)


def _note(store: Store, worker: Worker, *, stopped: bool = False) -> None:
    ledger.note_worker(
        store,
        worker.name,
        host=socket.gethostname(),
        pid=os.getpid(),
        analyses=list(worker.analyses) if worker.analyses is not None else None,
        version=__version__,
        stopped=stopped,
    )


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set: finish the job in hand, and stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def start_workers(
    count: int, folder: Path, *, database: str | None = None, blobs: str | None = None
) -> list[subprocess.Popen]:
    """Start worker processes that outlive this one (personal mode: the server starts them)."""
    command = [sys.executable, "-m", "lanternfish.cli", "worker", "--folder", str(folder)]
    variables = dict(os.environ)
    if database is not None:  # not on the command line, which everybody sees
        variables["LANTERNFISH_DATABASE"] = database
    if blobs is not None:
        variables["LANTERNFISH_BLOBS"] = blobs
    with open(folder / "worker.log", "ab") as log:
        return [
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                start_new_session=True,
            )
            for _ in range(count)
        ]
