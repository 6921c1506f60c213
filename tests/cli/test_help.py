"""Help answers at once, teaches by example, and completion knows the zoo."""

import subprocess
import sys

import pytest

import lanternfish
from lanternfish.cli.zoo import ZOO, complete_model

COMMANDS = ("models", "demo", "run", "report", "sample", "resume")
SHOW_IMPORTS = """
import sys
from lanternfish.cli import app
try:
    app(sys.argv[1:])
except SystemExit:
    pass
heavy = {"jax", "numpy", "scipy", "numba", "matplotlib", "equinox"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(command, name):
    result = command(name, "--help")
    assert result.exit_code == 0
    assert f"lanternfish {name} " in result.output or f"lanternfish {name}\n" in result.output


def test_help_lists_all_commands(command):
    result = command("--help")
    assert result.exit_code == 0
    assert all(name in result.output for name in COMMANDS)


def test_version(command):
    assert command("--version").output == f"lanternfish {lanternfish.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["run", "--example"]])
def test_help_imports_nothing_heavy(words):
    done = subprocess.run(
        [sys.executable, "-c", SHOW_IMPORTS, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_completion_of_models():
    assert dict(complete_model("stg")) == {k: v for k, v in ZOO.items() if k[:3] == "stg"}
    assert dict(complete_model("")) == ZOO


def test_plain_output_has_no_control_codes(command):
    assert "\x1b" not in command("--help").output


def test_an_unknown_model_is_told_with_the_likely_one(command):
    result = command("models", "sgt")
    assert result.exit_code == 2
    assert 'got "sgt": did you mean "stg"?' in result.output


@pytest.mark.parametrize("name", ZOO)
def test_a_model_in_full(command, name):
    result = command("models", name)
    assert result.exit_code == 0, result.output
    assert "Parameters and their prior" in result.output
    assert "Statistics" in result.output


def test_all_models(command):
    result = command("models")
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in ZOO)
