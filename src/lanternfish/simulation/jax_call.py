"""Running a ``JaxSimulator``: aligned blocks of lanes through one compiled program.

Simulation i sits in lane i modulo ``lanes`` of a block that is always full (copies fill it up), so
that its bits depend on neither the batch, the shard nor the worker. Its key is the seed's, folded
with 1; the prior draws from the same key folded with 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import JaxSimulator, Named
from lanternfish.core.prior import key_data
from lanternfish.simulation.child import Output, described, explain, width
from lanternfish.simulation.outcome import (
    Outcome,
    SimulationError,
    Stopped,
    aligned,
    finite_status,
)


class JaxCall:
    """Compiles the simulator for its lanes, after a look at the shape that it returns.

    Raises:
        SimulationError: if it cannot be traced, or returns something else than k numbers.
    """

    def __init__(self, simulator: JaxSimulator, names: tuple[str, ...]) -> None:
        self._lanes = simulator.lanes
        self._outputs = tuple(c.spec for c in simulator.columns)
        self._k = width(self._outputs)
        held = _Same(simulator.function)
        self._program = _compiled(
            held, names, self._outputs, self._lanes, jnp.result_type(float).name
        )
        self._stopped = False

    def __call__(self, theta: np.ndarray, seeds: np.ndarray, start: int) -> Outcome:
        began = time.perf_counter()
        out = Outcome.blank(len(theta), self._k)
        for a, b in aligned(start, start + len(theta), self._lanes):
            if self._stopped:
                raise Stopped
            rows = np.full(self._lanes, a - start)
            lane = a % self._lanes
            rows[lane : lane + b - a] = np.arange(a - start, b - start)
            out.x[a - start : b - start] = self._run(theta[rows], seeds[rows])[lane : lane + b - a]
        out.status = finite_status(out.x, self._outputs)
        out.seconds = time.perf_counter() - began
        return out

    def _run(self, theta: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._program(*_arguments(theta, seeds)), np.float64)
        except jax.errors.JaxRuntimeError as error:
            raise SimulationError(
                f"Expected the compiled simulator to run; got {explain(error)}: lower the "
                f"simulator's lanes (now {self._lanes}) where memory is short."
            ) from error

    def stop(self) -> None:
        self._stopped = True


def _arguments(theta: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(theta, jnp.result_type(float)), key_data(seeds)


class _Same:
    """Holds a function and is equal to another that holds the same one, hashable or not."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.function is self.function

    def __hash__(self) -> int:
        return id(self.function)


@lru_cache(maxsize=16)
def _compiled(held: _Same, names: tuple[str, ...], outputs: tuple[Output, ...], lanes: int, _: str):
    one = partial(_one, held.function, names, outputs)
    arguments = _arguments(np.zeros((lanes, len(names))), np.zeros(lanes, np.uint64))
    jax.eval_shape(one, *(a[0] for a in arguments))
    return jax.jit(jax.vmap(one)).lower(*arguments).compile()


def _one(function, names, outputs, theta: jax.Array, words: jax.Array) -> jax.Array:
    """Statistics (k,) of one parameter set (d,) and the words of its seed (2,)."""
    key = jax.random.fold_in(jax.random.wrap_key_data(words, impl="threefry2x32"), 1)
    expected = f"Expected {width(outputs)} numbers ({described(outputs)}) from the simulator"
    try:
        result = function(Named(theta, names), key)
        x = _named(result, outputs, expected) if isinstance(result, Mapping) else result
        x = jnp.asarray(x)
    except SimulationError:
        raise
    except Exception as error:
        raise SimulationError(
            "Expected a simulator that JAX can trace, of theta with "
            f"{', '.join(names)} and a key; got {explain(error)}."
        ) from error
    if x.shape != (width(outputs),) and not (len(outputs) == 1 and x.shape == outputs[0][1]):
        raise SimulationError(f"{expected}, shape ({width(outputs)},); got shape {x.shape}.")
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        raise SimulationError(f"{expected}; got {x.dtype}: return real numbers.")
    return x.reshape(width(outputs))


def _named(result: Mapping, outputs: tuple[Output, ...], expected: str) -> jax.Array:
    """The values of a dictionary, one after the other."""
    if set(result) != {name for name, _, _ in outputs}:
        got = ", ".join(map(str, result)) or "no name"
        raise SimulationError(f"{expected}; got {got}.")
    parts = [jnp.asarray(result[name], float) for name, _, _ in outputs]
    for (name, shape, _), part in zip(outputs, parts, strict=True):
        if part.shape != shape:
            raise SimulationError(f"{expected}; got shape {part.shape} for {name}.")
    return jnp.concatenate([part.ravel() for part in parts])


class OneSimulation:
    """A ``JaxSimulator`` as a function inside other JAX programs: theta (d,), words (2,) to (k,).

    Two of the same function are equal, so that programs which hold them share a compilation.
    """

    def __init__(self, simulator: JaxSimulator, names: tuple[str, ...]) -> None:
        self._parts = simulator.function, names, tuple(c.spec for c in simulator.columns)

    def __call__(self, theta: jax.Array, words: jax.Array) -> jax.Array:
        return _one(*self._parts, theta, words)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, OneSimulation)
            and other._parts[0] is self._parts[0]
            and other._parts[1:] == self._parts[1:]
        )

    def __hash__(self) -> int:
        return hash((id(self._parts[0]), *self._parts[1:]))
