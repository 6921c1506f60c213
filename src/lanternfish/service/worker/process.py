"""The guarded child process of one attempt: its pipes, its end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lanternfish.service.worker.tree import Use

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class End:
    """How a child ended: exit code (negative: the signal), and what it said at the end."""

    code: int
    state: str = ""
    reason: str = ""


class Child:
    """A command under a guard: starts at once; `log` and `message` are called from threads."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        log: Callable[[bytes], None],
        message: Callable[[dict], None],
    ) -> None:
        lifeline, self._lifeline = os.pipe()
        self._result, result = os.pipe()
        channel, told = os.pipe()
        handed = (lifeline, result, told)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(lifeline), str(result), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**environment, "LANTERNFISH_CHANNEL": str(told)},
                cwd=folder,
                pass_fds=handed,
                start_new_session=True,
            )
        except BaseException:
            for each in (self._lifeline, self._result, channel):
                os.close(each)
            raise
        finally:
            for each in handed:
                os.close(each)
        self.use = Use()
        self._said: dict = {}
        self._readers = [
            threading.Thread(target=self._read_log, args=(log,), daemon=True),
            threading.Thread(target=self._read_messages, args=(channel, message), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Process id of the guard, above the whole tree."""
        return self._process.pid

    def stop(self) -> None:
        """Ask the guard to end the tree: SIGTERM, then SIGKILL."""
        with contextlib.suppress(OSError):
            os.write(self._lifeline, b"t")

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; whether the child has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> End:
        """Once it has ended: read what is left in the pipes, and say how it ended."""
        for reader in self._readers:
            reader.join(timeout=10)
        account = b""
        os.set_blocking(self._result, False)
        with contextlib.suppress(OSError):
            account = os.read(self._result, 4096)
        for each in (self._lifeline, self._result):
            with contextlib.suppress(OSError):
                os.close(each)
        if not account:  # somebody killed the guard; its child died with it
            return End(self._process.returncode or -9)
        found = json.loads(account)
        self.use.settle(found["cpu_seconds"], found["largest"])
        return End(found["code"], self._said.get("state", ""), self._said.get("reason", ""))

    def _read_log(self, log: Callable[[bytes], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while data := pipe.read1(1 << 16):  # type: ignore[attr-defined]
                log(data)

    def _read_messages(self, channel: int, message: Callable[[dict], None]) -> None:
        with os.fdopen(channel, "rb") as pipe:
            for line in pipe:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if found.get("kind") == "end":
                    self._said = found["data"]
                else:
                    message(found)
