"""Documentation that runs: docstring examples, the README's program, links and promises."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lanternfish

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
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


def test_the_raw_data_program_runs():
    """What it finds: a normal mean of 256 points and two trials, in closed form."""
    page = (ROOT / "docs" / "study.md").read_text().split("## Raw data")[1]
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(program, names)
    samples = names["run"].posterior.sample(1_000)["gain"]
    assert 0.7 < samples.mean() < 1.3
    assert samples.std() < 0.3  # 1 before


def test_the_landscape_program_runs(tmp_path, monkeypatch):
    """What it finds: the square of a parameter decides, so there are two regimes of one size."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "landscape.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(program, names)
    assert abs(names["modes"].share[:2] - 0.5).max() < 0.15
    assert names["modes"].theta["a"][:2].prod() < 0
    assert names["sensitivity"].at["b"] == 0
    assert names["walks"]["$v_1$"].slopes[0].p < 0.05
    assert (tmp_path / "landscape.png").exists()


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


def test_every_public_name_loads():
    for name in lanternfish.__all__:
        assert getattr(lanternfish, name) is not None


def test_pins_name_no_host():
    for pins in (ROOT / "requirements").glob("*.txt"):
        assert not re.search(r"://|^-", pins.read_text(), re.MULTILINE)
