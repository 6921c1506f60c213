"""Analyses: what is offered, and whether settings and inputs fit before anything is queued."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from lanternfish.service.jobs import Action
from lanternfish.service.server.access import allow
from lanternfish.service.server.catalogue import Analysis
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.submitting import analysis_of, input_errors

router = APIRouter(prefix="/api/v1/analyses", tags=["analyses"])


class AnalysisListed(BaseModel):
    """An analysis in a list."""

    name: str
    version: str
    title: str
    summary: str


class AnalysisSeen(AnalysisListed):
    """All that a form, or another program, needs of an analysis."""

    documentation: str
    paper: str
    settings_schema: dict[str, Any] = Field(description="JSON schema of the settings.")
    defaults: dict[str, Any]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    demo: dict[str, Any] | None
    code: str = Field(description="SHA-256 of the source code that will run.")
    sources: list[dict[str, str]]
    cpu_seconds: float


class Asked(BaseModel):
    """Settings and inputs to look at."""

    settings: dict[str, Any] = {}
    inputs: list[dict[str, str]] = [{}]


class Looked(BaseModel):
    """What is wrong, by JSON pointer; empty where nothing is."""

    errors: dict[str, str]
    cpu_seconds: float | None = Field(
        default=None, description="Bound on the CPU time of each job."
    )


@router.get("", **allow())
def analyses(request: Request) -> list[AnalysisListed]:
    """The analyses of this server."""
    platform = platform_of(request)
    platform.catalogue.fresh.wait(60)
    return [_listed(each) for each in platform.catalogue.all()]


@router.get("/{name}", **allow())
def look(request: Request, name: str) -> AnalysisSeen:
    """One analysis: documentation, schema, inputs, outputs, and the exact code that will run."""
    found = analysis_of(platform_of(request), name)
    demo = found.demo
    if demo is not None:  # paths of this machine are nobody's business
        inputs = {
            k: {"filename": v["filename"], "size": v["size"]} for k, v in demo["inputs"].items()
        }
        demo = {"title": demo["title"], "settings": demo["settings"], "inputs": inputs}
    return AnalysisSeen(
        **_listed(found).model_dump(),
        documentation=found.documentation,
        paper=found.paper,
        settings_schema=found.schema,
        defaults=found.defaults,
        inputs=found.manifest.inputs,
        outputs=found.outputs,
        demo=demo,
        code=found.code,
        sources=found.sources,
        cpu_seconds=found.cpu_seconds,
    )


@router.post("/{name}/validate", **allow(Action.RUN, "group"))
def validate(request: Request, name: str, asked: Asked) -> Looked:
    """Look at settings and data, as a submission would, without queueing anything."""
    platform, group = platform_of(request), request.state.group
    analysis = analysis_of(platform, name)
    runs = tuple(asked.inputs or [{}])
    settings = {**analysis.defaults, **asked.settings}
    errors = platform.catalogue.check(analysis, settings)
    errors |= input_errors(platform, analysis, group.id, runs)
    if errors:
        return Looked(errors=errors)
    verdict = platform.catalogue.examine(analysis, settings, runs)
    return Looked(errors=verdict.errors, cpu_seconds=verdict.cpu_seconds)


def _listed(found: Analysis) -> AnalysisListed:
    return AnalysisListed(
        name=found.name, version=found.version, title=found.title, summary=found.summary
    )
