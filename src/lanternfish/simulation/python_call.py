"""Running a ``PythonSimulator``: each simulation in a child process that may die of it."""

from __future__ import annotations

import importlib.machinery
import pickle
import sys
import time
import uuid
from typing import TYPE_CHECKING

import cloudpickle
import numpy as np

from lanternfish.simulation.child import CRASHED, TIMED_OUT, width
from lanternfish.simulation.children import Child, Gone, Late, nursery
from lanternfish.simulation.outcome import Outcome, Stopped

if TYPE_CHECKING:
    from lanternfish.core import PythonSimulator


class PythonCall:
    """Runs rows of parameters one by one, in a child of whatever process it is called in.

    It goes to other processes by pickle. A process that dies at its first simulation, or twice at
    the same one, is that simulation's fault; one that dies later may have been worn out by those
    before, and the simulation is tried once more in a fresh process. What becomes of it therefore
    does not depend on which others ran before it.
    """

    def __init__(self, simulator: PythonSimulator, names: tuple[str, ...]) -> None:
        outputs = tuple(c.spec for c in simulator.columns)
        setup = {
            "path": list(sys.path),
            "names": names,
            "outputs": outputs,
            "function": pickled(simulator.function),
        }
        self._setup = pickle.dumps(setup)
        self._token = uuid.uuid4().hex
        self._k = width(outputs)
        self._time_limit = simulator.time_limit

    def __call__(self, theta: np.ndarray, seeds: np.ndarray, start: int) -> Outcome:
        began = time.perf_counter()
        out = Outcome.blank(len(theta), self._k)
        row, fresh = 0, False
        while row < len(theta):
            end = self._run_from(row, theta, seeds, out, fresh)
            fresh = end == row
            row = end
        out.seconds = time.perf_counter() - began
        return out

    def _run_from(self, row: int, theta, seeds, out: Outcome, fresh: bool) -> int:
        """Run rows in one child until it is lost; the first row that is still to do."""
        house = nursery()
        child = house.take(self._token, self._setup, self._k, fresh)
        whole = False
        try:
            child.ask(theta[row:], seeds[row:])
            while row < len(theta):
                self._take_answer(child, row, out)
                row += 1
            whole = True
        except Late:
            late = f"A simulation ran longer than the time limit of {self._time_limit:g} s"
            self._lose(out, row, TIMED_OUT, late + child.printed())
            row += 1
        except Gone as end:
            if house.ended(self._token):
                raise Stopped from None
            if child.fresh:
                self._lose(out, row, CRASHED, f"A simulation took down {end}")
                row += 1
        finally:
            (house.give_back if whole else house.discard)(self._token, child)
        return row

    def _take_answer(self, child: Child, row: int, out: Outcome) -> None:
        status, x, message = child.answer(self._time_limit)
        child.fresh = False
        out.status[row], out.x[row] = status, x
        if message:
            out.note([message])

    def _lose(self, out: Outcome, row: int, status: int, message: str) -> None:
        out.status[row] = status
        out.note([message + "."])

    def stop(self) -> None:
        """End this campaign's children in this process; those elsewhere leave when idle."""
        nursery().end(self._token)


def pickled(function) -> bytes:
    """The function as bytes that another process can load.

    A function of a file that was loaded by its path goes by value, because no other process could
    import it.

    Raises:
        TypeError: if it holds something that cannot be sent.
    """
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    by_value = module is not None and not _importable(module)
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(function)
    except Exception as error:
        raise TypeError(
            "Expected a simulator that can be sent to another process; got one that holds what "
            f"cannot ({type(error).__name__}: {error}): open files and connections inside it."
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)


def _importable(module) -> bool:
    """Whether a fresh interpreter with this path would find the module."""
    name = module.__name__
    if name == "__main__" or name in sys.builtin_module_names or "." in name:
        return True
    try:
        spec = importlib.machinery.PathFinder.find_spec(name)
    except (ImportError, ValueError):
        return True
    own = getattr(module, "__file__", None)
    return spec is not None and (own is None or spec.origin == own)
