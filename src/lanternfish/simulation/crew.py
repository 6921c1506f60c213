"""Who runs the tasks of a campaign: a call, an executor, and what is under way.

Any ``concurrent.futures.Executor`` will do. A task that the executor lost (a worker died, a
connection broke) is handed in again a bounded number of times.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lanternfish.core import BatchSimulator, JaxSimulator, Model, PythonSimulator
from lanternfish.simulation.batch_call import BatchCall
from lanternfish.simulation.jax_call import JaxCall
from lanternfish.simulation.outcome import Outcome, SimulationError, Stopped
from lanternfish.simulation.python_call import PythonCall

TRIES = 4  # times that a task is handed in before the executor is given up
TASK_SECONDS = 0.5  # a task should take about this long
RECOUNT = 5.0  # s between looks at how many workers a cluster has
_MANY = 16  # workers assumed of an executor that does not tell


class Call(Protocol):
    """Runs some simulations; goes to other processes by pickle."""

    def __call__(self, theta: np.ndarray, seeds: np.ndarray, start: int) -> Outcome: ...

    def stop(self) -> None: ...


@dataclass
class Task:
    """Rows of a shard to run, ``start`` to ``stop`` by their number in the study."""

    start: int
    stop: int
    theta: np.ndarray
    seeds: np.ndarray
    deliver: Callable[[Task, Outcome], None]
    tries: int = 0


@dataclass
class Crew:
    """An executor and what it was given to do."""

    call: Call
    executor: Executor
    workers: int
    granule: int
    own: bool
    _under_way: dict[Future, Task] = field(default_factory=dict)
    _counted: float = field(default_factory=time.monotonic)

    @property
    def room(self) -> int:
        """Tasks that may be handed in now, so that no worker waits and little is in memory."""
        return max(0, 2 * self.workers - len(self._under_way))

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def submit(self, task: Task) -> None:
        task.tries += 1
        try:
            future = self.executor.submit(self.call, task.theta, task.seeds, task.start)
        except Exception as error:
            raise _given_up(error, task.tries) from error
        self._under_way[future] = task

    def finished(self, timeout: float) -> Iterator[tuple[Task, Outcome]]:
        """Tasks that are done, after waiting for the first one ``timeout`` seconds at most."""
        if not self.own and time.monotonic() - self._counted > RECOUNT:
            self.workers, self._counted = workers_of(self.executor), time.monotonic()
        done, _ = wait(self._under_way, timeout, FIRST_COMPLETED)
        for future in done:
            task = self._under_way.pop(future)
            outcome = self._result(future, task)
            if outcome is not None:
                yield task, outcome

    def _result(self, future: Future, task: Task) -> Outcome | None:
        """The outcome, or nothing where the task was lost and handed in again."""
        try:
            return future.result()
        except (SimulationError, Stopped):
            raise
        except (Exception, SystemExit) as error:  # a cancelled future is an Exception too
            if task.tries >= TRIES:
                raise _given_up(error, task.tries) from error
            time.sleep(0.1 * task.tries)
            self.submit(task)
            return None

    def close(self, whole: bool) -> None:
        """Free what the crew holds. Without ``whole``, drop what is under way and do not wait."""
        for future in self._under_way:
            future.cancel()
        self.call.stop()
        if self.own:
            self.executor.shutdown(wait=whole, cancel_futures=True)


def gather(model: Model, executor: Executor | None) -> Crew:
    """The crew for a model's kind of simulator.

    Raises:
        TypeError: if the executor is not one, or the simulator cannot be sent to it.
        SimulationError: if a JAX simulator cannot be traced.
    """
    if executor is not None and not isinstance(executor, Executor):
        hint = ": give client.get_executor()" if hasattr(executor, "get_executor") else ""
        raise TypeError(
            "Expected a concurrent.futures.Executor, such as ProcessPoolExecutor(); "
            f"got {type(executor).__name__}{hint}."
        )
    simulator, names = model.simulator, model.prior.names
    if isinstance(simulator, JaxSimulator):
        return _hire(JaxCall(simulator, names), None, simulator.lanes, _jax_threads())
    if isinstance(simulator, BatchSimulator):
        return _hire(BatchCall(simulator, names), executor, simulator.block, cores())
    assert isinstance(simulator, PythonSimulator)
    return _hire(PythonCall(simulator, names), executor, 1, cores())


def _hire(call: Call, executor: Executor | None, granule: int, threads: int) -> Crew:
    if executor is not None:
        if not isinstance(executor, ThreadPoolExecutor):
            pickle.dumps(call)  # says at once what cannot be sent
        return Crew(call, executor, workers_of(executor), granule, own=False)
    pool = ThreadPoolExecutor(threads, "lanternfish-simulate")
    return Crew(call, pool, threads, granule, own=True)


def _jax_threads() -> int:
    import jax

    return cores() if jax.default_backend() == "cpu" else 2  # one fills the queue of the other


def cores() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def workers_of(executor: Executor) -> int:
    """Tasks that an executor runs at once, as far as it tells."""
    count = getattr(executor, "_max_workers", None)
    client = getattr(executor, "_client", None)  # distributed.cfexecutor.ClientExecutor
    if count is None and client is not None:
        count = sum(client.nthreads().values())
    return int(count or _MANY)


class Pace:
    """Rows for the next task, so that it takes about ``TASK_SECONDS``.

    Only the speed depends on it: a task is cut between granules, and results do not depend on
    where.
    """

    def __init__(self, crew: Crew, total: int) -> None:
        self._crew = crew
        self._left = total
        self._seconds_per_row: float | None = None

    def learn(self, rows: int, seconds: float) -> None:
        """Take in how long some rows took."""
        new = seconds / rows
        old = self._seconds_per_row
        self._seconds_per_row = new if old is None else 0.7 * old + 0.3 * new

    def cut(self, start: int, stop: int) -> int:
        """Where a task that begins at row ``start`` ends, ``stop`` at most."""
        rows = granule = self._crew.granule
        if self._seconds_per_row is not None:
            rows = int(TASK_SECONDS / max(self._seconds_per_row, 1e-9))
            rows = min(rows, -(-self._left // (2 * self._crew.workers)))
        end = (start + max(rows, 1)) // granule * granule
        end = min(stop, max(end, (start // granule + 1) * granule))
        self._left -= end - start
        return end


class ExecutorLost(SimulationError):
    """The executor does not run tasks any more."""


def _given_up(error: BaseException, tries: int) -> ExecutorLost:
    text = " ".join(str(error).split())[:200].rstrip(".")
    again = f" {tries} times" if tries > 1 else ""
    return ExecutorLost(
        f"Expected the executor to run simulations; got {type(error).__name__}{again}: "
        f"{text or 'no reason given'}"
    )
