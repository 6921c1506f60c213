"""The program of a child process: one simulation after another, answered over a pipe.

A simulator is a stranger's code. Here it may crash, hang, print or leave a mess, and it costs the
parent one simulation. The file runs by its path and imports nothing of lanternfish, so that a child
starts in the time that NumPy takes.

Frames on the way in have a length (uint64) before them: first the setup, a pickled dictionary; then
requests, the bytes of theta (n, d) float64 followed by those of seeds (n,) uint64. On the way out
there is one record for each simulation: a status byte, the length of a message (uint32), k float64,
the message in UTF-8. Status bytes are the numbers of ``lanternfish.core.Status``, or the two
below. What a simulator returns is described by outputs, each a name, a shape and a kind
(``Column.spec``), which have k numbers in all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import random
import select
import signal
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CodeType

import numpy as np

OK, INVALID, RAISED, TIMED_OUT, CRASHED, WRONG_SHAPE, ABANDONED = range(7)
READY, UNUSABLE = 100, 101  # how setting up ended
Output = tuple[str, tuple[int, ...], str]  # name, shape, kind
LENGTH = struct.Struct("<Q")
RECORD = struct.Struct("<BI")
IDLE_LIMIT = 60.0  # s without a request after which a child leaves
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PRINTED = 300  # characters kept of what a simulation prints
_NOTED_PRINTS = 3  # simulations of a child whose print is passed on, where they went well


def main() -> None:
    """Set up the simulator, say whether that went well, and serve."""
    requests, results = _take_pipes()
    _die_with_parent(int(sys.argv[1]))
    answer = partial(_write, results)
    try:
        setup = pickle.loads(_read_frame(requests))
        sys.path[:] = setup["path"]
        function = pickle.loads(setup["function"])
    except BaseException as error:
        answer(_record(UNUSABLE, b"", explain(error) + printed_note(read_output(1))))
        return
    clear_output(1)
    answer(_record(READY, b"", ""))
    serve(function, setup["names"], setup["outputs"], requests, answer)


def serve(function, names, outputs, requests: int, answer: Callable[[bytes], None]) -> None:
    """Answer requests until the parent is gone or has none for a long time."""
    pid, noted = os.getpid(), 0
    while select.select([requests], [], [], IDLE_LIMIT)[0] and (frame := _read_frame(requests)):
        theta, seeds = _unpack(frame, len(names))
        for row, seed in zip(theta.tolist(), seeds.tolist(), strict=True):
            named = dict(zip(names, row, strict=True))
            status, x, message = attempt(function, named, seed, outputs)
            if os.getpid() != pid:  # the simulator forked, and the copy came back here
                os._exit(0)
            printed = _take_output()
            if printed and (status != OK or noted < _NOTED_PRINTS):
                noted += status == OK
                message = (message or "A simulation went through") + printed_note(printed)
            answer(_record(status, x.tobytes(), message))


def attempt(
    function: Callable, theta: dict[str, float], seed: int, outputs: Sequence[Output]
) -> tuple[int, np.ndarray, str]:
    """One simulation: its status, statistics (k,) and message.

    NumPy's and Python's global generators are seeded too, for code that does not take ``rng``.
    """
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
    try:
        result = function(theta, np.random.default_rng(seed))
    except BaseException as error:
        return RAISED, np.full(width(outputs), np.nan), explain(error)
    try:
        x = as_statistics(result, outputs)
    except ValueError as error:
        return WRONG_SHAPE, np.full(width(outputs), np.nan), str(error)
    return (OK if complete(x[None], outputs)[0] else INVALID), x, ""


def width(outputs: Sequence[Output]) -> int:
    """Numbers that a simulation gives, k."""
    return sum(size(shape) for _, shape, _ in outputs)


def size(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=int))


def complete(x: np.ndarray, outputs: Sequence[Output]) -> np.ndarray:
    """Rows of x (m, k) whose numbers are all finite, (m,) of bool.

    Of trials whole ones may be absent (rows of NaN), but not all.
    """
    whole, start = np.ones(len(x), bool), 0
    for _, shape, kind in outputs:
        part = x[:, start : start + size(shape)]
        start += size(shape)
        if kind == "trials":
            trials = part.reshape(len(x), *shape)
            there = np.all(np.isfinite(trials), axis=2)
            absent = np.all(np.isnan(trials), axis=2)
            whole &= np.all(np.logical_or(there, absent), axis=1) & np.any(there, axis=1)
        else:
            whole &= np.all(np.isfinite(part), axis=1)
    return whole


def as_statistics(result: object, outputs: Sequence[Output]) -> np.ndarray:
    """What a simulator returned as k numbers, in the order of the outputs.

    Raises:
        ValueError: if the names or the shape are others.
    """
    if isinstance(result, Mapping):
        if set(result) != {name for name, _, _ in outputs}:
            raise ValueError(_expected(outputs, ", ".join(map(str, result)) or "no name"))
        parts = [_in_shape(result[output[0]], output, outputs) for output in outputs]
        return np.concatenate([part.ravel() for part in parts])
    x = None if result is None else _numbers(result)
    if x is None:
        raise ValueError(
            _expected(outputs, _short(result), ": return numbers, NaN where undefined")
        )
    if len(outputs) == 1 and x.ndim != 1:
        return _in_shape(x, outputs[0], outputs).ravel()
    if x.shape != (width(outputs),):
        raise ValueError(_expected(outputs, f"shape {x.shape}"))
    return x


def _in_shape(value: object, output: Output, outputs: Sequence[Output]) -> np.ndarray:
    """One output's array; fewer trials than there is room for are filled up with NaN."""
    name, shape, kind = output
    x = _numbers(value)
    if x is None or value is None:
        raise ValueError(_expected(outputs, _short(value), ": return numbers, NaN where undefined"))
    if kind == "trials" and x.ndim == 2 and x.shape[1] == shape[1] and len(x) < shape[0]:
        x = np.concatenate([x, np.full((shape[0] - len(x), shape[1]), np.nan)])
    if x.shape != shape:
        raise ValueError(_expected(outputs, f"shape {x.shape} for {name}"))
    return x


