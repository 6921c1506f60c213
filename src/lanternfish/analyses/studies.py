"""What our analyses share: settings of a study, its inputs, its run and its results.

A study is run as `lanternfish run` runs it, in a folder that survives a killed attempt, so that the
next attempt goes on from the last checkpoint. Meanwhile losses and entropy are told as curves, and
samples of the posterior as it stands are drawn now and then.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lanternfish.analyses import exploring
from lanternfish.service.analyses import Input, Job, Output, Problem

if TYPE_CHECKING:
    from lanternfish.cli.study_file import Study
    from lanternfish.inference.progress import Progress

HERE = Path(__file__).parent
FILE = "of my file"
ModelChoice = Literal[
    "stg", "hodgkin_huxley", "stg_neuron", "stg_networks", "k_channel", "gabor", "linear_2d",
    "ln_filter", "stg_subcircuit", "v1", "superior_colliculus", "gaussian_rnn", "amplifying_rnn",
    "of my file",
]  # fmt: skip
ChosenModel = Annotated[
    ModelChoice, Field(title="Model", description="A model of the zoo, or of your file.")
]
Attribute = Annotated[
    str,
    Field(
        title="Name in the file",
        description="Name of the Model, or of a function that returns one, in your model file.",
        max_length=100,
    ),
]
Options = Annotated[
    dict[str, float | str],
    Field(
        title="Options of the model",
        description="What the model's function is called with.",
    ),
]
SAMPLES = 1_000  # of a growing pair plot
EVERY = 15.0  # seconds between growing pair plots, at least

MODEL_FILE = Input(
    "model",
    "Model file (Python)",
    "A Python file that holds a lanternfish Model, where the model is your own.",
    (".py",),
    required=False,
)
RECORDING = Input(
    "recording",
    "Recording (NWB)",
    "A whole-cell recording that drives the Hodgkin-Huxley neuron.",
    (".nwb",),
    required=False,
)
TARGET = Input(
    "target",
    "Measured statistics",
    "A value for each statistic of the model; a job is started for each file.",
    (".csv", ".json", ".npz"),
    required=False,
)
OUTPUTS = (
    Output("report.md", "Report", "report", exact=False),  # tells the time that it took
    Output("samples.csv", "Samples of the posterior", "table"),
    Output("parameters.csv", "Parameters", "table"),
    Output("statistics.csv", "Statistics", "table", required=False),
    Output("figures/*.png", "Pictures", "picture", required=False),
    Output(exploring.POSTERIOR, "Posterior, for the analysis that explores it", "data"),
    Output(exploring.FILE, "What the explorer shows", "data", required=False),
    Output("run/*.json", "Run folder", "run", exact=False),  # dates and seconds
    Output("run/*.toml", "Run folder", "run", exact=False),  # paths
    Output("run/report.md", "Run folder", "run", exact=False),
    Output("run/*", "Run folder", "run"),
)
_LIVE = "figures/growing.png"


class StudySettings(BaseModel):
    """Settings that every study has."""

    model_config = ConfigDict(protected_namespaces=(), extra="forbid")

    model: ChosenModel = "stg"
    attribute: Attribute = "model"
    options: Options = Field(default_factory=dict)
    check_samples: int = Field(
        500,
        ge=0,
        le=100_000,
        title="Samples of the check",
        description="Posterior samples that are simulated at the end to check it; 0: none.",
    )
    explorer: bool = Field(
        True,
        title="Prepare the explorer",
        description="Simulate samples, a path between two of them and sensitivity directions.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        title="Simulations at a time",
        description="One for each core where left out.",
    )


def values_of(
    settings: StudySettings, inputs: Mapping[str, Path], target: Any, method: dict[str, Any]
) -> dict[str, Any]:
    """The values of a study file."""
    reference = settings.model
    if "model" in inputs:
        reference = f"{inputs['model']}:{settings.attribute}"
    options: dict[str, Any] = dict(settings.options)
    if "recording" in inputs:
        options["recording"] = str(inputs["recording"])
    if "target" in inputs:
        target = str(inputs["target"])
    values: dict[str, Any] = {"model": reference, "method": method}
    values |= {"check_samples": settings.check_samples}
    values |= {"model_options": options} if options else {}
    values |= {"workers": settings.workers} if settings.workers else {}
    return values | ({"target": target} if target else {})


def problems_of(settings: StudySettings, inputs: Mapping[str, Path], values: dict) -> list[Problem]:
    """All that is wrong with a study, by setting or input."""
    if settings.model == FILE and "model" not in inputs:
        return [Problem("inputs.model", None, "Expected a model file, as the model is of my file.")]
    from lanternfish.cli.study_file import StudyMistakes, study_of

    try:
        study_of(values, Path.cwd(), "settings")
    except StudyMistakes as error:
        return [_problem(text, inputs, values) for text in error.mistakes]
    return []


def run_study(job: Job, values: dict[str, Any]) -> None:
    """Run a study, or go on with it, and leave its results in the output folder."""
    from lanternfish.cli import run_folder
    from lanternfish.cli.conduct import conduct
    from lanternfish.cli.study_file import study_of

    folder = job.checkpoint / "run"
    study = study_of({**values, "seed": job.seed}, Path.cwd(), job.settings.model)
    study = study.at(folder)
    job.log(f"{'Going on with' if folder.exists() else 'Beginning'} a study of {study.model.name}.")
    run_folder.begin(study, folder)
    conduct(study, folder, Teller(job, study))
    publish(job, folder)
    exploring.pack(folder, job.output / exploring.POSTERIOR)
    if job.settings.explorer:
        _explorer(job, study, folder)
    job.progress(1.0, "done")


def _explorer(job: Job, study: Study, folder: Path) -> None:
    """What the explorer shows, unless an earlier attempt has made it."""
    from lanternfish.cli.conduct import SAMPLES as ALL
    from lanternfish.cli.conduct import load
    from lanternfish.cli.tables import posterior_samples

    file = job.checkpoint / exploring.FILE
    if not file.is_file():
        run = load(folder, study.model)
        samples = posterior_samples(run, ALL)
        exploring.prepare(job, study.model, run.posterior, samples, file)
    shutil.copy2(file, job.output / exploring.FILE)


def publish(job: Job, folder: Path) -> None:
    """Copy a run folder to the output: what is read first on top, all of it under `run`."""
    shutil.copytree(folder, job.output / "run", dirs_exist_ok=True)
    for name in ("report.md", "samples.csv", "parameters.csv", "statistics.csv"):
        if (folder / name).is_file():
            shutil.copy2(folder / name, job.output / name)
    shutil.rmtree(job.output / "figures", ignore_errors=True)  # the growing one is grown
    if (folder / "figures").is_dir():
        shutil.copytree(folder / "figures", job.output / "figures")
        for picture in sorted((job.output / "figures").glob("*.png")):
            job.picture(picture)


class Teller:
    """Tells a job what a study tells: progress, curves, and a pair plot that grows."""

    def __init__(self, job: Job, study: Study) -> None:
        self._job, self._study = job, study
        self._drawn, self._stage, self._steps = 0.0, "", {}
        self._last: dict[str, float] = {}

    def __call__(self, event: Progress) -> None:
        from lanternfish.cli.progress import line

        stage = str(event.stage)
        if stage != self._stage or event.share >= 1:
            self._job.log(line(event))
        self._stage = stage
        self._job.progress(event.share, f"{stage}: {event.text}")
        for name, value in event.values.items():
            step = self._steps[name] = self._steps.get(name, -1) + 1
            self._job.metric(name, value, step)
        if event.posterior is not None and time.monotonic() - self._drawn > EVERY:
            self._draw(event.posterior())

    def _draw(self, posterior) -> None:
        """A pair plot of the posterior as it stands; one that fails costs a sentence."""
        try:
            from lanternfish import plot

            (self._job.output / "figures").mkdir(exist_ok=True)
            figure = plot.pair(posterior.sample(SAMPLES, seed=0), prior=posterior.prior)
            plot.save(figure, str(self._job.output / _LIVE))
            self._job.picture(_LIVE)
        except (ImportError, ValueError, RuntimeError) as error:
            self._job.log(f"No growing pair plot: {error}")
        self._drawn = time.monotonic()


def _problem(text: str, inputs: Mapping[str, Path], values: dict) -> Problem:
    key, _, sentence = text.partition(": ")
    key = key.removeprefix("method.")
    if key.split(".")[0] in inputs:
        field = f"inputs.{key.split('.')[0]}"
    else:
        field = {"model_options": "options", "method": "settings"}.get(key, key)
    return Problem(field, _plain(values.get(key, values["method"].get(key))), sentence)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)[:200]
