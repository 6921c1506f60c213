"""From a child's pipes to the store: log bytes and events, gathered for a fifth of a second.

Two threads put in; the attempt's own loop takes out (`flush`), so that the database is written
from one place, in order, and a slow database never stops the child before the buffer is full.
"""

from __future__ import annotations

import threading
import time

from lanternfish.service import store as ledger
from lanternfish.service.store import Result, Store

EVERY = 0.2  # seconds
FULL = 4 << 20  # bytes of log that wait
LONGEST = 256 << 20  # bytes of log that a job may have
_CUT = b"\n[The log is longer than 256 MiB: what follows is left out.]\n"


class Relay:
    """What an attempt says, on its way to the store."""

    def __init__(self, store: Store, job: str, token: int, size: int = 0) -> None:
        self._store, self._job, self._token = store, job, token
        self._log = bytearray()
        self._events: list[tuple[str, dict]] = []
        self._room = threading.Condition()
        self._size, self._cut = size, False
        self._gone = False
        self._flushed = 0.0

    def log(self, data: bytes) -> None:
        """Take bytes of log; waits while the buffer is full."""
        with self._room:
            self._room.wait_for(lambda: len(self._log) < FULL or self._gone)
            if self._cut or self._gone:
                return
            if self._size + len(data) > LONGEST:
                data, self._cut = _CUT, True
            self._log += data
            self._size += len(data)

    def say(self, text: str) -> None:
        """Take a line of the platform's own, for the log."""
        self.log(f"[{time.strftime('%H:%M:%S', time.gmtime())} UTC] {text}\n".encode())

    def event(self, kind: str, data: dict) -> None:
        """Take an event. Of a progress that changes fast, the newest counts."""
        data = {
            name: value.replace("\x00", "") if isinstance(value, str) else value
            for name, value in data.items()
        }
        with self._room:
            if kind in ("progress", "use"):
                self._events = [each for each in self._events if each[0] != kind]
            self._events.append((kind, data))

    def flush(self, *, now: bool = False) -> None:
        """Write what waits, if it is time. What could not be written waits on."""
        if not now and time.monotonic() - self._flushed < EVERY:
            return
        self._flushed = time.monotonic()
        with self._room:
            data, events = bytes(self._log), list(self._events)
        if data:
            ledger.append_log(self._store, self._job, self._token, data)
            with self._room:
                del self._log[: len(data)]
                self._room.notify_all()
        if events:
            ledger.append_events(self._store, self._job, self._token, events)
            with self._room:
                self._events = [e for e in self._events if not any(e is old for old in events)]

    def publish(self, results: list[Result]) -> None:
        """Name results of a running attempt."""
        ledger.publish(self._store, self._job, self._token, results)

    def close(self) -> None:
        """Take nothing any more, and let nobody wait."""
        with self._room:
            self._gone = True
            self._room.notify_all()
