"""Measured processes: each fresh, on one core, with one thread in every library.

Imported first by what is measured, so that wall time counts from there; CPU time counts from the
interpreter's start. Standard library only: it runs in the peers' environments too.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
_HERE = Path(__file__).parent
_BEGAN = time.time()


def run_pinned(python: str, script: str, arguments: list, core: int, **environment: str) -> Any:
    """Run a script of this folder on one core; the JSON that its last line holds.

    Raises:
        RuntimeError: if it fails, with the end of what it said.
    """
    command = ["taskset", "-c", str(core), python, str(_HERE / script), *map(str, arguments)]
    limits = {**dict.fromkeys(_THREADS, "1"), "XLA_FLAGS": _XLA}
    whole = {**os.environ, **limits, **environment}
    with tempfile.TemporaryDirectory() as scratch:  # sbi leaves logs where it runs
        done = subprocess.run(command, cwd=scratch, env=whole, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(
            f"Expected {script} to succeed; got status {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def cost() -> dict[str, float]:
    """What this process took so far: CPU seconds (with ended children), wall seconds, peak MB."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak = own.ru_maxrss / 1024  # Linux counts kilobytes
    wall = time.time() - _BEGAN
    return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2), "peak_mb": round(peak)}
