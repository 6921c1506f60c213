"""A finished posterior explored: simulated samples, a path between two, its directions."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lanternfish import __version__
from lanternfish.analyses import exploring
from lanternfish.analyses.studies import (
    FILE,
    HERE,
    MODEL_FILE,
    RECORDING,
    Attribute,
    ChosenModel,
    Options,
)
from lanternfish.service.analyses import Analysis, Demo, Input, Job, Output, Problem

if TYPE_CHECKING:
    from lanternfish.core import Model

DOCUMENTATION = """\
# Explore a posterior

Simulates a model at points of a posterior that a study has found: at chosen parameters, along a
path between two of them on which the density stays high, or along the directions in which the
posterior is stiff and sloppy.

**What goes in.** `posterior.zip` of a finished study, and the model that it was of. The page
*Explore the posterior* of a job starts this analysis by itself, with all that it needs.

**What comes out.** `explore.json`, which that page shows, and `walk.csv`: parameters, log density,
mean and standard deviation of each statistic at each point.
"""


class Settings(BaseModel):
    """What to look at."""

    model_config = ConfigDict(protected_namespaces=(), extra="forbid")

    what: Literal["path", "sample", "directions"] = Field(
        "directions",
        title="What to look at",
        description="A path from start to end, the one sample at start, or stiff and sloppy "
        "directions.",
    )
    start: dict[str, float] = Field(
        default_factory=dict, title="Start", description="A value for each parameter, by name."
    )
    end: dict[str, float] = Field(
        default_factory=dict, title="End", description="Likewise; of a path only."
    )
    sample: int = Field(
        0, ge=0, title="Sample", description="Number under which the sample at start is kept."
    )
    title: str = Field(
        "A path", title="Title", description="Of the path, for people.", max_length=200
    )
    model: ChosenModel = "stg"
    attribute: Attribute = "model"
    options: Options = Field(default_factory=dict)


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the archive and the points; the model is loaded when the job runs."""
    problems = []
    if settings.model == FILE and "model" not in inputs:
        problems.append(
            Problem("inputs.model", None, "Expected a model file, as the model is of my file.")
        )
    names = set()
    with tempfile.TemporaryDirectory() as folder:
        try:
            exploring.unpack(inputs["posterior"], Path(folder))
            names = _names(Path(folder))
        except ValueError as error:
            return [*problems, Problem("inputs.posterior", None, str(error))]
    wanted = {"path": ("start", "end"), "sample": ("start",)}.get(settings.what, ())
    for field in wanted:
        given = set(getattr(settings, field))
        if given != names:
            wrong = ", ".join(sorted(given ^ names)[:5])
            sentence = f"Expected a value for each of {', '.join(sorted(names))}; see {wrong}."
            problems.append(Problem(field, None, sentence))
    return problems


def _names(folder: Path) -> set[str]:
    """Names of a posterior's parameters."""
    import json

    told = json.loads((folder / "posterior.json").read_text())
    try:
        prior = told["prior"]
        joint = [column[0] for law in prior["joint"] for column in law["columns"]]
        return {*prior["named"], *joint}
    except (KeyError, TypeError, IndexError):
        raise ValueError("Expected a posterior of lanternfish; got another file.") from None


def model_of(settings: Settings, inputs: Mapping[str, Path]) -> Model:
    """The model that the posterior is of."""
    from lanternfish.cli.zoo import file_model, zoo_model

    options: dict[str, Any] = dict(settings.options)
    if "recording" in inputs:
        options["recording"] = str(inputs["recording"])
    if "model" in inputs:
        return file_model(inputs["model"], settings.attribute, options)
    return zoo_model(settings.model, options)


def run(job: Job) -> None:
    """Simulate what was asked for."""
    from lanternfish.core import Folder, Table
    from lanternfish.core.posterior_files import read_posterior

    model, settings = model_of(job.settings, job.inputs), job.settings
    with tempfile.TemporaryDirectory() as folder:
        exploring.unpack(job.inputs["posterior"], Path(folder))
        posterior = read_posterior(Folder(folder), model.prior)
    explorer = exploring.Explorer(model, posterior, job.seed, job.progress)
    if settings.what == "path":
        explorer.path(settings.start, settings.end, settings.title)
    elif settings.what == "sample":
        import numpy as np

        one = np.array([[settings.start[name] for name in model.prior.names]])
        explorer.samples(Table(one, model.parameters), [0])
        explorer.told["samples"] = {str(settings.sample): explorer.told["samples"]["0"]}
    else:
        explorer.directions()
    explorer.write(job.output / exploring.FILE)
    _write_table(explorer, job.output / "walk.csv")
    job.progress(1.0, "done")


def _write_table(explorer: exploring.Explorer, file: Path) -> None:
    """All points in one table."""
    told = explorer.told
    parameters = [name for name, _ in told["parameters"]]
    statistics = [name for name, _ in told["statistics"]]
    with open(file, "w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened, lineterminator="\n")
        head = [f"{name} {what}" for name in statistics for what in ("mean", "sd")]
        table.writerow(["of", "at", "log density", *parameters, *head])
        rows = [
            (walk["title"], at, density, point)
            for walk in told["walks"]
            for at, density, point in zip(
                walk["at"], walk["log_density"], walk["points"], strict=True
            )
        ]
        rows += [(f"sample {int(k) + 1}", "", "", p) for k, p in told["samples"].items()]
        for title, at, density, point in rows:
            pairs = [v for pair in zip(point["x"], point["sd"], strict=True) for v in pair]
            table.writerow([title, at, density, *point["theta"], *pairs])


analysis = Analysis(
    name="explore",
    version=__version__,
    title="Explore a posterior",
    summary="What a model does along a path through its posterior, or along its directions.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.7554/eLife.56261",
    settings=Settings,
    inputs=(
        Input(
            "posterior",
            "Posterior (posterior.zip)",
            "The file of this name among the results of a finished study.",
            (".zip",),
        ),
        MODEL_FILE,
        RECORDING,
    ),
    outputs=(
        Output(exploring.FILE, "What the explorer shows", "data"),
        Output("walk.csv", "Points", "table"),
    ),
    run=run,
    validate=validate,
    demo=Demo(  # of the demo of `npe`, with density = "mixture" and seed = 1
        {"what": "directions", "model": FILE},
        {
            "posterior": HERE / "demo" / "posterior.zip",
            "model": HERE / "demo" / "gaussian.py",
        },
        "Directions of two parameters of a neuron's firing",
    ),
    cpu_seconds=1_800.0,
    arbitrary_code=True,
)
