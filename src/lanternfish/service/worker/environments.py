"""The Python that an analysis runs in: the worker's own, or one built once from a lock file.

Built by uv, or by venv and pip where uv is missing, in a folder named by the hash of the lock and
the version of Python; every package's hash is checked. Two workers that need it at once build it
once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from lanternfish.service.analyses import GROUP, Manifest
from lanternfish.service.analyses.registry import entries, package_of

PATIENCE = 1_800.0  # seconds that a build may take
TICK = 10.0  # seconds between two lines on a build
REASONS = (
    (
        ("hash mismatch", "do not match the hash"),
        "a package has another hash than the lock names; "
        "nothing was installed: check the index that the worker uses",
    ),
    (("no space left", "disk quota"), "the disk is full: free space and start the job again"),
    (
        ("dns error", "failed to fetch", "error sending request", "connection", "network"),
        "packages could not be fetched: check the network of the worker, or name a folder of "
        "wheels in UV_FIND_LINKS (pip: PIP_FIND_LINKS)",
    ),
    (("no interpreter found",), "its Python is not on this machine: install that version"),
)


class EnvironmentBuildError(RuntimeError):
    """The environment of an analysis could not be built."""


def python_for(
    manifest: Manifest, folder: Path, say: Callable[[str], None]
) -> tuple[str, dict[str, str]]:
    """The interpreter of an analysis, and variables that its process needs.

    Args:
        folder: where environments are kept. say: takes a line for the log.

    Raises:
        EnvironmentBuildError: with the last lines of what the build said.
    """
    if manifest.environment is None:
        return sys.executable, {}
    place = folder / manifest.environment["lock_sha256"][:32]
    ready = place / "ready"
    if not ready.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(place.with_suffix(".lock")):
            if not ready.is_file():
                _build(manifest, place, say)
                ready.write_text(time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))
    bridge = place / "bridges" / manifest.name / _whence(manifest.name)
    with _alone(place.with_suffix(".lock")):
        if not bridge.is_dir():
            _bridge(manifest.name, place, bridge)
    return str(place / "bin" / "python"), {"PYTHONPATH": str(bridge)}


def surroundings(python: str | None = None) -> dict[str, Any]:
    """Machine, system and Python of this worker."""
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "python": platform.python_version() if python in (None, sys.executable) else python,
    }


def _build(manifest: Manifest, place: Path, say: Callable[[str], None]) -> None:
    assert manifest.environment is not None
    say(f"Building the environment of {manifest.name} from its lock, once{_cost(manifest)}.")
    _room(manifest, place.parent)
    began = time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    lock = place.with_suffix(".txt")
    lock.write_text(manifest.environment["lock"], encoding="utf-8")
    try:
        for command in _commands(place, str(lock), manifest.environment["python"]):
            _do(command, place, say)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    finally:
        lock.unlink(missing_ok=True)
    say(f"Built in {time.monotonic() - began:.0f} s.")


def _commands(place: Path, lock: str, version: str | None) -> list[list[str]]:
    uv = _uv()
    python = str(place / "bin" / "python")
    if uv:
        wanted = ["--python", version or sys.executable]
        return [
            [uv, "venv", "--quiet", *wanted, str(place)],
            [uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, "-r", lock],
        ]
    base = sys.executable if version is None else shutil.which(f"python{version}")
    if base is None:
        raise EnvironmentBuildError(f"Expected Python {version} on this machine, or uv; got none.")
    return [
        [base, "-m", "venv", str(place)],
        [python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock],
    ]


def _uv() -> str | None:
    with contextlib.suppress(Exception):
        return os.fspath(importlib.import_module("uv").find_uv_bin())
    return shutil.which("uv")


def _cost(manifest: Manifest) -> str:
    """What the analysis says that a build takes: "; about 1.8 GB on disk and 5 minutes"."""
    wanted = manifest.environment or {}
    size, minutes = wanted.get("gigabytes"), wanted.get("minutes")
    parts = [f"{size:g} GB on disk"] if size else []
    parts += [f"{minutes:g} minutes"] if minutes else []
    return "; about " + " and ".join(parts) if parts else ""


def _room(manifest: Manifest, folder: Path) -> None:
    needed = ((manifest.environment or {}).get("gigabytes") or 0) * 1e9
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentBuildError(
            f"Expected {needed / 1e9:.1f} GB free for the environment of {manifest.name}; got "
            f"{free / 1e9:.1f} GB in {folder}: free space, or remove environments with "
            "`lanternfish environments --remove`."
        )


def _do(command: list[str], place: Path, say: Callable[[str], None]) -> None:
    """Run one step of a build; say every few seconds how long it runs and what is on disk."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=_variables(os.environ)
        ) as child:
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(TICK)
                        break
                    took = time.monotonic() - began
                    if took > PATIENCE:
                        raise EnvironmentBuildError(
                            f"Expected a build within {PATIENCE:.0f} s: start the job again on a "
                            "faster connection."
                        )
                    say(f"Still building: {took:.0f} s, {size_of(place) / 1e9:.2f} GB on disk.")
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            errors.seek(0)
            raise EnvironmentBuildError(_why(errors.read()))


