"""Does what analyses should not do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from lanternfish.service.analyses import Analysis, Job, Output

ORPHAN = "import os, time; os.setsid(); time.sleep(600)"


class Settings(BaseModel):
    how: Literal[
        "raise", "exit", "killed", "ignore_term", "children", "memory", "no_output", "link",
        "noise", "disk_full", "environment", "huge_name", "probe",
    ] = Field("raise", description="What to do wrong.")  # fmt: skip
    look: str = Field("", description="Folder to look at.")


def run(job: Job) -> None:
    globals()[job.settings.how](job)


def _raise(job: Job) -> None:
    raise ValueError("Expected a spike; got none.")


globals()["raise"] = _raise


def exit(job: Job) -> None:
    os._exit(3)


def killed(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def ignore_term(job: Job) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    job.log("Deaf.")
    (job.output / "partial.txt").write_text("half a result")
    time.sleep(600)


def children(job: Job) -> None:
    """A child, a grandchild, and an orphan that has left the session."""
    for code in ("import time; time.sleep(600)", ORPHAN):
        subprocess.Popen([sys.executable, "-c", code])
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {ORPHAN!r}])",
        ],
        check=True,
    )
    job.log("A family.")
    time.sleep(600)


def memory(job: Job) -> None:
    block = bytearray(os.urandom(1 << 20) * 200)
    job.log(f"{len(block)} bytes.")
    time.sleep(600)


def no_output(job: Job) -> None:
    job.log("Nothing.")


def link(job: Job) -> None:
    (job.output / "secret.txt").symlink_to("/etc/passwd")
    (job.output / "fine.txt").write_text("fine")
    (job.output / "needed.txt").write_text("needed")


def noise(job: Job) -> None:
    line = b"x" * 1023 + b"\n"
    for _ in range(5_000):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.write(b"\xff\x00\xfe not text\n")
    job.progress(float("nan"), "a \x00 byte")
    job.metric("loss", float("inf"), 1)
    (job.output / "needed.txt").write_text("needed")


def disk_full(job: Job) -> None:
    raise OSError(28, "No space left on device")


def environment(job: Job) -> None:
    job.log(" ".join(sorted(os.environ)))
    (job.output / "needed.txt").write_text("needed")


def huge_name(job: Job) -> None:
    folder = job.output
    for _ in range(4):
        folder = folder / ("d" * 200)
    folder.mkdir(parents=True)
    (folder / "file").write_text("deep")
    (job.output / "needed.txt").write_text("needed")


def probe(job: Job) -> None:
    """What can be seen and touched from where this runs."""
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=2)
        network = "open"
    except ConnectionRefusedError:
        network = "refused"
    except OSError as error:
        network = f"refused by {error}" if error.errno not in (101, 99) else "refused"
    print(f"network={network}")
    for name, path in (("secret", "secret"), ("database", "here/lanternfish.sqlite")):
        print(f"{name}={'seen' if (Path(job.settings.look) / path).exists() else 'hidden'}")
    try:
        (Path(__file__).parent / "written").write_text("x")
        print("package=written")
    except OSError:
        print("package=read-only")
    print(f"processes={sum(name.isdigit() for name in os.listdir('/proc'))}")
    (job.output / "needed.txt").write_text("needed")


analysis = Analysis(
    name="misbehave",
    version="1.0",
    title="Misbehave",
    summary="Does what analyses should not do.",
    documentation="For tests.",
    settings=Settings,
    outputs=(Output("needed.txt", "What it should make", "file"),),
    run=run,
)
