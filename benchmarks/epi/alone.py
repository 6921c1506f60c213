"""A cell of a benchmark in a process of its own, on one thread, or what is kept of it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def kept(place: Path, script: str, words: list[str]) -> dict:
    """The last line that ``script`` prints for these words, JSON, which ``place`` keeps."""
    if not place.exists():
        out = subprocess.run(
            [sys.executable, script, "--results", str(place.parent), "--cell", *words],
            env=os.environ | {"XLA_FLAGS": ONE_THREAD},
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        place.write_text(out.stdout.splitlines()[-1])
    return json.loads(place.read_text())


def seconds() -> float:
    """CPU seconds of this process."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime
