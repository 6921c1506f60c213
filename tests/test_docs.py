"""Documentation that runs: docstring examples, the README's program, links and promises."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import lanternfish

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "from_sbi.md").read_text()
MODULES = [
    info.name
    for info in pkgutil.walk_packages(lanternfish.__path__, "lanternfish.")
    if not info.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    failures, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failures == 0


def test_the_readme_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(program, names)  # what a reader would paste
    samples = names["run"].posterior.sample(1_000)
    assert 1.8 < samples["b"].mean() < 2.2
    assert (tmp_path / "my_run" / "run.json").exists()


@pytest.mark.slow
def test_the_raw_data_program_runs():
    """What it finds: a normal mean of 256 points and two trials, in closed form."""
    page = (ROOT / "docs" / "study.md").read_text().split("## Raw data")[1]
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(program, names)
    samples = names["run"].posterior.sample(1_000)["gain"]
    assert 0.7 < samples.mean() < 1.3
    assert samples.std() < 0.3  # 1 before


@pytest.mark.parametrize("defaults", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_guide_from_sbi_runs(defaults, tmp_path, monkeypatch):
    """Our side of it, from top to bottom, on simulations such as its first example made.

    A measured response of slope 1 and offset 0.2: both lie inside what is found. For speed, without
    the defaults' race and ensemble.
    """
    monkeypatch.chdir(tmp_path)
    if not defaults:
        small = lanternfish.flows.Architecture("maf", layers=2, width=16, depth=1)
        training = lanternfish.inference.Training(epochs=40)
        quick = partial(lanternfish.NPE, density=small, training=training)
        monkeypatch.setattr(lanternfish, "NPE", quick)
    rng = np.random.default_rng(0)
    theta = rng.uniform([0, -1], [2, 1], size=(600, 2)).astype(np.float32)
    x = theta[:, :1] * [0.5, 1.0, 2.0] + theta[:, 1:] + 0.2 * rng.normal(size=(600, 3))
    np.save("theta.npy", theta)
    np.save("x.npy", x.astype(np.float32))
    names: dict = {}
    for program in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        exec(program, names)
        if "simulations = lf.Simulations.of" in program:
            given = names["run"].posterior.sample(1_000)
    for samples in (names["truncated"].posterior.sample(1_000), given):
        low, high = np.quantile(samples.array, [0.01, 0.99], axis=0)
        assert np.all((low < [1.0, 0.2]) & (high > [1.0, 0.2]))
        assert np.all(high - low < 1.5)  # 2 before
    trace = names["samples"]["tau"]
    assert 1.0 < trace.mean() < 3.0
    assert trace.std() < 1.2  # 1.4 before
    assert names["check"].finding["n"] == 600


def test_what_the_guide_from_sbi_names_is_there():
    """In the table's right column, names that are called or accessed on ours."""
    rows = re.findall(r"^\| .* \| (.*) \|$", GUIDE.split("## Names")[1], re.MULTILINE)
    named = re.findall(r"`(?:diagnostics|plot)\.(\w+)`", " ".join(rows))
    assert {"calibration_check", "predictive_check", "calibration", "pair"} <= set(named)
    for name in named:
        assert hasattr(lanternfish.diagnostics, name) or hasattr(lanternfish.plot, name)
    calls = set(re.findall(r"`([A-Z]\w+)(?:\(|`|\.)", " ".join(rows)))
    assert {"Prior", "Simulations", "NPE", "NLE", "Trials", "Run"} <= calls
    assert all(hasattr(lanternfish, name) for name in calls - {"NaN"})


@pytest.mark.slow
def test_the_landscape_program_runs(tmp_path, monkeypatch):
    """What it finds: the square of a parameter decides, so there are two regimes of one size.

    How many maxima a learned density has in each of them is its own affair.
    """
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "landscape.md").read_text()
    program, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)  # the others go on from a run
    names = {}
    exec(program, names)
    a, share = names["modes"].theta["a"], names["modes"].share
    assert share[a > 0].sum() == pytest.approx(0.5, abs=0.15)
    assert share[a < 0].sum() == pytest.approx(0.5, abs=0.15)
    assert names["sensitivity"].at["b"] == 0
    assert names["walks"]["$v_1$"].slopes[0].p < 0.05
    assert (tmp_path / "landscape.png").exists()


@pytest.mark.slow
def test_the_emergent_property_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "epi.md").read_text()
    program, film, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(program, names)
    exec(film, names)
    assert len(names["frames"]) > 60
    assert (tmp_path / "optimisation.gif").stat().st_size > 10_000
    assert names["run"].posterior.converged
    assert 0.4 < (names["samples"]["a12"] > 0).mean() < 0.6


@pytest.mark.slow
def test_the_guide_to_sweeps_runs(tmp_path, monkeypatch):
    """What it finds: all four classes, the injected current first, and the known posterior.

    The threshold is normal, 200 pA with a deviation of 10 pA, weighed by 1 / (400 - threshold).
    """
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "sweeps.md").read_text()
    names: dict = {}
    for program in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(program, names)
    assert names["classes"].names == ("silent", "tonic", "bursting", "irregular")
    assert names["importance"].columns[names["importance"].order[0]].name == "current"
    for name, slack in (("plain", 4.5), ("moved", 3.0), ("run", 2.0)):
        posterior = names[name].posterior
        assert abs(posterior.mean()["threshold"][0] - 200.5) < slack
        assert 8 < posterior.sd()["threshold"][0] < 13
    assert names["found"]["means"]["value"] < 0.2
    for picture in ("classes", "stacking", "comparison"):
        assert (tmp_path / f"{picture}.png").exists()


def test_the_first_shell_block_has_two_lines():
    first = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert first is not None
    assert [line.split("#")[0].split() for line in first[1].splitlines()] == [
        ["./dev", "demo"],
        ["./dev", "test"],
    ]


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text())
    assert all((page.parent / link).exists() for link in links)


def test_importing_the_package_is_instant():
    """No array library is loaded before it is needed."""
    code = "import sys, lanternfish; print(any(m in sys.modules for m in ('jax', 'numpy')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_what_is_slow_to_import_waits_until_it_is_needed():
    code = (
        "import sys, lanternfish; lanternfish.infer;"
        "print([m for m in ('scipy.stats', 'scipy.optimize', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_loads():
    for name in lanternfish.__all__:
        assert getattr(lanternfish, name) is not None


def test_pins_name_no_host():
    for pins in (ROOT / "requirements").glob("*.txt"):
        assert not re.search(r"://|^-", pins.read_text(), re.MULTILINE)
