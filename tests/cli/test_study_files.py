"""Every mistake of a study file is told with its key, the value, what is allowed and the fix."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from toy_study import METHOD, STUDY

import lanternfish as lf
from lanternfish.cli.console import Mistake
from lanternfish.cli.demo import demo_study, rounds_of
from lanternfish.cli.study_file import StudyMistakes, read_study, study_of
from lanternfish.cli.study_text import EXAMPLE, to_toml

MODEL_LINE = 'model = "my_model.py:model"\n'
HEAD = MODEL_LINE + 'target = "cell_7"\n'

# text of the study file, and words that the message must have
MISTAKES = {
    "key": ("modle = 1\n" + HEAD, ["modle: Expected keys model,", 'did you mean "model"?']),
    "no model": ('target = "x"\n', ["model: Expected one of stg, hodgkin_huxley", "got none"]),
    "model of the zoo": (
        'model = "sgt"',
        ["model: Expected a model of stg, hodgkin_huxley, ", 'got "sgt"', 'did you mean "stg"?'],
    ),
    "model is a number": ("model = 3", ["model: Expected one of stg", "got 3."]),
    "file without a name": (
        'model = "my_model.py"',
        ['add the name of the Model, as in "my_model.py:model"'],
    ),
    "no such file": (
        'model = "other.py:model"',
        ["model: Expected a Python file at", "other.py; got none."],
    ),
    "no such name": (
        'model = "my_model.py:modle"',
        ['named "modle"', "got none", 'write "my_model.py:model"'],
    ),
    "not a model": ('model = "my_model.py:number"', ["got int"]),
    "options of a Model": (
        HEAD + "[model_options]\nname = 'a'",
        ["model_options: Expected no model_options", "got name"],
    ),
    "unknown option": (
        'model = "my_model.py:build"\n[model_options]\nnmae = "a"',
        [
            "model_options: Expected options of my_model.py:build (outputs, name)",
            'got "nmae": did you mean "name"?',
        ],
    ),
    "refused option": (
        'model = "my_model.py:build"\n[model_options]\noutputs = 3',
        ["model_options: Expected outputs of 2; got 3."],
    ),
    "options are a table": (
        HEAD + "model_options = 3",
        ["model_options: Expected a table of options; got 3."],
    ),
    "named target": (
        MODEL_LINE + 'target = "cell_8"',
        [
            "target: Expected a target of toy (cell_7) or a file",
            'got "cell_8": did you mean "cell_7"?',
        ],
    ),
    "target is a number": (
        MODEL_LINE + "target = 3",
        ["target: Expected a name, a file or a table of numbers; got 3."],
    ),
    "no such target file": (
        MODEL_LINE + 'target = "x.csv"',
        ["target: Expected a target file at", "got none."],
    ),
    "unknown statistic": (
        MODEL_LINE + "[target]\nrat = 1.0\ncv = 2",
        [
            "target.rat: Expected statistics of toy (rate, cv)",
            'got "rat": did you mean "rate"?',
            "target: Expected a number for each statistic of toy; got none for rate.",
        ],
    ),
    "statistic in words": (
        MODEL_LINE + '[target]\nrate = "1"\ncv = 2',
        ["target.rate: Expected a number; got '1'."],
    ),
    "statistic true": (
        MODEL_LINE + "[target]\nrate = true\ncv = 2",
        ["target.rate: Expected a number; got True."],
    ),
    "NaN": (
        MODEL_LINE + "[target]\nrate = nan\ncv = 2",
        ["target.rate: Expected a finite number; got nan: measure the statistic, or leave it out"],
    ),
    "method is text": (HEAD + 'method = "NPE"', ["method: Expected a table", "got 'NPE'."]),
    "method's name": (
        HEAD + '[method]\nname = "NEP"',
        ['method.name: Expected NPE, NLE, EPI, SMC, Rejection, Sweep; got "NEP": did you'],
    ),
    "method's key": (
        HEAD + "[method]\nsimulation = 10",
        ["method.simulation: Expected name, simulations,", 'did you mean "simulations"?'],
    ),
    "levels in words": (
        HEAD + '[method]\nname = "sweep"\nlevels = "many"',
        ["method.levels: Expected a whole number or a table; got 'many'."],
    ),
    "noise is a number": (
        HEAD + '[method]\nname = "smc"\nnoise = 3',
        ["method.noise: Expected a table of numbers; got 3."],
    ),
    "moves": (
        HEAD + '[method]\nname = "SMC"\nmoves = "far"',
        ["method.moves: Expected moves of fitted or covariance or nearest; got 'far'."],
    ),
    "simulations in words": (
        HEAD + '[method]\nsimulations = "many"',
        ["method.simulations: Expected a whole number; got 'many'."],
    ),
    "part of a simulation": (
        HEAD + "[method]\nsimulations = 10.5",
        ["method.simulations: Expected a whole number; got 10.5."],
    ),
    "no rounds": (
        HEAD + "[method]\nrounds = 0",
        ["method.rounds: Expected rounds of at least 1; got 0."],
    ),
    "too few": (
        HEAD + "[method]\nsimulations = 5",
        ["method.simulations: Expected at least 10 simulations a round"],
    ),
    "density": (
        HEAD + '[method]\ndensity = "mfa"',
        ["method.density: Expected density to be one of", "'mfa'"],
    ),
    "density's key": (
        HEAD + "[method.density]\nlayer = 2",
        ["method.density.layer: Expected kind, layers,", 'did you mean "layers"?'],
    ),
    "training's key": (
        HEAD + "[method.training]\nepoch = 2",
        ["method.training.epoch: Expected batch,"],
    ),
    "training's value": (
        HEAD + "[method.training]\nrate = -1.0",
        ["method.training.rate: Expected rate above 0; got -1.0."],
    ),
    "seed": ("seed = -1\n" + HEAD, ["seed: Expected a whole number from 0", "got -1."]),
    "seed true": ("seed = true\n" + HEAD, ["seed: Expected a whole number from 0", "got True."]),
    "workers": ("workers = 0\n" + HEAD, ["workers: Expected a whole number from 1", "got 0."]),
    "check_samples": (
        "check_samples = 1.5\n" + HEAD,
        ["check_samples: Expected a whole number from 0", "got 1.5."],
    ),
    "out": ("out = 3\n" + HEAD, ["out: Expected a folder", "got 3."]),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(desk, text, words):
    (desk / "study.toml").write_text(text)
    with pytest.raises(StudyMistakes) as told:
        read_study(desk / "study.toml")
    for word in words:
        assert word in str(told.value)


def test_all_mistakes_are_told_at_once(desk, command):
    (desk / "study.toml").write_text(
        'model = "my_model.py:model"\nsede = 1\nworkers = 0\n[target]\nrate = "x"\ncv = 1\n'
        "[method]\nrounds = 0\nsimulation = 5\n"
    )
    result = command("run", "study.toml")
    assert result.exit_code == 2
    assert "study.toml has 5 mistakes" in result.output
    for key in ("sede:", "workers:", "target.rate:", "method.rounds:", "method.simulation:"):
        assert key in result.output
    assert "Traceback" not in result.output
    assert not (desk / "runs").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.toml", None, "Expected a study file at absent.toml; got none"),
        ("study.toml", b"model = stg", "to be TOML; got a mistake in it"),
        ("study.toml", b"\xff\xfe", "to be text in UTF-8"),
        (".", None, "got a folder"),
    ],
)
def test_a_file_that_is_no_study(desk, command, name, content, words):
    if content is not None:
        (desk / name).write_bytes(content)
    result = command("run", name)
    assert result.exit_code == 2
    assert words in result.output


def test_no_study(command):
    result = command("run")
    assert result.exit_code == 2
    assert "lanternfish run --example > study.toml" in result.output


def test_code_that_does_not_load(desk, command):
    (desk / "my_model.py").write_text("x = 1\ny = x / 0\n")
    result = command("run", "study.toml")
    assert result.exit_code == 2
    assert "to be Python that loads; got ZeroDivisionError in line 2" in result.output


def test_code_with_a_wrong_syntax(desk, command):
    (desk / "my_model.py").write_text("x = 1\nif x\n")
    assert "got SyntaxError in line 2" in command("run", "study.toml").output


TARGETS = {
    "good.csv": (b"rate,cv\n0.5,0.25\n", None),
    "swapped.csv": (b"cv, rate\r\n0.25, 0.5\r\n\r\n", None),
    "good.json": (b'{"rate": 0.5, "cv": 0.25}', None),
    "rows.csv": (b"rate,cv\n1,2\n3,4\n", "a line of statistic names and a line of numbers; got 3"),
    "short.csv": (b"rate,cv\n1\n", "2 names and 1 numbers"),
    "words.csv": (b"rate,cv\n1,high\n", "Expected a number for cv in words.csv; got 'high'."),
    "nan.csv": (b"rate,cv\n1,nan\n", "target (nan.csv).cv: Expected a finite number; got nan"),
    "latin.csv": (b"rate,cv\n\xe9,1\n", "latin.csv to hold a line of statistic names"),
    "list.json": (b"[1, 2]", "got a list"),
    "bad.json": (b"{rate", "got no JSON"),
    "bad.npz": (b"nothing", "got no NPZ that can be read"),
    "other.json": (b'{"rate": 0.5, "vc": 1}', 'got "vc": did you mean "cv"?'),
}


@pytest.mark.parametrize("name", TARGETS)
def test_target_files(desk, name):
    content, words = TARGETS[name]
    (desk / name).write_bytes(content)
    (desk / "study.toml").write_text(MODEL_LINE + f'target = "{name}"')
    if words is None:
        study = read_study(desk / "study.toml")
        assert dict(study.target) == {"rate": 0.5, "cv": 0.25}
        return
    with pytest.raises(StudyMistakes) as told:
        read_study(desk / "study.toml")
    assert words in str(told.value)


def test_a_property_is_a_target_and_epi_its_method(desk):
    (desk / "study.toml").write_text('model = "linear_2d"\ntarget = "oscillation"')
    named = read_study(desk / "study.toml")
    assert isinstance(named.target, lf.EmergentProperty)
    assert named.method == lf.EPI()
    assert named.source["target"] == "oscillation"
    (desk / "study.toml").write_text(
        MODEL_LINE + 'target = {rate = [0.5, 0.1], total_variance = ["rate"]}\n'
        "[method.tolerance]\nmean = 0.1\n[method.loop]\npolish = 700"
    )
    own = read_study(desk / "study.toml")
    assert own.target == lf.EmergentProperty(rate=(0.5, 0.1), total_variance=["rate"])
    assert (own.method.tolerance.mean, own.method.loop.polish) == (0.1, 700)
    (desk / "again.toml").write_text(to_toml(own.source, "kept"))
    again = read_study(desk / "again.toml")
    assert (again.target, again.method) == (own.target, own.method)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target = {rate = [0.5]}", "target.rate: Expected [mean, standard deviation]"),
        (
            "target = {rate = [0.5, 0.1], cv = 0.3}",
            "target.cv: Expected [mean, standard deviation]",
        ),
        ("target = {rate = [0.5, -0.1]}", "target: Expected"),
        ("target = {speed = [0.5, 0.1]}", "Expected statistics of the model (rate, cv)"),
        (
            "target = {rate = [0.5, 0.1], total_variance = 3}",
            "target.total_variance: Expected true",
        ),
        (
            'target = {rate = [0.5, 0.1]}\nmethod = {name = "NPE"}',
            "method.name: Expected a method for emergent properties; got NPE",
        ),
        ('target = "cell_7"\nmethod = {name = "EPI"}', "Expected an emergent property"),
        ("target = {rate = [0.5, 0.1]}\nmethod = {loop = 3}", "a table, [method.loop]"),
        ("target = {rate = [0.5, 0.1]}\ncheck_samples = 1", "check_samples: Expected at least 2"),
    ],
)
def test_wrong_properties(desk, text, words):
    (desk / "study.toml").write_text(MODEL_LINE + text)
    with pytest.raises(StudyMistakes) as told:
        read_study(desk / "study.toml")
    assert words in str(told.value)


def test_target_in_npz(desk):
    np.savez(desk / "x.npz", rate=0.5, cv=np.array([0.25]))
    (desk / "study.toml").write_text(MODEL_LINE + 'target = "x.npz"')
    assert dict(read_study(desk / "study.toml").target) == {"rate": 0.5, "cv": 0.25}
    np.savez(desk / "x.npz", rate=[0.5, 1.0], cv=0.25)
    with pytest.raises(StudyMistakes, match=r"a number for rate; got shape \(2,\)"):
        read_study(desk / "study.toml")


def test_a_function_of_options_is_called_with_them(desk):
    (desk / "study.toml").write_text(
        'model = "my_model.py:build"\n[model_options]\nname = "other"\n'
    )
    study = read_study(desk / "study.toml")
    assert study.model.name == "other"
    assert study.target is study.model.targets["cell_7"]  # the only one there is


def test_files_among_the_options_are_found_beside_the_study(desk, tmp_path):
    (desk / "study.toml").write_text(
        'model = "my_model.py:build"\n[model_options]\nname = "my_model.py"\n'
    )
    assert read_study(desk / "study.toml").model.name == str(desk / "my_model.py")


def test_a_study_written_and_read_is_the_same(desk):
    study = read_study(desk / "study.toml")
    again = study_of(tomllib.loads(to_toml(study.source, "again")), desk / "elsewhere", "again")
    assert again.method == study.method
    assert again.seed == study.seed == 3
    assert dict(again.target) == dict(study.target)
    assert again.model.describe() == study.model.describe()
    assert again.source == study.source


def test_toml_of_awkward_values():
    values = {"text": 'a "b" \\ é\n', "many": [1, 2.5, "x"], "yes": True, "e": 1e-7, "none": None}
    values |= {"table": {"odd key": 1, "deep": {"x": 2}}}
    expected = {k: v for k, v in values.items() if v is not None}
    assert tomllib.loads(to_toml(values, "title")) == expected


def test_the_example_is_a_study(command):
    result = command("run", "--example")
    assert result.output == EXAMPLE
    assert tomllib.loads(EXAMPLE)["method"]["simulations"] == 60_000


def test_the_example_runs_with_a_model_of_ones_own(desk):
    text = EXAMPLE.replace('"stg"', '"my_model.py:model"', 1)
    (desk / "study.toml").write_text(text.replace("prep_845_082", "cell_7"))
    study = read_study(desk / "study.toml")
    assert study.out == Path("runs/study")


def test_mistakes_are_mistakes():
    assert issubclass(StudyMistakes, Mistake)
    assert METHOD in STUDY


RAW_MODEL = """
import numpy as np
import lanternfish as lf

