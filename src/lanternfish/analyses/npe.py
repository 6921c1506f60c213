"""Neural posterior estimation, as an analysis of the platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lanternfish import __version__
from lanternfish.analyses.studies import (
    FILE,
    HERE,
    MODEL_FILE,
    OUTPUTS,
    RECORDING,
    TARGET,
    StudySettings,
    problems_of,
    run_study,
    values_of,
)
from lanternfish.service.analyses import Analysis, Demo, Job, Problem

DOCUMENTATION = """\
# Neural posterior estimation (SNPE)

Finds all the parameters with which a circuit model does what was measured: the posterior
distribution given a value of each of the model's statistics.

**What goes in.** A model of the zoo, or a Python file with a `lanternfish.Model`; and what was
measured: a file with a value for each statistic (CSV: a line of names, a line of numbers; JSON or
NPZ), the name of a target that comes with the model, or the numbers themselves.

**What it does.** Simulates the model at parameters drawn from the prior, learns the posterior with
a neural density, simulates where that is (in further rounds), and simulates samples of the
posterior to see whether they do what was measured.

**What comes out.** `report.md` says first how far to trust the answer; `samples.csv` holds samples
of the posterior; pictures show it, its predictions and its training; `run/` is the run folder,
which `lanternfish.Run.load` opens.

While it runs, the loss is drawn as a curve, and after each round the posterior as it stands. A
killed job goes on from its last checkpoint.
"""


class Settings(StudySettings):
    """Settings of NPE."""

    target: str = Field(
        "",
        title="Target",
        description="Name of a target of the model, where no file and no values are given.",
        max_length=100,
    )
    values: dict[str, float] = Field(
        default_factory=dict,
        title="Measured values",
        description="A value for each statistic, where no file is given.",
    )
    simulations: int = Field(
        20_000,
        ge=100,
        le=100_000_000,
        title="Simulations",
        description="Budget over all rounds: more make the answer better, and take longer.",
    )
    rounds: int = Field(
        1,
        ge=1,
        le=50,
        title="Rounds",
        description="1 learns the answer to any measurement; more spend all effort on this one.",
    )
    density: Literal["automatic", "spline", "autoregressive", "maf", "mixture"] = Field(
        "automatic", title="Density", description="Kind of neural density."
    )


def _values(settings: Settings, inputs: Mapping[str, Path]) -> dict[str, Any]:
    method: dict[str, Any] = {"name": "NPE", "simulations": settings.simulations}
    method |= {"rounds": settings.rounds}
    if settings.density != "automatic":
        method["density"] = settings.density
    return values_of(settings, inputs, dict(settings.values) or settings.target, method)


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the model, the target and the method, as `lanternfish run` does."""
    return problems_of(settings, inputs, _values(settings, inputs))


def run(job: Job) -> None:
    """Find the posterior."""
    run_study(job, _values(job.settings, job.inputs))


analysis = Analysis(
    name="npe",
    version=__version__,
    title="Neural posterior estimation",
    summary="All the parameters with which a circuit model does what was measured.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.7554/eLife.56261",
    settings=Settings,
    inputs=(TARGET, MODEL_FILE, RECORDING),
    outputs=OUTPUTS,
    run=run,
    validate=validate,
    demo=Demo(
        {"model": FILE, "simulations": 2_000, "density": "maf", "check_samples": 100},
        {"model": HERE / "demo" / "gaussian.py", "target": HERE / "demo" / "measured.csv"},
        "Two parameters of a neuron's firing",
    ),
    cpu_seconds=lambda settings: 600.0 + 0.5 * settings.simulations + 600.0 * settings.rounds,
    arbitrary_code=True,
)
