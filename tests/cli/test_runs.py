"""A study from end to end: what is in the folder, what is said, what is not done twice."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from toy_study import METHOD, MODEL, STUDY, lay_out

import lanternfish as lf
from lanternfish.cli import conduct, figures


@pytest.fixture
def copy(finished, tmp_path):
    """A run folder that may be changed."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


FILES = ["report.md", "samples.csv", "parameters.csv", "statistics.csv", "study.toml", "run.json"]


@pytest.mark.parametrize("name", [*FILES, "study.json", "model/my_model.py"])
def test_the_folder_is_whole(finished, name):
    assert (finished[0] / name).stat().st_size > 0


@pytest.mark.parametrize("name", ["pair.png", "traces.png", "predictive.png", "training.png"])
def test_pictures_are_drawn(finished, name):
    assert (finished[0] / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_the_report_says_first_how_good_it_is(finished):
    text = (finished[0] / "report.md").read_text()
    lines = text.splitlines()
    assert lines[0] == "# toy: cell_7"
    assert lines[2].startswith(("**Good", "**Careful"))
    for title in ("What was asked", "What was done", "Parameters", "Measured and predicted",
                  "Pictures", "What to do next", "Provenance"):  # fmt: skip
        assert f"\n## {title}\n" in text
    assert re.search(r"% \(95 % interval .* of 60 posterior samples give a valid simulation", text)
    assert "| a | mS/cm2 |" in text
    assert "| rate | Hz | 0.5 |" in text
    assert "cell_7 (cell 7, slice 2), 2 measured statistics" in text
    assert "- seed: 3" in text
    assert "method: training.epochs: 5" in text
    assert f"- lanternfish: {lf.__version__}" in text


def test_the_report_is_printed_and_progress_is_not(finished):
    result = finished[1]
    assert "how" not in result.stderr
    assert "most narrowed down" not in result.stdout  # there are two parameters only
    for words in ("toy: cell_7", "posterior samples give a valid simulation", "samples.csv"):
        assert words in result.stdout
    assert "Simulating: 100%" in result.stderr
    assert "Training: 100%" in result.stderr
    assert "Checking" in result.stderr
    assert "\x1b" not in result.output


def test_the_check_is_kept(finished):
    run = lf.Run.load(finished[0])
    found = run.checks["predictive"]
    assert found["valid"]["n"] == 60
    assert 0 <= found["matching"]["share"] <= found["valid"]["share"] <= 1
    assert [row["name"] for row in found["statistics"]] == ["rate", "cv"]


def test_tables(finished):
    with (finished[0] / "samples.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["a", "b"]
    values = np.array(rows[1:], float)
    assert values.shape == (5_000, 2)
    run = lf.Run.load(finished[0])
    assert run.posterior.prior.contains(values).all()
    with (finished[0] / "parameters.csv").open() as file:
        parameters = list(csv.DictReader(file))
    assert [p["parameter"] for p in parameters] == ["a", "b"]
    assert float(parameters[0]["mean"]) == pytest.approx(values[:, 0].mean(), rel=1e-4)
    with (finished[0] / "statistics.csv").open() as file:
        assert [s["observed"] for s in csv.DictReader(file)] == ["0.5", "0.4"]


ACCEPTING = {
    "sweep": 'name = "sweep"\nquantile = 0.4\n[method.levels]\na = 40\nb = [0.1, 0.5, 1.0, 5.0]',
    "rejection": 'name = "rejection"\nsimulations = 400\nquantile = 0.2\nadjustment = "linear"',
    "smc": 'name = "smc"\nsimulations = 600\npopulation = 200\nnoise = { rate = 0.1, cv = 0.1 }',
}


@pytest.mark.parametrize("method", ACCEPTING.values(), ids=ACCEPTING)
def test_trial_and_error_from_the_command_line(tmp_path, command, method):
    study = STUDY.replace(METHOD, f"\n[method]\n{method}\n")
    desk = lay_out(tmp_path, study=study)
    result = command("run", desk / "study.toml", "--out", desk / "run", "--workers", 1)
    assert result.exit_code == 0, result.output
    report = (desk / "run" / "report.md").read_text()
    assert re.search(r"- accepted: \d+ simulations within [\d.]+ of the target, worth \d+", report)
    assert "| round | simulations | valid | share | accepted | tolerance |" in report
    assert (desk / "run" / "figures" / "pair.png").is_file()
    assert not (desk / "run" / "figures" / "training.png").exists()
    before = (desk / "run" / "run.json").read_bytes()
    again = command("resume", desk / "run")
    assert again.exit_code == 0, again.output
    assert "stands in" in again.output
    assert (desk / "run" / "run.json").read_bytes() == before
    drawn = command("sample", desk / "run", "-n", 5)
    assert drawn.stdout.startswith("a,b\n")


def test_resume_of_a_finished_run_does_nothing_twice(copy, command):
    (copy / "figures/training.png").unlink()
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*.npz")}
    before |= {p: p.stat().st_mtime_ns for p in (copy / "figures").iterdir()}
    samples = (copy / "samples.csv").read_bytes()
    result = command("resume", copy)
    assert result.exit_code == 0, result.output
    assert "The posterior stands" in result.stderr
    assert "Simulating" not in result.stderr
    assert "Training" not in result.stderr
    assert (copy / "figures/training.png").is_file()
    assert all(p.stat().st_mtime_ns == then for p, then in before.items())
    assert (copy / "samples.csv").read_bytes() == samples
    assert "in 2 sittings" in result.stdout


def test_the_same_command_again_is_a_resume(finished, copy, command):
    study = finished[0].parent / "study.toml"
    result = command("run", study, "--out", copy)
    assert result.exit_code == 0, result.output
    assert "Simulating" not in result.stderr


def test_another_study_cannot_take_the_folder(copy, command, tmp_path):
    desk = lay_out(tmp_path, study=STUDY.replace("seed = 3", "seed = 4"))
    result = command("run", desk / "study.toml", "--out", copy)
    assert result.exit_code == 2
    assert "seed is 3 there and 4 here" in result.output
    assert "--out" in result.output


def test_a_changed_model_cannot_take_the_folder(desk, command):
    study = desk / "study.toml"
    (desk / "run/model").mkdir(parents=True)
    (desk / "run/model/my_model.py").write_text(MODEL + "# older\n")
    from lanternfish.cli.study_file import read_study
    from lanternfish.cli.study_text import to_toml

    (desk / "run/study.toml").write_text(to_toml(read_study(study).source, ""))
    result = command("run", study, "--out", desk / "run")
    assert result.exit_code == 2
    assert "my_model.py has changed since" in result.output


def test_resume_goes_on_with_the_copy_of_a_model_that_is_gone(copy, command):
    text = (copy / "study.toml").read_text()
    (copy / "study.toml").write_text(
        re.sub('model = ".*"', 'model = "/gone/my_model.py:model"', text)
    )
    result = command("resume", copy)
    assert result.exit_code == 0, result.output
    assert "is gone since the run began; going on with the copy" in result.stderr


def test_a_run_begun_from_python_is_repeated_there(copy, command):
    (copy / "study.toml").unlink()
    result = command("resume", copy)
    assert result.exit_code == 2
    assert "repeat the call of infer" in result.output


@pytest.mark.parametrize("name", ["resume", "report", "sample"])
def test_a_folder_without_a_run(command, tmp_path, name):
    result = command(name, tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "Expected a run folder" in result.output
    assert "got nothing there" in result.output


@pytest.mark.parametrize("name", ["run.json", "posterior.json", "posterior.safetensors"])
def test_a_damaged_file_is_named(copy, command, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    result = command("report", copy)
    assert result.exit_code == 1
    assert f"Expected a whole file {name}" in result.output
    assert "Traceback" not in result.output


def test_report_of_an_unfinished_run(copy, command):
    (copy / "run.json").unlink()
    result = command("report", copy)
    assert result.exit_code == 2
    assert f"lanternfish resume {copy}" in result.output


def test_report_again(copy, command):
    (copy / "report.md").unlink()
    result = command("report", copy)
    assert result.exit_code == 0
    assert "Measured and predicted" in result.stdout
    assert (copy / "report.md").is_file()


def test_a_run_that_failed_its_checks_says_so_at_the_top(copy, command):
    stored = json.loads((copy / "run.json").read_text())
    check = stored["checks"]["predictive"]
    check["passed"] = check["findings"][0]["passed"] = False
    check["statistics"][0]["inside"] = False
    (copy / "run.json").write_text(json.dumps(stored))
    result = command("report", copy)
    top = [line for line in result.stdout.splitlines() if line.strip()][1]
    assert top.startswith("Careful: this posterior failed")
    assert "FAILED" in result.stdout
    assert "Look at rate in figures/predictive.png" in " ".join(result.stdout.split())
    text = (copy / "report.md").read_text()
    assert "**failed**" in text.split("## What was asked")[0]
    assert "simulations = 1_600" in text


def test_rounds_are_told_one_by_one(copy, command):
    stored = json.loads((copy / "run.json").read_text())
    stored["history"]["rounds"] *= 2
    (copy / "run.json").write_text(json.dumps(stored))
    lines = [line.split() for line in command("report", copy).stdout.splitlines()]
    assert ["1", "400"] in [line[:2] for line in lines]
    assert ["2", "400"] in [line[:2] for line in lines]
    assert "- method: NPE, 2 rounds" in (copy / "report.md").read_text()


def test_a_run_that_was_not_checked_says_so(copy, command):
    stored = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**stored, "checks": {}}))
    assert "Not checked" in command("report", copy).stdout


def test_interrupted_while_checking(copy, command, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(conduct, "_checked", interrupt)
    result = command("resume", copy)
    assert result.exit_code == 130
    assert "The posterior, its simulations and all stages done are kept in" in result.stderr
    assert f"To go on: lanternfish resume {copy}" in result.stderr


def test_the_folder_of_the_study_is_named_when_interrupted(desk, command, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    (desk / "study.toml").write_text('out = "my runs/a"\n' + STUDY)
    monkeypatch.setattr(conduct, "_posterior", interrupt)
    result = command("run", "study.toml")
    assert result.exit_code == 130
    assert "lanternfish resume 'my runs/a'" in result.stderr
    monkeypatch.setenv("LANTERNFISH_COMMAND", "./dev run lanternfish")  # as ./dev sets it
    result = command("run", "study.toml")
    assert "./dev run lanternfish resume 'my runs/a'" in result.stderr


def test_a_folder_that_is_a_file(desk, command):
    result = command("run", "study.toml", "--out", "my_model.py")
    assert result.exit_code == 1
    assert "my_model.py" in result.output
    assert "Traceback" not in result.output


def test_pictures_need_matplotlib(copy, command, monkeypatch):
    (copy / "figures/pair.png").unlink()
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    result = command("resume", copy)
    assert result.exit_code == 0, result.output
    assert "No pictures (pair.png): pip install 'lanternfish[plot]'" in result.stderr


def test_a_picture_that_cannot_be_drawn_costs_one_sentence(copy, command, monkeypatch):
    def refuse(run, samples):
        raise ValueError("Expected more; got less.")

    (copy / "figures/pair.png").unlink()
    monkeypatch.setattr(figures, "_pair", refuse)
    result = command("resume", copy)
    assert result.exit_code == 0
    assert "No picture pair.png: Expected more; got less." in result.stderr


def test_samples_by_format(finished, command, tmp_path):
    folder = finished[0]
    shown = command("sample", folder, "-n", 7, "--seed", 1)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == "a,b"
    assert len(lines) == 8
    found = json.loads(command("sample", folder, "-n", 7, "--seed", 1, "--format", "json").stdout)
    assert found["units"] == {"a": "mS/cm2", "b": ""}
    assert found["samples"]["a"] == pytest.approx([float(x.split(",")[0]) for x in lines[1:]])
    assert command("sample", folder, "-n", 7, "--out", tmp_path / "new/s.npz").exit_code == 0
    with np.load(tmp_path / "new/s.npz") as stored:
        assert stored["a"].shape == (7,)


def test_formats_that_cannot_be(finished, command):
    result = command("sample", finished[0], "--format", "xls")
    assert result.exit_code == 2
    assert 'Expected a format of csv, npz, json; got "xls".' in result.output
    assert "Expected --out FILE for npz" in command("sample", finished[0], "--format", "npz").output


def test_a_model_without_traces_or_checks(tmp_path, command):
    model = MODEL.replace("traces=traces,", "")
    study = STUDY.replace("check_samples = 60", "check_samples = 0")
    desk = lay_out(tmp_path, model, study)
    result = command("run", desk / "study.toml", "--out", desk / "run")
    assert result.exit_code == 0, result.output
    assert "Not checked" in result.stdout
    names = {p.name for p in (desk / "run/figures").iterdir()}
    assert names == {"pair.png", "training.png"}


def test_a_model_that_never_gives_statistics(tmp_path, command):
    model = MODEL.replace("theta[:, 0] < -0.9", "theta[:, 0] < 2")
    desk = lay_out(tmp_path, model)
    result = command("run", desk / "study.toml", "--out", desk / "run")
    assert result.exit_code == 1
    assert "Expected at least 50 valid simulations" in result.output
    assert "Traceback" not in result.output


def test_debug_shows_the_traceback(tmp_path, command):
    result = command("resume", tmp_path / "nowhere", "--debug")
    assert isinstance(result.exception, ValueError)
    assert METHOD in STUDY
