"""Running a model over parameters: shards, seeds, failures, any executor.

Simulation i of a study draws its parameters and its noise from a seed of its own (``core.seeds``).
A campaign cuts its simulations into shards, a shard into tasks; a task is what a worker gets at a
time. Shards are stored as they fill, in whatever order; at most a few are in memory. Neither shard,
task, worker count nor order changes a result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np

from lanternfish.core import Folder, Model, Simulations, Status
from lanternfish.core.columns import width
from lanternfish.core.table import Table
from lanternfish.simulation.crew import Crew, ExecutorLost, Pace, Task, gather
from lanternfish.simulation.outcome import Outcome, SimulationError, kind_of
from lanternfish.simulation.plan import Plan, default_shard_size, make_plan
from lanternfish.simulation.progress import Listener, Reporter, shown, tally
from lanternfish.simulation.store import Rows, SimulationStore, as_folder, stored_shard_size
from lanternfish.simulation.writer import StoreWriter

WAIT = 0.2  # s between looks at the progress where nothing ends
HOPELESS = 20  # simulations that must all fail alike for a campaign to stop

Proposal = Callable[[np.ndarray], np.ndarray]
Place = str | os.PathLike | Folder | SimulationStore


def simulate(
    model: Model,
    n: int | None = None,
    *,
    theta=None,
    proposal: Proposal | None = None,
    seed: int = 0,
    first: int = 0,
    executor=None,
    store: Place | None = None,
    shard_size: int | None = None,
    progress: Listener | bool | None = None,
) -> Simulations:
    """Simulate a model, and return what came out, rows in the order of their numbers.

    >>> import lanternfish as lf
    >>> model = lf.Model(
    ...     lf.Prior(a=lf.Uniform(0, 1)), lf.BatchSimulator(lambda theta, seeds: theta**2, ["b"])
    ... )
    >>> lf.simulate(model, 1_000, seed=0)
    Simulations: 1,000 simulations: 1,000 gave finite statistics.

    A failure of one simulation is its status, not an exception. What was interrupted goes on from
    its last whole shard where ``store`` is given and the call is repeated.

    Args:
        model: prior, simulator and statistics.
        n: how many, with parameters from the prior or from ``proposal``.
        theta: parameters instead: a table, a mapping of names or an array (n, d), inside the prior;
            or a design (``simulation.designs``), of which simulation i takes row i.
        proposal: ``proposal(seeds)``, of (m,) uint64, returns parameters (m, d) inside the prior;
            row i may depend on ``seeds[i]`` alone.
        seed: of the study.
        first: number of the first simulation in the study; rounds continue the numbering.
        executor: any ``concurrent.futures.Executor``. By default JAX and batch simulators run in
            threads, Python simulators in one process for each core. JAX simulators ignore it.
        store: folder or fsspec URL where shards are kept; in memory where left out.
        shard_size: simulations in a shard; 4096 for JAX, 1024 for batch, 64 for Python simulators.
        progress: None for a bar where somebody looks, False for none, or a function of
            ``Progress``.

    Raises:
        ValueError: if arguments do not fit together or to the prior, or the store belongs to
            something else.
        SimulationError: if no simulation can run, or the executor is lost.
        OSError: if the store cannot be written; what it holds stays whole.
    """
    found = None if store is None else _folder(store)
    size = _shard_size(model, shard_size, found)
    plan = make_plan(model, n, theta, proposal, seed=seed, first=first, shard_size=size)
    if found is not None:
        return _into_store(plan, found, executor, progress).load(plan.first, plan.stop)
    return _into_memory(plan, executor, progress)


def campaign(
    model: Model,
    n: int | None = None,
    *,
    store: Place,
    theta=None,
    proposal: Proposal | None = None,
    seed: int = 0,
    first: int = 0,
    executor=None,
    shard_size: int | None = None,
    progress: Listener | bool | None = None,
) -> SimulationStore:
    """Simulate into a store and return it unread, for more simulations than fit into memory.

    Arguments and errors are those of ``simulate``.
    """
    found = _folder(store)
    size = _shard_size(model, shard_size, found)
    plan = make_plan(model, n, theta, proposal, seed=seed, first=first, shard_size=size)
    return _into_store(plan, found, executor, progress)


def _folder(store: Place) -> Folder:
    return store.folder if isinstance(store, SimulationStore) else as_folder(store)


def _shard_size(model: Model, asked: int | None, folder: Folder | None) -> int:
    """The size asked for, else the store's, else the default of the kind of simulator."""
    if asked is not None:
        return asked
    stored = None if folder is None else stored_shard_size(folder)
    return stored or default_shard_size(model)


