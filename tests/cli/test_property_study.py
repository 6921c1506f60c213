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
population = 1024
loop = {batch = 128, rate = 4e-3, tighten = 2_000, polish = 600, fit = 300}
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


@pytest.fixture(scope="module")
def both(run, command, tmp_path_factory):
    desk = run[0].parent
    place = tmp_path_factory.mktemp("beside")
    result = command(
        "beside", desk / "study.toml", "--out", place, "--simulations", 3000, "-n", 500
    )
    assert result.exit_code == 0, result.output
    return place, result.output


@pytest.mark.slow
def test_epi_and_snpe_on_one_page(both):
    """The optimum has a variance of y that SNPE, at eta = (0, -1/2), does not reach."""
    folder, said = both
    page = (folder / "beside.md").read_text()
    assert page.startswith("# EPI beside SNPE: a property of bent\n")
    for words in (
        "of their mass is shared",
        "| simulations |",
        "| entropy (nats) |",
        "| x (Hz), wanted 1 ± 0.8 |",
        "Converged: every mean",
        "3,000 simulations in 4",
    ):
        assert words in page
    assert "EPI beside SNPE" in said
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"pair.png", "statistics.png"}


@pytest.mark.slow
def test_the_page_again_trains_nothing(both, run, command):
    folder, _ = both
    before = (folder / "npe" / "run.json").read_bytes()
    desk = run[0].parent
    again = command(
        "beside", desk / "study.toml", "--out", folder, "--simulations", 3000, "-n", 500
    )
    assert again.exit_code == 0, again.output
    assert "stands already" in again.output
    assert (folder / "npe" / "run.json").read_bytes() == before


def test_an_observation_has_no_epi_beside(tmp_path, command):
    study = STUDY.split("[method]")[0].replace("{x = [1.0, 0.8], y = [1.5, 0.4]}", "{x = 1, y = 1}")
    desk = lay_out(tmp_path, MODEL, study)
    result = command("beside", desk / "study.toml")
    assert result.exit_code == 2
    assert "Expected a property as target" in result.output


@pytest.mark.slow
def test_a_range_in_a_study_file(tmp_path, command):
    """From the file to samples at one of its means; what is wrong is told."""
    study = STUDY.replace("x = [1.0, 0.8]", "x = [[1.0, 2.0], 0.5]").replace("6_000", "000")
    study = study.replace("samples = 1000", "samples = 4_000").replace("2_000", "1_000")
    desk = lay_out(tmp_path, MODEL, study)
    result = command("run", desk / "study.toml", "--out", desk / "run")
    assert result.exit_code == 0, result.output
    assert "properties" in (desk / "run" / "report.md").read_text()
    means = []
    for at in ("x=1.0", "x=2.0"):
        drawn = command("sample", desk / "run", "-n", 2000, "--at", at)
        assert drawn.exit_code == 0, drawn.output
        rows = [line.split(",") for line in drawn.output.splitlines()[1:]]
        means.append(sum(float(row[0]) for row in rows) / len(rows))
    assert means == pytest.approx([1.0, 2.0], abs=0.15)
    for wrong, words in (("x=9", "from 1 to 2"), ("x", "STATISTIC=MEAN"), ("y=1", "which have an")):
        refused = command("sample", desk / "run", "--at", wrong)
        assert refused.exit_code != 0
        assert words in " ".join(refused.output.split())
