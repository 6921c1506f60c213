"""A crash, a hang, an exception or a NaN in one simulation costs that one only."""

import threading
import time

import numpy as np
import pytest
import specimens

import lanternfish as lf
from lanternfish.core import Status
from lanternfish.simulation import SimulationError, child

N = 20
LIMIT = 0.5  # s; a good simulation takes well below a millisecond

BAD = {
    "raises": (Status.RAISED, r"ZeroDivisionError: division by zero \(specimens.py, line \d+\)"),
    "quits": (Status.RAISED, "SystemExit: enough"),
    "leaves": (Status.CRASHED, "took down a process that ended with exit code 3"),
    "segfaults": (Status.CRASHED, "took down a process that ended with signal SIGSEGV"),
    "hangs": (Status.TIMED_OUT, "ran longer than the time limit of 0.5 s"),
    "hangs_in_c": (Status.TIMED_OUT, "ran longer than the time limit of 0.5 s"),
    "is_not_a_number": (Status.INVALID, ""),
    "is_infinite": (Status.INVALID, ""),
    "wrong_shape": (Status.WRONG_SHAPE, r"Expected 2 numbers \(rate, cv\).*got shape \(3,\)"),
    "wrong_names": (Status.WRONG_SHAPE, "Expected 2 numbers .*got rate, sv"),
    "returns_nothing": (Status.WRONG_SHAPE, "got None: return numbers"),
    "returns_text": (Status.WRONG_SHAPE, "got 'fast': return numbers"),
}


def test_statuses_are_those_of_the_core():
    for status in Status:
        assert getattr(child, status.name) == status


@pytest.mark.parametrize("name", BAD)
def test_a_bad_simulation_costs_itself_alone(python_model, seed, name):
    status, sentence = BAD[name]
    limit = LIMIT if "hangs" in name else None
    n = 10 if limit else N
    got = lf.simulate(python_model(getattr(specimens, name), time_limit=limit), n, seed=seed)
    bad = got.theta["a"] > specimens.BAD_ABOVE
    assert 1 <= bad.sum() < n
    assert np.array_equal(got.status, np.where(bad, status, Status.OK))
    assert np.array_equal(got.x["rate"][~bad], got.theta["a"][~bad])
    if status != Status.INVALID:
        assert np.isnan(got.x.array[bad]).all()
    assert len(got.messages) == bool(sentence)
    if sentence:
        with pytest.raises(AssertionError, match=sentence):
            raise AssertionError(got.messages[0])


@pytest.mark.parametrize("name", ["leaves", "raises"])
@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_it_does_so_on_any_executor(request, python_model, seed, kind, name):
    model = python_model(getattr(specimens, name))
    got = lf.simulate(model, N, seed=seed, executor=request.getfixturevalue(kind))
    bad = got.theta["a"] > specimens.BAD_ABOVE
    assert np.array_equal(got.status, np.where(bad, BAD[name][0], Status.OK))


def test_what_is_printed_is_caught(python_model, seed, capfd):
    got = lf.simulate(python_model(specimens.prints), 10, seed=seed)
    assert got.valid.all()
    assert len(got.messages) == 1
    for origin in ("Python", "C", "a program"):
        assert f"hello from {origin}" in got.messages[0]
    assert capfd.readouterr() == ("", "")


def test_a_print_before_a_crash_is_told(python_model):
    def last_words(theta, rng):
        print("matrix is singular", flush=True)
        specimens.os._exit(2)

    got = lf.simulate(python_model(last_words), 3)
    assert got.messages == (
        "A simulation took down a process that ended with exit code 2; "
        "it printed: matrix is singular.",
    )


@pytest.mark.parametrize("name", ["reads_input", "forks"])
def test_the_pipes_are_out_of_reach(python_model, seed, name):
    got = lf.simulate(python_model(getattr(specimens, name)), N, seed=seed)
    assert got.valid.all()
    assert np.array_equal(got.x["rate"], got.theta["a"])


def test_a_worn_out_process_is_not_the_simulations_fault(python_model, seed):
    got = lf.simulate(python_model(specimens.wears_out), N, seed=seed)
    assert got.valid.all()
    assert got.messages == ()


def test_global_generators_are_seeded_too(python_model, seed):
    model = python_model(specimens.global_noise)
    got = lf.simulate(model, N, seed=seed)
    again = lf.simulate(model, N - 7, seed=seed, first=7)
    assert np.array_equal(got.x.array[7:], again.x.array)
    assert len(np.unique(got.x.array)) == 2 * N


def test_functions_of_any_origin_are_sent(python_model, tmp_path):
    offset = 3.0
    made = {}
    exec("def scripted(theta, rng):\n    return [theta['a'], 2.0]", made)

    class Cell:
        def __call__(self, theta, rng):
            return [theta["a"] + offset, 1.0]

    for function in (lambda theta, rng: [theta["a"], offset], made["scripted"], Cell()):
        assert lf.simulate(python_model(function), 4).valid.all()


def test_a_function_of_a_file_loaded_by_its_path_is_sent(python_model, tmp_path):
    import importlib.util
    import sys

    path = tmp_path / "my_cell.py"
    path.write_text("SCALE = 2.0\ndef simulate(theta, rng):\n    return [SCALE, theta['b']]\n")
    spec = importlib.util.spec_from_file_location("my_cell", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["my_cell"] = module
    try:
        spec.loader.exec_module(module)
        got = lf.simulate(python_model(module.simulate), 4)
    finally:
        del sys.modules["my_cell"]
    assert np.array_equal(got.x["rate"], np.full(4, 2.0))


def test_a_function_that_cannot_be_sent(python_model):
    lock = threading.Lock()

    def locks(theta, rng):
        with lock:
            return [0.0, 0.0]

    with pytest.raises(TypeError, match="Expected a simulator that can be sent"):
        lf.simulate(python_model(locks), 3)


class Unloadable:
    """Pickles here and does not load elsewhere."""

    def __call__(self, theta, rng):
        return [0.0, 0.0]

    def __reduce__(self):
        return __import__, ("no_such_module",)


@pytest.mark.parametrize("kind", [None, "processes"])
def test_a_function_that_cannot_be_loaded(request, python_model, kind):
    executor = kind and request.getfixturevalue(kind)
    with pytest.raises(SimulationError, match=r"got ModuleNotFoundError.*no_such_module"):
        lf.simulate(python_model(Unloadable()), 3, executor=executor)


def test_a_simulator_that_always_fails_stops_early(python_model):
    model = python_model(specimens.always_raises)
    with pytest.raises(SimulationError, match=r"each: RuntimeError: no such mechanism .*repair"):
        lf.simulate(model, 100_000)
    few = lf.simulate(model, 10)
    assert (few.status == Status.RAISED).all()
    assert len(few.messages) == 1


def test_a_time_limit_holds_for_what_the_simulator_started(python_model, tmp_path):
    pid_file = tmp_path / "pid"

    def calls_a_program(theta, rng):
        import subprocess

        program = subprocess.Popen(["sleep", "1000"])
        pid_file.write_text(str(program.pid))
        program.wait()

    got = lf.simulate(python_model(calls_a_program, time_limit=LIMIT), 1)
    assert got.status == [Status.TIMED_OUT]
    assert gone(int(pid_file.read_text()))


def gone(pid, within=5.0):
    """Whether a process ends soon (a zombie has ended)."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False