def _into_memory(plan: Plan, executor, progress) -> Simulations:
    sink = _Memory(plan)
    try:
        _run(plan, sink, executor, progress)
    except ExecutorLost as error:
        raise ExecutorLost(
            f"{error}. Nothing is kept: give store=a folder, and an executor that works."
        ) from error
    return sink.rows.simulations()


def _into_store(plan: Plan, folder: Folder, executor, progress) -> SimulationStore:
    writer = StoreWriter.begin(folder, plan)
    try:
        _run(plan, writer, executor, progress)
    except ExecutorLost as error:
        raise ExecutorLost(
            f"{error}. {len(SimulationStore(folder)):,} simulations are kept in {folder.url}: "
            "repeat the call with an executor that works to go on."
        ) from error
    return SimulationStore(folder)


class _Sink(Protocol):
    """Where whole shards go."""

    def missing(self) -> Iterator[tuple[int, int, np.ndarray | None, str]]: ...

    def add(self, start: int, shard: Simulations) -> None: ...


class _Memory:
    """Keeps shards in memory."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.rows = Rows(plan.n, plan.model.parameters, plan.model.statistics)

    def missing(self) -> Iterator[tuple[int, int, np.ndarray | None, str]]:
        return ((a, b, None, "") for a, b in self._plan.ranges())

    def add(self, start: int, shard: Simulations) -> None:
        self.rows.put(start - self._plan.first, shard)


class _Shard:
    """A shard that fills, task by task."""

    def __init__(self, plan: Plan, start: int, stop: int, note: str) -> None:
        self.plan, self.start, self.stop = plan, start, stop
        self.theta = plan.theta(start, stop)
        self.seeds = plan.seeds(start, stop)
        self._out = Outcome.blank(stop - start, width(plan.model.statistics))
        self._out.note([note])
        self._left = stop - start

    def put(self, task: Task, part: Outcome) -> bool:
        """Take over a task's outcome; whether the shard is whole now."""
        self._out.put(slice(task.start - self.start, task.stop - self.start), part)
        self._left -= task.stop - task.start
        return not self._left

    def simulations(self) -> Simulations:
        out, model = self._out, self.plan.model
        theta, x = Table(self.theta, model.parameters), Table(out.x, model.statistics)
        return Simulations(theta, x, out.status, out.weight, self.seeds, out.messages)


def _run(plan: Plan, sink: _Sink, executor, progress: Listener | bool | None) -> None:
    """Run what is missing, and keep it shard by shard."""
    with shown(progress) as listener:
        report = Reporter(plan.n, listener)
        report.tell()
        crew = gather(plan.model, executor)
        whole = False
        try:
            _drive(plan, crew, sink, report)
            whole = True
        finally:
            crew.close(whole)
        report.tell()


def _drive(plan: Plan, crew: Crew, sink: _Sink, report: Reporter) -> None:
    pace = Pace(crew, plan.n)
    tasks = _tasks(plan, sink, report, pace)
    while True:
        for task in islice(tasks, crew.room):
            crew.submit(task)
        if not crew.busy:
            return
        for task, outcome in crew.finished(WAIT):
            pace.learn(task.stop - task.start, outcome.seconds)
            report.add(outcome.status)
            task.deliver(task, outcome)
        report.tell_if_due()


def _tasks(plan: Plan, sink: _Sink, report: Reporter, pace: Pace) -> Iterator[Task]:
    """The tasks of the shards that are missing, cut as they are asked for."""
    checked = False

    def deliver(shard: _Shard, task: Task, outcome: Outcome) -> None:
        nonlocal checked
        if shard.put(task, outcome):
            whole = shard.simulations()
            if not (checked or report.resumed):
                _check_hopeful(whole)
                checked = len(whole) >= HOPELESS
            sink.add(shard.start, whole)

    for start, stop, status, note in sink.missing():
        if status is not None:
            report.found(tally(status))
            continue
        shard = _Shard(plan, start, stop, note)
        a = start
        while a < stop:
            b = pace.cut(a, stop)
            rows = slice(a - start, b - start)
            yield Task(a, b, shard.theta[rows], shard.seeds[rows], partial(deliver, shard))
            a = b


def _check_hopeful(shard: Simulations) -> None:
    """Stop where each simulation of the first shard to be whole failed in one and the same way."""
    broken = (Status.RAISED, Status.CRASHED, Status.WRONG_SHAPE)
    alike = len({kind_of(message) for message in shard.messages}) == 1
    if len(shard) >= HOPELESS and alike and np.isin(shard.status, broken).all():
        raise SimulationError(
            f"Expected statistics from at least one of the first {len(shard)} simulations; got "
            f"the same failure from each: {shard.messages[0].rstrip('.')}: repair the simulator, "
            "or let it return NaN where parameters have no statistics."
        )
