"""What a simulator is: a function of parameters and a seed, and the names of what it returns.

Three kinds, by how the function is called; the room ``simulation`` runs them. A fourth,
``Elsewhere``, stands for one that is not at hand, while its simulations are.

| kind | function | runs |
|---|---|---|
| ``JaxSimulator`` | one parameter set and one key, in JAX | compiled and batched, CPU or GPU |
| ``PythonSimulator`` | one parameter set and one NumPy generator | in worker processes |
| ``BatchSimulator`` | many parameter sets and their seeds, compiled code | in threads |
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import partial

import numpy as np

from lanternfish.core.columns import Column, as_columns


@dataclass(frozen=True)
class Simulator:
    """A function and the statistics that it returns.

    Args:
        function: what to call; see the kinds.
        outputs: names or columns of what it returns, k numbers in all; ``Trace``, ``Image`` and
            ``Trials`` for raw data.
    """

    function: Callable
    outputs: Sequence[str | Column]
    columns: tuple[Column, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"Expected a function to simulate with; got {self.function!r}.")
        object.__setattr__(self, "columns", as_columns(self.outputs))

    @property
    def fingerprint(self) -> str:
        """Hash of the function's source and of the names it returns, to recognise it by."""
        names = (f"{c.name}{c.kind}{c.shape}" if c.is_array else c.name for c in self.columns)
        text = _source(self.function) + "|" + ",".join(names)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class JaxSimulator(Simulator):
    """A JAX function of one parameter set and one key.

    ``function(theta, key)`` takes ``theta``, a mapping of scalars by parameter name, and a JAX
    key; it returns an array of shape (k,), or a dictionary by output name of scalars, or of arrays
    in the output's shape. Where there are hundreds of parameters, take them in one array:
    ``vector_of(theta, names)``.

    Args:
        lanes: parameter sets that one compiled call works on. Simulation i always sits in lane
            i modulo ``lanes`` of its block, so its bits do not depend on batch or worker.
    """

    lanes: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lanes < 1:
            raise ValueError(f"Expected lanes of at least 1; got {self.lanes}.")


@dataclass(frozen=True)
class PythonSimulator(Simulator):
    """Any Python callable: NumPy, NEURON, Brian2, a call to a binary.

    ``function(theta, rng)`` takes ``theta``, a dictionary of floats by parameter name, and a
    ``numpy.random.Generator``; it returns k numbers in the order of ``outputs``, or a dictionary by
    name of numbers, or of arrays in the output's shape (of trials, fewer are filled up). It is run
    in processes of its own: a crash, an exception or a hang costs that one simulation.

    Args:
        time_limit: seconds after which one simulation is given up; ``None`` waits for ever.
    """

    time_limit: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"Expected a time_limit above 0 s, or None; got {self.time_limit}.")


@dataclass(frozen=True)
class BatchSimulator(Simulator):
    """Compiled code that takes many parameter sets at once and releases the interpreter's lock.

    ``function(theta, seeds)`` takes an array (n, d) float64 and seeds (n,) uint64; it returns
    statistics (n, k), or a dictionary by name of (n,) or (n, *shape), or a pair of them and
    importance weights (n,). Row i may depend on
    ``theta[i]`` and ``seeds[i]`` alone.

    Args:
        block: largest n of one call. Progress is shown, and an interruption heard, between calls.
    """

    block: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block < 1:
            raise ValueError(f"Expected a block of at least 1; got {self.block}.")


class Elsewhere(Simulator):
    """A simulator that does not run here; its simulations are there already.

    A model with it is learned from what ``Simulations.of`` holds, through
    ``infer(..., simulations=...)``, in one round. Whoever asks it for another simulation is told.

    >>> import lanternfish as lf
    >>> model = lf.Model(lf.Prior(gain=lf.Normal(0, 1)), lf.Elsewhere(outputs=("rate", "cv")))

    Args:
        outputs: names or columns of the statistics that the simulations hold.
    """

    def __init__(self, outputs: Sequence[str | Column]) -> None:
        super().__init__(_not_here, outputs)


def _not_here(theta, seed):
    raise NotImplementedError("Expected a simulator; got one that is elsewhere.")


def _source(function: Callable, depth: int = 3) -> str:
    """Source text of a function and of the values that it holds, or the best there is."""
    if isinstance(function, partial):
        given = _plain((*function.args, *sorted(function.keywords.items())), depth)
        return _source(function.func, depth) + given
    name = getattr(function, "__qualname__", type(function).__qualname__)
    try:
        text = inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):
        text = ""
    held: object = function
    if is_dataclass(held) and not isinstance(held, type) and depth:
        return f"{name}:{text}:{_plain(tuple(vars(held).values()), depth - 1)}"
    return f"{name}:{text}:{_captured(function, depth - 1) if depth else ''}"


def _captured(function: Callable, depth: int) -> str:
    """Values that a function holds: defaults and closure. Globals that it reads are not seen."""
    cells = getattr(function, "__closure__", None) or ()
    held = tuple(cell.cell_contents for cell in cells if _filled(cell))
    return _plain((getattr(function, "__defaults__", None) or (), held), depth)


def _filled(cell) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (raises where the name is not bound yet)
    except ValueError:
        return False
    return True


def _plain(value, depth: int) -> str:
    """Text of a value that is the same in every process; of what can change, only its type.

    A list or a dictionary that a function holds may be its notebook, and no part of what it does.
    """
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, tuple):
        return "(" + ",".join(_plain(v, depth) for v in value) + ")"
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(tuple(vars(value).values()), depth)
    if callable(value):
        return _source(value, depth)
    plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return repr(value) if plain else type(value).__qualname__
