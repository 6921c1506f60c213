"""Measuring a process tree, and ending what an earlier attempt of a job may have left."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

import psutil

MARK = "LANTERNFISH_JOB"  # in the environment of everything that a job starts


@dataclass
class Use:
    """What a process tree was measured to use: bytes now and at most, CPU seconds so far."""

    memory: int = 0
    peak: int = 0
    cpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._ended: dict[tuple[int, float], float] = {}

    def measure(self, pid: int) -> None:
        """Look at the tree below (and with) a process.

        Memory is the sum of proportional set sizes where the system tells them (Linux), so that
        pages that processes share count once, and of resident set sizes elsewhere.
        """
        memory = 0
        for process in _tree(pid):
            with contextlib.suppress(psutil.Error):
                key = (process.pid, process.create_time())
                times = process.cpu_times()
                self._ended[key] = times.user + times.system
                memory += _memory(process)
        self.memory, self.peak = memory, max(self.peak, memory)
        self.cpu_seconds = max(self.cpu_seconds, sum(self._ended.values()))

    def settle(self, cpu_seconds: float, largest: int) -> None:
        """Take in what the system counted of processes that have ended."""
        self.cpu_seconds = max(self.cpu_seconds, cpu_seconds)
        self.peak = max(self.peak, largest)


def kill_leftovers(job: str, patience: float = 5.0) -> int:
    """End processes of this user that carry the job's mark; returns how many there were."""
    own, found = {os.getpid(), os.getppid()}, []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in own and process.environ().get(MARK) == job:
                process.kill()
                found.append(process)
    if found:
        until = time.monotonic() + patience
        psutil.wait_procs(found, timeout=max(0.0, until - time.monotonic()))
    return len(found)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except (AttributeError, psutil.Error):
        return process.memory_info().rss
