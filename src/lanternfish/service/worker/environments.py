"""The Python that an analysis runs in: the worker's own, or one built once from a lock file.

Built by uv, or by venv and pip where uv is missing, in a folder named by the hash of the lock and
the version of Python; every package's hash is checked. Two workers that need it at once build it
once.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lanternfish.service.analyses import GROUP, Manifest
from lanternfish.service.analyses.registry import entries, package_of

PATIENCE = 1_800.0  # seconds that a build may take


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
    return str(place / "bin" / "python"), {"PYTHONPATH": str(place / "bridge")}


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
    say(f"Building the environment of {manifest.name} from its lock, once.")
    began = time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    lock = place.with_suffix(".txt")
    lock.write_text(manifest.environment["lock"], encoding="utf-8")
    try:
        for command in _commands(place, str(lock), manifest.environment["python"]):
            _do(command)
        _bridge(manifest.name, place)
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


def _do(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentBuildError(f"Expected a build within {PATIENCE:.0f} s.") from None
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-12:])
        raise EnvironmentBuildError(f"The environment could not be built: {last}")


def _bridge(name: str, place: Path) -> None:
    """Link our interface and the analysis's own package in, where the lock has not got them."""
    bridge = place / "bridge"
    bridge.mkdir()
    packages = {"lanternfish", entries()[name].value.partition(":")[0].partition(".")[0]}
    python = str(place / "bin" / "python")
    for package in sorted(packages):
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
