"""The process that an analysis runs in: `python -m lanternfish.service.analyses.child job.json`.

It tells its worker about progress in lines of JSON through the pipe `LANTERNFISH_CHANNEL`; what it
prints is the log. SIGTERM sets `job.cancelled` and raises KeyboardInterrupt in `run`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lanternfish.service.analyses.job import Job
from lanternfish.service.analyses.registry import code_hash, load, sources
from lanternfish.service.analyses.requests import check, read_inputs, read_settings

TRANSIENT = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENFILE, errno.EMFILE}


def channel() -> Callable[[dict], None]:
    """A function that sends one message to the worker, from any thread."""
    pipe = os.fdopen(int(os.environ.pop("LANTERNFISH_CHANNEL")), "w", encoding="utf-8")
    lock = threading.Lock()

    def tell(message: dict) -> None:
        line = json.dumps(message)
        with lock, contextlib.suppress(BrokenPipeError):
            pipe.write(line + "\n")
            pipe.flush()

    return tell


def run(task: dict[str, Any], tell: Callable[[dict], None]) -> dict[str, Any]:
    """Do a task; returns {state, reason}: succeeded, failed or (a cause outside) retry."""
    try:
        analysis = load(task["analysis"])
        found = code_hash(sources(analysis))
        if task.get("code") and found != task["code"]:
            return _end(
                "failed",
                f"The code of {analysis.name} has changed since this job was submitted: start it "
                "again, to run the new code.",
            )
        problems, _ = check(analysis, task["settings"], task["inputs"])
        if problems:
            return _end("failed", " ".join(str(each) for each in problems))
        job = Job(
            inputs=read_inputs(analysis, task["inputs"])[0],
            settings=read_settings(analysis, task["settings"])[0],
            seed=task["seed"],
            output=Path(task["output"]),
            checkpoint=Path(task["checkpoint"]),
            attempt=task["attempt"],
            tell=tell,
        )
        _heed_signals(job)
        analysis.run(job)
    except KeyboardInterrupt:
        return _end("failed", "Stopped.")
    except OSError as error:
        traceback.print_exc()
        state = "retry" if error.errno in TRANSIENT else "failed"
        return _end(state, _sentence(error))
    except MemoryError as error:
        traceback.print_exc()
        return _end("failed", f"The memory was not enough: {error}")
    except Exception as error:
        traceback.print_exc()
        return _end("failed", _sentence(error))
    return _end("succeeded", "")


def _end(state: str, reason: str) -> dict[str, Any]:
    return {"state": state, "reason": reason[:2000]}


def _sentence(error: BaseException) -> str:
    text = str(error).strip()
    return text if text.startswith("Expected") else f"{type(error).__name__}: {text}"


def _heed_signals(job: Job) -> None:
    def stop(number, frame) -> None:
        first = not job.cancelled
        job.stop()
        if first:
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def main() -> None:
    tell = channel()
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    end = run(task, tell)
    sys.stdout.flush()
    sys.stderr.flush()
    tell({"kind": "end", "data": end})
    os._exit(0 if end["state"] == "succeeded" else 1)  # no thread of a library keeps it alive


if __name__ == "__main__":
    main()
