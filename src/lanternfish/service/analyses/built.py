"""Environments that analyses have built on this machine: what they take on disk, and the way out.

Each is a folder named by the first digits of its lock's hash, with a file `ready` of two lines:
when it was built, and its bytes then. The worker builds them; pages and commands list and remove
them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

FOLDER = "environments"  # in the platform's folder
_GLANCE = 0.2  # seconds between two looks at a lock that another holds


def home() -> Path:
    """A person's folder of the platform: where LANTERNFISH_FOLDER says, or `~/.lanternfish`."""
    return Path(os.environ.get("LANTERNFISH_FOLDER") or Path.home() / ".lanternfish").expanduser()


def place_of(environment: dict[str, Any], folder: Path) -> Path:
    """Where the environment of a manifest lies, built or not."""
    return folder / environment["lock_sha256"][:32]


def is_built(environment: dict[str, Any], folder: Path) -> bool:
    """Whether it is there."""
    return (place_of(environment, folder) / "ready").is_file()


def note_ready(place: Path) -> None:
    """Say that an environment is whole."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    temporary = place / "ready.new"
    temporary.write_text(f"{now}\n{size_of(place)}\n")
    os.replace(temporary, place / "ready")


def size_of(place: Path) -> int:
    """Bytes of the files under a folder, which may change meanwhile."""
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def kept(folder: Path) -> list[dict[str, Any]]:
    """Environments that are built: {key, built, analyses that used them, bytes}."""
    return [_told(ready) for ready in sorted(folder.glob("*/ready"))]


def _told(ready: Path) -> dict[str, Any]:
    built, *more = ready.read_text().split() or [""]
    return {
        "key": ready.parent.name,
        "built": built,
        "analyses": sorted(each.name for each in (ready.parent / "bridges").glob("[!.]*")),
        "bytes": int(more[0]) if more else size_of(ready.parent),
    }


def remove(folder: Path, key: str) -> int:
    """Delete an environment, and return the bytes freed; the next job that needs it rebuilds it.

    Raises:
        ValueError: no such environment, or a process runs in it.
    """
    found = {each["key"]: each["bytes"] for each in kept(folder)}
    if key not in found:
        names = ", ".join(found) or "none"
        raise ValueError(f"Expected an environment that is built ({names}); got {key!r}.")
    place = folder / key
    with alone(place):
        inside = f"{place.absolute()}{os.sep}"
        for process in psutil.process_iter(["pid", "cmdline"]):
            if any(part.startswith(inside) for part in process.info["cmdline"] or ()):
                raise ValueError(
                    f"Expected no job in environment {key}; process {process.info['pid']} runs "
                    "in it: wait for the job, or cancel it."
                )
        (place / "ready").unlink()
        shutil.rmtree(place)
    return found[key]


def cost_in_words(environment: dict[str, Any]) -> str:
    """What an analysis says that a build takes: "1.8 GB on disk and 5 minutes"; "" if nothing."""
    size, minutes = environment.get("gigabytes"), environment.get("minutes")
    parts = [f"{size:g} GB on disk"] if size else []
    parts += [f"{minutes:g} {'minute' if minutes == 1 else 'minutes'}"] if minutes else []
    return " and ".join(parts)


@contextlib.contextmanager
def alone(place: Path, hold: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an environment's lock; `hold` is called while another has it, and may raise."""
    with open(place.with_suffix(".lock"), "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                hold()
                time.sleep(_GLANCE)
        yield
