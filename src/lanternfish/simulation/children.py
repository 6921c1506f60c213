"""The parents' side of child processes: start, ask, wait with a time limit, kill, use again.

A process that runs Python simulators (this one, a pool's worker, a Dask worker) has one
``Nursery``. Its children are started by one thread that lives as long as the process, because Linux
ties the death of a child to the thread that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np

from lanternfish.simulation import child as program
from lanternfish.simulation.outcome import SimulationError, Stopped

START_LIMIT = 300.0  # s for a child to start and to import what the simulator needs
_IDLE_LIMIT = program.IDLE_LIMIT / 2  # s after which a waiting child is not trusted to be there
_BURST = 1e-3  # s between answers below which they are read several at a time
_LOOK = 1.0  # s between looks at a child that is silent
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Gone(Exception):
    """The child ended; the text says how."""


class Late(Exception):
    """The child did not answer within the time limit."""


class Child:
    """One child process, set up for one simulator with k outputs.

    Attributes:
        fresh: whether it has not finished a simulation yet.
        since: when it last was given back, in seconds of the monotonic clock.
    """

    def __init__(self, k: int) -> None:
        self.fresh = True
        self.since = 0.0
        self._size = 8 * k
        self._buffer = bytearray()
        self._heard = 0.0
        self._output = _catch_all()
        limits = dict.fromkeys(_ONE_THREAD, "1")  # a child is one core's work
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(program.__file__)), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is the parent's; what it starts dies with it
            env={**limits, **os.environ},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._results = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._results, select.POLLIN)

    def set_up(self, setup: bytes) -> None:
        """Hand over the simulator.

        Raises:
            SimulationError: if it cannot be loaded there.
        """
        try:
            self._send(setup)
            status, _, message = self.answer(START_LIMIT, size=0)
        except Gone as end:
            raise SimulationError(f"Expected a child process to start; got {end}.") from None
        except Late:
            raise SimulationError(
                f"Expected the simulator's imports to end within {START_LIMIT:.0f} s in a child "
                "process; they did not: try to import them in a fresh interpreter."
            ) from None
        if status != program.READY:
            raise SimulationError(
                f"Expected a simulator that loads in another process; got {message}: let it import "
                "modules that are installed or beside the script, and no open file or connection."
            )

    def ask(self, theta: np.ndarray, seeds: np.ndarray) -> None:
        """Have these simulations run; one ``answer`` comes for each, in order."""
        self._send(
            np.ascontiguousarray(theta, np.float64).tobytes()
            + np.ascontiguousarray(seeds, np.uint64).tobytes()
        )

    def _send(self, payload: bytes) -> None:
        view = memoryview(program.LENGTH.pack(len(payload)) + payload)
        try:
            while view:
                view = view[os.write(self._requests.fileno(), view) :]
        except BrokenPipeError:
            raise Gone(self.last_words()) from None

    def answer(
        self, time_limit: float | None, size: int | None = None
    ) -> tuple[int, np.ndarray, str]:
        """Status, statistics (k,) and message of the next simulation.

        Raises:
            Late: if it takes longer than ``time_limit`` seconds.
            Gone: if the process ends.
        """
        size = self._size if size is None else size
        deadline = None if time_limit is None else time.monotonic() + time_limit
        head = program.RECORD.size
        while True:
            if len(self._buffer) >= head:
                status, length = program.RECORD.unpack_from(self._buffer)
                end = head + size + length
                if len(self._buffer) >= end:
                    x = np.frombuffer(bytes(self._buffer[head : head + size]), np.float64)
                    message = self._buffer[head + size : end].decode("utf-8", "replace")
                    del self._buffer[:end]
                    return status, x, message
            self._receive(deadline)

    def _receive(self, deadline: float | None) -> None:
        left = _LOOK if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._poll.poll(1000 * min(left, _LOOK)):
            if self._process.poll() is not None:  # something that it started holds the pipe
                raise Gone(self.last_words())
            if left <= _LOOK and deadline is not None:
                raise Late
            return
        if time.monotonic() - self._heard < _BURST:  # several at a time: waking up costs more
            time.sleep(_BURST)
        self._heard = time.monotonic()
        data = os.read(self._results.fileno(), 1 << 16)
        if not data:
            raise Gone(self.last_words())
        self._buffer += data

    def last_words(self) -> str:
        """How the process ended and what it printed last; ends it where it has not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self.signal()
        code = self._process.wait()
        end = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return f"a process that ended with {end}{self.printed()}"

    def printed(self) -> str:
        return program.printed_note(program.read_output(self._output.fileno()))

    def signal(self) -> None:
        """Kill the process and whatever it started; whoever reads its answers sees the end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and free what it holds. Only its owner may call this."""
        self.signal()
        self._process.wait()
        for stream in (self._requests, self._results, self._output):
            stream.close()

    @property
    def alive(self) -> bool:
        recent = time.monotonic() - self.since < _IDLE_LIMIT
        return recent and self._process.poll() is None


class Nursery:
    """The children of this process, by campaign: a token that no other campaign has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(1, "lanternfish-nursery")
        self._idle: dict[str, list[Child]] = {}
        self._busy: dict[str, set[Child]] = {}
        self._ended: set[str] = set()

    def take(self, token: str, setup: bytes, k: int, fresh: bool = False) -> Child:
        """A child that is set up, from those that wait or a new one.

        Raises:
            Stopped: if the campaign was ended.
        """
        with self._lock:
            self._check(token)
            waiting = self._idle.get(token, [])
            while waiting and not fresh:
                found = waiting.pop()
                if found.alive:
                    self._busy.setdefault(token, set()).add(found)
                    return found
                found.close()
        return self._start(token, setup, k)

    def _start(self, token: str, setup: bytes, k: int) -> Child:
        new = self._starter.submit(Child, k).result()
        try:
            with self._lock:
                self._check(token)
                self._busy.setdefault(token, set()).add(new)
            new.set_up(setup)
        except BaseException:
            self.discard(token, new)
            self._check(token)
            raise
        return new

    def _check(self, token: str) -> None:
        if token in self._ended:
            raise Stopped

    def give_back(self, token: str, used: Child) -> None:
        used.since = time.monotonic()
        with self._lock:
            self._busy.get(token, set()).discard(used)
            if token not in self._ended:
                self._idle.setdefault(token, []).append(used)
                return
        used.close()

    def discard(self, token: str, lost: Child) -> None:
        with self._lock:
            self._busy.get(token, set()).discard(lost)
        lost.close()

    def ended(self, token: str) -> bool:
        return token in self._ended

    def end(self, token: str) -> None:
        """Kill the children of a campaign, waiting or at work."""
        with self._lock:
            self._ended.add(token)
            for waiting in self._idle.pop(token, []):
                waiting.close()
            for working in self._busy.pop(token, set()):
                working.signal()


_nurseries: dict[int, Nursery] = {}


def nursery() -> Nursery:
    """The nursery of this process. A fork leaves its parent's alone, and has one of its own."""
    try:
        return _nurseries[os.getpid()]
    except KeyError:
        return _nurseries.setdefault(os.getpid(), Nursery())


def _catch_all() -> IO[bytes]:
    """A nameless file for what is printed, which grows at its end also after it was emptied."""
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_APPEND)
    return file


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
