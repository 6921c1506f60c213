"""The programs in docs/examples, run as a reader runs them, and the laws of their simulators."""

import importlib
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import lanternfish as lf

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
GUIDE = FOLDER.with_name("simulators.md")
BUDGET = 120
NAMES = ("scipy_ode", "diffrax_ode", "neuron_cell", "brian2_network", "compiled_program")
LINE = re.compile(r"(\w+) = (\S+) \[(\S+), (\S+)\] \S+; true (\S+)")
SIMULATIONS = 40  # of a channel, for the means over them
SIGMAS = 5  # standard errors that a mean over them may be off


@cache
def import_error(library):
    """The last line of what importing it says, or nothing; a broken one may end the process."""
    code = [sys.executable, "-c", f"import {library}"]
    done = subprocess.run(code, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def skip_what_cannot_run(name):
    if name == "brian2_network" and (error := import_error("brian2")):
        pytest.skip(f"no working Brian2, which is not among the pins: {error}")
    if name == "compiled_program" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")


def example(name, folder):
    """An example's module and its model."""
    module = importlib.import_module(name)
    if name == "compiled_program":
        return module, module.model(module.compiled(folder))
    return module, module.model


SLOW = ("diffrax_ode", "neuron_cell", "scipy_ode")  # up to a minute each


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES]
)
def test_an_example_finds_what_it_simulated(name, tmp_path):
    skip_what_cannot_run(name)
    command = [sys.executable, FOLDER / f"{name}.py", "--simulations", str(BUDGET)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report, *lines = done.stdout.splitlines()
    valid = re.match(rf"{BUDGET} simulations: (\d+) gave finite statistics", report)
    assert valid is not None
    assert int(valid[1]) > BUDGET / 3
    module, model = example(name, tmp_path)
    prior = model.prior.sample(4_000)
    found = {
        m[1]: [float(number) for number in m.groups()[1:]] for m in map(LINE.match, lines) if m
    }
    assert set(found) == set(prior.names)
    narrowed = []
    for parameter, (mean, low, high, true) in found.items():
        assert low < mean < high
        assert true == module.TRUTH[parameter]
        widest = np.diff(np.quantile(prior[parameter], [0.05, 0.95]))[0]
        narrowed.append((high - low) / widest)
    assert min(narrowed) < 0.7  # 1 where nothing is learned


@pytest.mark.parametrize("name", NAMES)
def test_a_simulation_does_not_depend_on_those_before_it(name, tmp_path):
    """What libraries keep between runs, and seeds, must not show."""
    skip_what_cannot_run(name)
    _, model = example(name, tmp_path)
    whole = lf.simulate(model, 4, seed=3, progress=False)
    rest = lf.simulate(model, 2, seed=3, first=2, progress=False)
    np.testing.assert_array_equal(whole.x.array[2:], rest.x.array)
    assert not set(whole.counts()) - {lf.Status.OK, lf.Status.INVALID}
    assert len(np.unique(np.nan_to_num(whole.x.array), axis=0)) == 4


def test_two_solvers_agree():
    """The same equations through SciPy and Diffrax, without noise: the same voltage."""
    from scipy.integrate import solve_ivp

    scipy_ode = importlib.import_module("scipy_ode")
    diffrax_ode = importlib.import_module("diffrax_ode")
    theta = scipy_ode.TRUTH
    v = np.asarray(diffrax_ode.voltage(theta))
    times = np.arange(0, diffrax_ode.STOP, diffrax_ode.STEP)
    span, start = (0, diffrax_ode.STOP), [-40.0, 0.0]
    exact = solve_ivp(
        scipy_ode.slope, span, start, "DOP853", times, args=(theta,), rtol=1e-10, atol=1e-10
    )
    assert np.ptp(exact.y[0]) > 40  # mV: it fires
    np.testing.assert_allclose(v, exact.y[0], atol=0.1)  # mV; float32, relative errors of 1e-5


def test_the_channel_has_the_moments_of_its_equations(tmp_path):
    skip_what_cannot_run("compiled_program")
    module, model = example("compiled_program", tmp_path)
    theta = {name: np.full(SIMULATIONS, value) for name, value in module.TRUTH.items()}
    x = lf.simulate(model, theta=theta, seed=0, progress=False).x
    alpha, beta, current = module.TRUTH.values()
    p = alpha / (alpha + beta)
    expected = {
        "mean": 100 * current * p,
        "sd": current * np.sqrt(100 * p * (1 - p)),
        "correlation": np.exp(-(alpha + beta)),
    }
    for name, value in expected.items():
        error = x[name].std() / np.sqrt(SIMULATIONS)
        assert abs(x[name].mean() - value) < SIGMAS * error


def test_a_program_that_refuses_says_so_in_the_simulations(tmp_path):
    skip_what_cannot_run("compiled_program")
    module, _ = example("compiled_program", tmp_path)
    program = module.compiled(tmp_path)
    with pytest.raises(RuntimeError, match="channel ended with 2: Expected rates above 0"):
        module.simulate(program, {**module.TRUTH, "alpha": -1.0}, np.random.default_rng(0))


def test_what_the_guide_shows_stands_in_the_programs():
    guide = GUIDE.read_text()
    shown = "".join(re.findall(r"```python\n(.*?)```", guide, re.DOTALL)).splitlines()
    lines = {line.strip() for path in FOLDER.glob("*.py") for line in path.read_text().splitlines()}
    assert len(shown) > 20
    assert [line for line in shown if line.strip() not in lines | {"", "..."}] == []
    assert all(f"examples/{path.name}" in guide for path in FOLDER.iterdir() if path.is_file())
