"""Strangers' code on a shared platform: bubblewrap, or not at all.

Inside there is no network, no other process, no secret in the environment, no file but the system's
programs, the analysis's environment, its own inputs (read-only) and its own output and checkpoint;
memory, processes and file sizes are bounded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ssl", "/etc/fonts")
_PASSED = frozenset(
    ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONUNBUFFERED", "MPLBACKEND")
)


class NoSandboxError(RuntimeError):
    """bubblewrap is not here, or cannot work here."""


@dataclass(frozen=True)
class Sandbox:
    """Bounds of a sandboxed job.

    Attributes:
        readable: further folders that its process may read (where packages are).
        memory: bytes of address space of a process; None: no bound.
        processes: how many the user may have at a time; file: bytes of the largest file.
    """

    readable: tuple[Path, ...] = ()
    memory: int | None = None
    processes: int = 256
    file: int = 1 << 38

    def wrap(
        self, command: list[str], variables: dict[str, str], folder: Path, task: Path
    ) -> tuple[list[str], dict[str, str]]:
        """The command inside of the sandbox, and the variables that it may see."""
        kept = {
            name: value
            for name, value in variables.items()
            if name in _PASSED or name.startswith("LANTERNFISH_")
        }
        kept["HOME"] = "/tmp"
        python = Path(command[0])
        seen = [Path(p) for p in SYSTEM] + [*self.readable, python.parent.parent]
        seen += [Path(sys.prefix), Path(sys.base_prefix), _package()]
        seen += [Path(each) for each in variables.get("PYTHONPATH", "").split(os.pathsep) if each]
        binds: list[str] = []
        for place in dict.fromkeys(path for path in seen if path.exists()):
            binds += ["--ro-bind", str(place), str(place)]
        output = folder / f"output-{task.stem.removeprefix('task-')}"
        for place in (output, folder / "checkpoint"):
            binds += ["--bind", str(place), str(place)]
        if (folder / "in").exists():
            binds += ["--ro-bind", str(folder / "in"), str(folder / "in")]
        for path in json.loads(task.read_text(encoding="utf-8"))["inputs"].values():
            target = os.path.realpath(path)  # large blobs are linked, some data stay where they are
            if not target.startswith(str(folder / "in")):
                binds += ["--ro-bind", target, target]
        inside = [*self._limits(), *command]
        wrapped = [_bwrap(), "--unshare-all", "--die-with-parent", "--new-session"]
        wrapped += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *binds]
        wrapped += ["--ro-bind", str(task), str(task), "--chdir", str(output), "--", *inside]
        return wrapped, kept

    def _limits(self) -> list[str]:
        prlimit = shutil.which("prlimit")
        if prlimit is None:
            raise NoSandboxError("Expected prlimit (util-linux) beside bubblewrap; got none.")
        bounds = [prlimit, f"--nproc={self.processes}", f"--fsize={self.file}", "--core=0"]
        return [*bounds, f"--as={self.memory}"] if self.memory else bounds


def available() -> str:
    """Why there can be no sandbox on this machine; "" where there can be one."""
    try:
        bwrap = _bwrap()
    except NoSandboxError as error:
        return str(error)
    command = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"bubblewrap cannot work here: {done.stderr.strip()[:200]}"
    return ""


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise NoSandboxError(
            "Expected bubblewrap (bwrap) for strangers' code; got none: install it, or run a "
            "personal platform."
        )
    return found


def _package() -> Path:
    import lanternfish

    return Path(lanternfish.__file__).parent