def simulate(theta, rng):
    return {"voltage": theta["gain"] * np.ones(6), "rate": theta["gain"]}

model = lf.Model(
    lf.Prior(gain=lf.Uniform(0, 1)),
    lf.PythonSimulator(simulate, [lf.Trace("voltage", 6), "rate"]),
)
"""


def test_an_array_as_target_stands_in_its_file(desk):
    (desk / "raw.py").write_text(RAW_MODEL)
    (desk / "study.toml").write_text('model = "raw.py:model"\ntarget = "x.npz"')
    np.savez(desk / "x.npz", voltage=np.arange(6.0), rate=0.5)
    study = read_study(desk / "study.toml")
    assert study.target["voltage"].tolist() == [0, 1, 2, 3, 4, 5]
    assert study.source["target"] == str((desk / "x.npz").resolve())
    np.savez(desk / "x.npz", voltage=np.arange(5.0), rate=0.5)
    with pytest.raises(StudyMistakes, match=r"voltage of shape \(6,\); got shape \(5,\)"):
        read_study(desk / "study.toml")


@pytest.mark.parametrize(
    ("simulations", "rounds", "first"),
    [(15_000, 7, 10_500), (42_000, 7, 29_400), (120_000, 12, 30_000)],
)
def test_the_demonstration_spends_its_budget_late(simulations, rounds, first):
    study = demo_study(simulations, rounds_of(simulations), seed=0)
    assert len(study.method.budgets(simulations)) == rounds
    assert study.method.budgets(simulations)[0] == first
