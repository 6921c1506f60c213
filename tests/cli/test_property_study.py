"""A study of an emergent property from its file to its report."""

import json

import pytest
from toy_study import lay_out

MODEL = """
import lanternfish as lf


def bent(theta, key):
    return {"x": theta["a"], "y": theta["b"] ** 2}


prior = lf.Prior(a=lf.Uniform(0, 4, unit="nS"), b=lf.Uniform(-2, 2))
columns = (lf.Column("x", "Hz"), lf.Column("y"))
model = lf.Model(prior, lf.JaxSimulator(bent, columns), name="bent")
"""

STUDY = """
model = "my_model.py:model"
target = {x = [1.0, 0.8], y = [1.5, 0.4]}
check_samples = 300

[method]
samples = 16_000
push = {layers = 3, width = 24, bins = 8}
loop = {batch = 128, rate = 4e-3, tighten = 2_000, polish = 600}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, command):
    desk = lay_out(tmp_path_factory.mktemp("property"), MODEL, STUDY)
    result = command("run", desk / "study.toml", "--out", desk / "run")
    assert result.exit_code == 0, result.output
    return desk / "run", result.output


def test_the_report_says_what_was_wanted_and_found(run):
    folder, said = run
    text = (folder / "report.md").read_text()
    for words in (
        "Good: the posterior passed every check.",
        "Converged: every mean and variance is within",
        "- target: x 1 ± 0.8, y 1.5 ± 0.4",
        "which distributions of parameters have this property",
        "- method: EPI\n",
        "the largest possible is between",
        "## Wanted and found",
        "figures/optimisation.png",
    ):
        assert words in text
    assert "Wanted and found" in said
    assert "measured" not in text


def test_its_files(run):
    folder, _ = run
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"pair.png", "predictive.png", "optimisation.png"}
    lines = (folder / "statistics.csv").read_text().splitlines()
    assert lines[0] == "statistic,unit,wanted_mean,wanted_sd,mean,sd,median,low,high,holds"
    assert lines[1].startswith("x,Hz,1,0.8,")
    assert lines[1].endswith(",true")
    checks = json.loads((folder / "run.json").read_text())["checks"]
    assert set(checks) == {"convergence", "entropy", "predictive"}


def test_nothing_is_done_twice_and_samples_are_drawn(run, command):
    folder, _ = run
    before = (folder / "run.json").read_bytes()
    again = command("resume", folder)
    assert again.exit_code == 0, again.output
    assert (folder / "run.json").read_bytes() == before
    drawn = command("sample", folder, "-n", 3)
    assert drawn.output.splitlines()[0] == "a,b"
