"""A server in a process of its own, for the benchmarks of this folder."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from lanternfish.service import store as st
from lanternfish.service.store import Store

TOYS = Path(__file__).parents[2] / "tests" / "service" / "toys"  # the analysis "count"


@dataclass(frozen=True)
class Served:
    """A personal server that answers."""

    url: str
    token: str
    pid: int
    store: Store
    group: str
    user: str


@contextlib.contextmanager
def served(folder: Path, workers: int = 0):
    """`lanternfish serve`, on a free port."""
    search = [str(TOYS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))}
    command = [sys.executable, "-m", "lanternfish.cli", "serve", "--no-browser"]
    command += ["--folder", str(folder), "--workers", str(workers)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        url = line.split()[-1].split("/start")[0]
        token = (folder / "token").read_text().strip()
        httpx.get(f"{url}/health").raise_for_status()
        store = st.open(None, folder)
        user = st.list_users(store)[0].id
        group = st.groups_of(store, user)[0].id
        try:
            yield Served(url, token, child.pid, store, group, user)
        finally:
            store.close()
    finally:
        child.terminate()
        child.wait(60)


def percentile(values: list[float], percent: float) -> float:
    """A percentile by the nearest rank."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]
