"""Emergent property inference, as an analysis of the platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lanternfish import __version__
from lanternfish.analyses.studies import (
    MODEL_FILE,
    OUTPUTS,
    StudySettings,
    problems_of,
    run_study,
    values_of,
)
from lanternfish.service.analyses import Analysis, Demo, Job, Problem

DOCUMENTATION = """\
# Emergent property inference (EPI)

Finds the distribution of parameters of largest entropy with which a circuit model has an emergent
property: a mean and a standard deviation of some of its statistics.

**What goes in.** A model of the zoo, or a Python file with a `lanternfish.Model`; and the property:
the name of one that comes with the model, or mean and standard deviation of statistics.

**What it does.** Trains a neural density, through the simulator's gradients where it has them,
until fresh simulations have the property and no entropy is missing, as far as can be told.

**What comes out.** `report.md` says first whether the property holds, and how much entropy there is
to have; `samples.csv` holds samples of the distribution; pictures show it and the optimisation.

While it runs, entropy and the distance from the property are drawn as curves, and the distribution
as it stands. A killed job goes on from its last checkpoint.
"""

Moments = Annotated[list[float], Field(min_length=2, max_length=2)]


class Settings(StudySettings):
    """Settings of EPI."""

    target: str = Field(
        "",
        title="Emergent property",
        description="Name of a property of the model, where no moments are given.",
        max_length=100,
    )
    moments: dict[str, Moments] = Field(
        default_factory=dict,
        title="Mean and standard deviation",
        description="[mean, standard deviation] of each wanted statistic, by name.",
    )
    members: int = Field(
        1,
        ge=1,
        le=20,
        title="Members",
        description="Densities that are trained side by side; the best is kept.",
    )
    trials: int = Field(
        1,
        ge=1,
        le=1_000,
        title="Trials",
        description="Simulations of each parameter set, whose mean is the statistic.",
    )


def _values(settings: Settings, inputs: Mapping[str, Path]) -> dict[str, Any]:
    method = {"name": "EPI", "members": settings.members, "trials": settings.trials}
    moments = {name: list(pair) for name, pair in settings.moments.items()}
    return values_of(settings, inputs, moments or settings.target, method)


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the model, the property and the method, as `lanternfish run` does."""
    return problems_of(settings, inputs, _values(settings, inputs))


def run(job: Job) -> None:
    """Find the distribution."""
    run_study(job, _values(job.settings, job.inputs))


analysis = Analysis(
    name="epi",
    version=__version__,
    title="Emergent property inference",
    summary="The most random parameters with which a circuit model has an emergent property.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.7554/eLife.56265",
    settings=Settings,
    inputs=(MODEL_FILE,),
    outputs=OUTPUTS,
    run=run,
    validate=validate,
    demo=Demo(
        {"model": "linear_2d", "target": "oscillation_wide", "check_samples": 200},
        {},
        "A two-dimensional system that oscillates once a second",
    ),
    cpu_seconds=lambda settings: 7_200.0 * settings.members * settings.trials,
    arbitrary_code=True,
)
