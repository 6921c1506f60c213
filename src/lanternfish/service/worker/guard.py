"""Stands between a worker and the process of an analysis; standard library only, runs with -I -S.

    python -I -S guard.py LIFELINE RESULT COMMAND...

LIFELINE is a pipe whose other end only the worker holds. When it closes, because the worker died
however it died, the guard ends the whole tree: SIGTERM, and SIGKILL after the grace that the
worker's letter names. A letter "t" on it does the same. On Linux the guard adopts whatever leaves
the tree (subreaper), so that nothing escapes, and its child dies with it.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time

GRACE = 4.0  # seconds from SIGTERM to SIGKILL
_SUBREAPER, _DEATHSIG = 36, 1  # prctl


def prctl(option: int, value: int) -> None:
    """Linux's prctl; nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Living processes below `pid` (Linux), children before grandchildren."""
    below: dict[int, list[int]] = {}
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        below.setdefault(parent, []).append(int(name))
    found = list(below.get(pid, []))
    for each in found:
        found += below.get(each, [])
    return found


def kill(group: int, number: int) -> None:
    """Send a signal to the child's group, and to whatever has left it."""
    for target in [-group, *descendants(os.getpid())]:
        try:
            os.kill(target, number)
        except OSError:
            continue


def start(command: list[str], lifeline: int, result: int) -> int:
    """Start the command in a session of its own; returns its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    prctl(_DEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.close(lifeline)
    os.close(result)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        os._exit(127)


def reap(child: int) -> int | None:
    """Bury whoever has died; the child's wait status once it is among them."""
    status = None
    while True:
        try:
            pid, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = found


def main() -> None:
    lifeline, result = int(sys.argv[1]), int(sys.argv[2])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the lifeline says when to end, nothing else
    prctl(_SUBREAPER, 1)
    child = start(sys.argv[3:], lifeline, result)
    status, deadline, watching = None, None, [lifeline]
    while status is None:
        ready, _, _ = select.select(watching, [], [], 0.05)
        if ready:
            letter = os.read(lifeline, 1)
            watching = watching if letter else []
            if deadline is None:
                kill(child, signal.SIGTERM)
                deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            kill(child, signal.SIGKILL)
        status = reap(child)
    while descendants(os.getpid()):  # what the child left behind
        kill(child, signal.SIGKILL)
        reap(child)
        time.sleep(0.01)
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    end = {
        "code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": use.ru_utime + use.ru_stime,
        "largest": use.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    with contextlib.suppress(OSError):
        os.write(result, json.dumps(end).encode())


if __name__ == "__main__":
    main()
