"""Killed, interrupted, deserted by its executor: whole shards stay, the same call goes on."""

import os
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import specimens
from test_simulate_failures import gone

import lanternfish as lf
from lanternfish.simulation import SimulationError, campaign, open_store

AT_ONCE = 2.0  # s within which an interruption is heard

SCRIPT = """
import os, time
import numpy as np
import lanternfish as lf
from lanternfish.simulation import campaign

def slow(theta, rng):
    with open(os.path.join({folder!r}, "log"), "a") as log:
        log.write(f"{{os.getpid()}} {{theta['a']!r}}\\n")
    time.sleep(0.02)
    return [theta["a"], rng.normal()]

def run():
    prior = lf.Prior(a=lf.Uniform(-1, 1), b=lf.LogUniform(0.1, 10))
    model = lf.Model(prior, lf.PythonSimulator(slow, ("rate", "cv")))
    theta = np.linspace([-1, 0.1], [1, 10], 96)
    return campaign(model, theta=theta, seed=3, store={folder!r} + "/store", shard_size=8)

if __name__ == "__main__":
    try:
        run()
        print("done")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.fixture
def script(tmp_path):
    """A campaign in an interpreter of its own, and the log that its simulations leave."""
    path = tmp_path / "study.py"
    path.write_text(textwrap.dedent(SCRIPT).format(folder=str(tmp_path)))
    return path, tmp_path / "log", tmp_path / "store"


def start(path):
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)


def wait_for_shards(store, count):
    deadline = time.monotonic() + 60
    while len(list(store.glob("shard-*.npz"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pids(log):
    return {int(line.split()[0]) for line in log.read_text().splitlines()}


def runs(log):
    return [line.split()[1] for line in log.read_text().splitlines()]


def test_a_campaign_that_is_stopped_goes_on(script):
    path, log, store = script
    whole: dict[str, int] = {}
    for how, shards in ((signal.SIGKILL, 2), (signal.SIGINT, 5)):
        process = start(path)
        wait_for_shards(store, shards)
        stopped = time.monotonic()
        process.send_signal(how)
        said = process.stdout.readline()
        assert time.monotonic() - stopped < AT_ONCE
        assert said == ("interrupted\n" if how == signal.SIGINT else "")
        process.communicate(timeout=20)
        assert all(gone(pid) for pid in pids(log))
        now = {p.name: p.stat().st_mtime_ns for p in store.glob("shard-*.npz")}
        assert whole.items() <= now.items()
        assert shards <= len(now) < 12
        whole = now
    got = runpy.run_path(str(path))["run"]().load()
    assert all((store / name).stat().st_mtime_ns == then for name, then in whole.items())
    assert len(runs(log)) <= 96 + 2 * 5 * 8  # tasks under way and their shards, each time
    expected = [np.random.default_rng(s).normal() for s in got.seeds.tolist()]
    assert np.array_equal(got.x["cv"], expected)
    assert np.array_equal(got.x["rate"], np.linspace(-1, 1, 96))


def interrupt_main(after):
    """What the terminal does at Ctrl-C, to this process."""
    import threading

    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@pytest.mark.parametrize("kind", ["own", "threads", "processes"])
def test_an_interruption_is_heard_at_once(request, python_model, tmp_path, kind):
    # a stranger's worker ends what it has begun; children of this process are killed
    model = python_model(specimens.naps if kind == "processes" else specimens.hangs)
    pool = {"own": lambda: None, "threads": lambda: ThreadPoolExecutor(2)}.get(
        kind, lambda: request.getfixturevalue("processes")
    )()
    timer = interrupt_main(1.0)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        campaign(model, 60, seed=1, store=tmp_path, executor=pool, shard_size=4)
    assert time.monotonic() - began < 1.0 + AT_ONCE
    timer.join()
    if kind == "threads":
        pool.shutdown()


def children_of(pid):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.name))
    return found


def test_nothing_is_left_behind(python_model):
    before = set(children_of(os.getpid()))
    lf.simulate(python_model(specimens.walk), 50)
    lf.simulate(python_model(specimens.leaves), 10)
    assert set(children_of(os.getpid())) <= before


def test_a_worker_that_dies_is_replaced(python_model, dask, seed):
    """Dask starts a worker anew; what it was doing is done by another."""
    model = python_model(specimens.raises)
    workers = dask._client.run(os.getpid)
    killed = []

    def kill_one(event):
        if event.done > 20 and not killed:
            killed.append(next(iter(workers.values())))
            os.kill(killed[0], signal.SIGKILL)

    got = lf.simulate(model, 400, seed=seed, executor=dask, progress=kill_one)
    assert killed
    assert np.array_equal(got.x.array, lf.simulate(model, 400, seed=seed).x.array, equal_nan=True)


def test_a_pool_that_breaks_is_told(prior, tmp_path, seed):
    def dies(theta, seeds):
        if seeds[0] != first:
            os._exit(1)
        return theta

    first = lf.simulate(lf.Model(prior, lf.BatchSimulator(specimens.batch, ("p", "q"))), 1,
                        seed=seed).seeds[0]  # fmt: skip
    model = lf.Model(prior, lf.BatchSimulator(dies, ("p", "q"), block=8))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(SimulationError, match=r"got BrokenProcessPool.*kept in .*repeat"):
            campaign(model, 64, seed=seed, store=tmp_path, executor=pool, shard_size=8)
        with pytest.raises(SimulationError, match=r"got BrokenProcessPool.*Nothing is kept"):
            lf.simulate(model, 64, seed=seed, executor=pool)
    assert len(open_store(tmp_path)) <= 8