def _variables(around: Mapping[str, str]) -> dict[str, str]:
    """The worker's variables; pip's places of packages hold for uv, where uv's are not set."""
    found = dict(around)
    links, index = found.get("PIP_FIND_LINKS"), found.get("PIP_INDEX_URL")
    if links:
        found.setdefault("UV_FIND_LINKS", ",".join(links.split()))
    if index and "UV_INDEX_URL" not in found:
        found.setdefault("UV_DEFAULT_INDEX", index)
    return found


def _why(text: str) -> str:
    """One sentence on a failed build with what to do, then the last lines of the installer."""
    last = " ".join(text.strip().splitlines()[-12:])
    low = text.lower()
    for signs, reason in REASONS:
        if any(sign in low for sign in signs):
            return f"The environment could not be built: {reason}. The installer said: {last}"
    return f"The environment could not be built: {last}"


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
    return [
        {
            "key": ready.parent.name,
            "built": ready.read_text().strip(),
            "analyses": sorted(each.name for each in (ready.parent / "bridges").glob("[!.]*")),
            "bytes": size_of(ready.parent),
        }
        for ready in sorted(folder.glob("*/ready"))
    ]


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
    with _alone(place.with_suffix(".lock")):
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


def _packages(name: str) -> list[str]:
    """What a bridge links in: our interface, and the analysis's own package."""
    return sorted({"lanternfish", entries()[name].value.partition(":")[0].partition(".")[0]})


def _whence(name: str) -> str:
    """Name of a bridge by where its packages lie and their version: another for each installation.

    An installation that was moved, or a second one that shares the environments, gets its own.
    """
    found = (importlib.util.find_spec(package) for package in _packages(name))
    parts = [str(spec.origin) if spec else "" for spec in found]
    text = "\n".join([*parts, package_of(name)["version"], entries()[name].value])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _bridge(name: str, place: Path, final: Path) -> None:
    """Link our interface and the analysis's own package in, where the lock has not got them."""
    bridge = final.with_name(f".{final.name}")
    shutil.rmtree(bridge, ignore_errors=True)
    bridge.mkdir(parents=True)
    python = str(place / "bin" / "python")
    for package in _packages(name):
        look = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
        if subprocess.run([python, "-I", "-c", look], check=False).returncode == 0:
            continue
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise EnvironmentBuildError(f"Expected the package {package} here; it is gone.")
        origin = Path(spec.origin)
        target = origin.parent if origin.name == "__init__.py" else origin
        (bridge / target.name).symlink_to(target)
    _metadata(name, bridge)
    bridge.rename(final)


def _metadata(name: str, bridge: Path) -> None:
    """The analysis's entry point, where the lock has not got its package."""
    package = package_of(name)
    folder = bridge / f"{package['name'].replace('-', '_')}-{package['version']}.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.1", *(f"{k.title()}: {v}" for k, v in package.items())]
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    points = f"[{GROUP}]\n{name} = {entries()[name].value}\n"
    (folder / "entry_points.txt").write_text(points, encoding="utf-8")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