def _numbers(value: object) -> np.ndarray | None:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None


def described(outputs: Sequence[Output]) -> str:
    """Names of the outputs, with the shapes of those that are arrays."""
    return ", ".join(f"{name} {shape}" if shape else name for name, shape, _ in outputs)


def _expected(outputs: Sequence[Output], got: str, remedy: str = "") -> str:
    named = f"{width(outputs)} numbers ({described(outputs)})"
    return f"Expected {named} from the simulator; got {got}{remedy}."


def explain(error: BaseException) -> str:
    """Type, text and place of an exception, on one line."""
    try:
        text = " ".join(str(error).split())[:_PRINTED]
    except Exception:
        text = ""
    place = _place(error)
    return f"{type(error).__name__}: {text}".rstrip(": ") + (f" ({place})" if place else "")


def printed_note(text: str) -> str:
    return f"; it printed: {text}" if text else ""


def read_output(descriptor: int) -> str:
    """The end of what stands in the file that catches the prints, on one line."""
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, _PRINTED, max(0, size - _PRINTED))
    except OSError:
        return ""
    return " ".join(data.decode("utf-8", "replace").split())


def clear_output(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)


def _take_output() -> str:
    """What was printed since the last time, by Python or by C."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    _LIBC.fflush(None)
    with contextlib.suppress(OSError):
        if os.fstat(1).st_size:
            text = read_output(1)
            clear_output(1)
            return text
    return ""


def _place(error: BaseException) -> str:
    """File and line where it was raised: the user's code before any library below it."""
    places: list[tuple[CodeType, int]] = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename != __file__:
            places.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    own = [
        p for p in places if "site-packages" not in p[0].co_filename and "<" not in p[0].co_filename
    ]
    if not places:
        return ""
    code, line = (own or places)[-1]
    return f"{os.path.basename(code.co_filename)}, line {line}"


def _short(value: object) -> str:
    try:
        return repr(value)[:80]
    except Exception:
        return type(value).__name__


def _record(status: int, x: bytes, message: str) -> bytes:
    data = message.encode("utf-8", "replace")
    return RECORD.pack(status, len(data)) + x + data


def _unpack(frame: bytes, d: int) -> tuple[np.ndarray, np.ndarray]:
    n = len(frame) // (8 * (d + 1))
    theta = np.frombuffer(frame, np.float64, n * d).reshape(n, d)
    return theta, np.frombuffer(frame, np.uint64, n, offset=8 * n * d)


def _read_frame(descriptor: int) -> bytes:
    head = _read(descriptor, LENGTH.size)
    return _read(descriptor, LENGTH.unpack(head)[0]) if head else b""


def _read(descriptor: int, size: int) -> bytes:
    """Exactly ``size`` bytes, or none where the parent is gone."""
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _take_pipes() -> tuple[int, int]:
    """Move both pipes out of reach, so that what a simulator prints or reads does not meet them.

    Standard error is the file that catches prints; standard output joins it.
    """
    requests, results = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, results


def _die_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent (Linux); others see their input end."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    main()
