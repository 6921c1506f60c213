"""A folder to work in, and one finished run that many tests look at."""

import pytest
from toy_study import lay_out
from typer.testing import CliRunner

from lanternfish.cli import app


@pytest.fixture(scope="session")
def command():
    """Run a command line in this process."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a model and a study, where commands run."""
    monkeypatch.chdir(tmp_path)
    return lay_out(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, command):
    """A folder with a finished run, and what its command said. Not to be changed."""
    desk = lay_out(tmp_path_factory.mktemp("finished"))
    result = command("run", desk / "study.toml", "--out", desk / "run", "--workers", 1)
    assert result.exit_code == 0, result.output
    return desk / "run", result
