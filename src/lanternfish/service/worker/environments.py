"""The Python that an analysis runs in: the worker's own, or one built once from a lock file.

Built by uv, or by venv and pip where uv is missing, in a folder named by the hash of the lock and
the version of Python; every package's hash is checked. Two workers that need it at once build it
once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lanternfish.service.analyses import GROUP, Manifest, built
from lanternfish.service.analyses.registry import entries, package_of

PATIENCE = 1_800.0  # seconds that a build may take
TICK = 10.0  # seconds between two lines on a build
GLANCE = 0.2  # seconds between two looks at a build
LINES = 12  # of a failed installer, at most, that the log has
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
    (
        ("no solution found", "was not found in", "no matching distribution", "no version of"),
        "a package of its lock is not where the worker looks: name the index that has it in "
        "UV_DEFAULT_INDEX, or a folder of wheels in UV_FIND_LINKS (pip: PIP_FIND_LINKS)",
    ),
)


class EnvironmentBuildError(RuntimeError):
    """The environment of an analysis could not be built."""


def python_for(
    manifest: Manifest,
    folder: Path,
    say: Callable[[str], None],
    hold: Callable[[], None] = lambda: None,
) -> tuple[str, dict[str, str]]:
    """The interpreter of an analysis, and variables that its process needs.

    Args:
        folder: where environments are kept. say: takes a line for the log.
        hold: called several times a second while an environment is built, here or by another
            worker; what it raises ends the build, and nothing is left of it.

    Raises:
        EnvironmentBuildError: one sentence; `say` has had the last lines of the installer.
    """
    if manifest.environment is None:
        return sys.executable, {}
    place = built.place_of(manifest.environment, folder)
    ready = place / "ready"
    if not ready.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with built.alone(place, hold):
            if not ready.is_file():
                _build(manifest, place, say, hold)
    bridge = place / "bridges" / manifest.name / _whence(manifest.name)
    with built.alone(place, hold):
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


def _build(
    manifest: Manifest, place: Path, say: Callable[[str], None], hold: Callable[[], None]
) -> None:
    assert manifest.environment is not None
    cost = built.cost_in_words(manifest.environment)
    about = f"; about {cost}" if cost else ""
    say(f"Building the environment of {manifest.name} from its lock, once{about}.")
    _room(manifest, place.parent)
    began = time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    lock = place.with_suffix(".txt")
    lock.write_text(manifest.environment["lock"], encoding="utf-8")
    try:
        for command in _commands(place, str(lock), manifest.environment["python"]):
            _do(command, place, say, hold)
        built.note_ready(place)
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


def _room(manifest: Manifest, folder: Path) -> None:
    needed = ((manifest.environment or {}).get("gigabytes") or 0) * 1e9
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentBuildError(
            f"Expected {needed / 1e9:.1f} GB free for the environment of {manifest.name}; got "
            f"{free / 1e9:.1f} GB in {folder}: free space, or remove environments with "
            "`lanternfish environments --remove`."
        )


def _do(
    command: list[str], place: Path, say: Callable[[str], None], hold: Callable[[], None]
) -> None:
    """Run one step of a build; say every few seconds how long it runs and what is on disk."""
    began = said = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=_variables(os.environ),
            start_new_session=True,
        ) as child:
            try:
                while not _ended(child):
                    hold()
                    took = time.monotonic() - began
                    if took > PATIENCE:
                        raise EnvironmentBuildError(
                            f"Expected a build within {PATIENCE:.0f} s: start the job again on a "
                            "faster connection."
                        )
                    if time.monotonic() - said >= TICK:
                        said = time.monotonic()
                        size = built.size_of(place) / 1e9
                        say(f"Still building: {took:.0f} s, {size:.2f} GB on disk.")
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # with what it has started
                raise
        if child.returncode:
            errors.seek(0)
            text = errors.read()
            for line in text.strip().splitlines()[-LINES:]:
                say(f"The installer said: {line.rstrip()[:300]}")
            raise EnvironmentBuildError(_why(text))


def _ended(child: subprocess.Popen) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GLANCE)
    return child.returncode is not None


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
    """One sentence on a failed build, with what to do."""
    low = text.lower()
    for signs, reason in REASONS:
        if any(sign in low for sign in signs):
            return f"The environment could not be built: {reason}."
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or ["nothing"]
    return (
        "The environment could not be built; the log has what the installer said, at last: "
        f"{lines[-1].rstrip('.')[:200]}."
    )


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
