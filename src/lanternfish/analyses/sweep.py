"""The parameter sweep, as an analysis of the platform."""

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
# Parameter sweep

Simulates a circuit model at every point of a design - a grid, a Sobol sequence or random points -
and keeps those parameters whose statistics are nearest to what was measured.

**What goes in.** A model of the zoo, or a Python file with a `lanternfish.Model`; and what was
measured, as for neural posterior estimation.

**What comes out.** All simulations, in `run/`; `samples.csv` holds samples among the accepted
parameters, weighted by the share of the prior that each stands for; `report.md` and pictures.

A killed job goes on after the last shard of simulations.
"""


class Settings(StudySettings):
    """Settings of a sweep."""

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
    design: Literal["sobol", "grid", "random"] = Field(
        "sobol", title="Design", description="Where the points lie."
    )
    points: int = Field(
        10_000,
        ge=10,
        le=1_000_000_000,
        title="Points",
        description="Simulations of a Sobol or random design.",
    )
    levels: int = Field(
        6, ge=2, le=1_000, title="Levels", description="Of each parameter, in a grid."
    )
    quantile: float = Field(
        0.01,
        gt=0,
        le=1,
        title="Accepted share",
        description="Share of the valid simulations that is accepted, the nearest ones.",
    )


def _values(settings: Settings, inputs: Mapping[str, Path]) -> dict[str, Any]:
    method: dict[str, Any] = {"name": "Sweep", "quantile": settings.quantile}
    if settings.design == "grid":
        method |= {"design": "grid", "levels": settings.levels}
    else:
        method |= {"design": settings.design, "simulations": settings.points}
    return values_of(settings, inputs, dict(settings.values) or settings.target, method)


def validate(settings: Settings, inputs: Mapping[str, Path]) -> list[Problem]:
    """Look at the model, the target and the design, as `lanternfish run` does."""
    return problems_of(settings, inputs, _values(settings, inputs))


def run(job: Job) -> None:
    """Simulate the design."""
    run_study(job, _values(job.settings, job.inputs))


analysis = Analysis(
    name="sweep",
    version=__version__,
    title="Parameter sweep",
    summary="A circuit model at every point of a design, and the points nearest to the data.",
    documentation=DOCUMENTATION,
    paper="https://doi.org/10.1038/nn1352",
    settings=Settings,
    inputs=(TARGET, MODEL_FILE, RECORDING),
    outputs=OUTPUTS,
    run=run,
    validate=validate,
    demo=Demo(
        {"model": FILE, "points": 4_096, "quantile": 0.05, "check_samples": 100},
        {"model": HERE / "demo" / "gaussian.py", "target": HERE / "demo" / "measured.csv"},
        "Two parameters of a neuron's firing",
    ),
    cpu_seconds=lambda settings: 600.0 + 0.5 * settings.points,
    arbitrary_code=True,
)
