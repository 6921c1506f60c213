"""Pages of results: the explorer of a posterior, and the certificate."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lanternfish.service import store as st
from lanternfish.service.jobs import ENDED, Action
from lanternfish.service.server.access import allow
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.rendering import page

router = APIRouter()
SAMPLES, TRACES = "samples.csv", "traces.json"


@router.get("/jobs/{job_id}/explore", **allow(Action.SEE, "job"))
def explore(request: Request, job_id: str) -> Response:
    """The posterior's samples as a pair plot: a point shows its values and its simulated trace."""
    store = platform_of(request).store
    files = {each.path: each for each in st.artifacts_of(store, job_id)}
    samples = next((p for p in files if p.rsplit("/", 1)[-1] == SAMPLES), None)
    if samples is None:
        raise st.NotFoundError("This job has left no table of samples (samples.csv) to explore.")
    traces = next((p for p in files if p.rsplit("/", 1)[-1] == TRACES), None)
    return page(request, "explore.html", job=request.state.job, samples=samples, traces=traces)


@router.get("/jobs/{job_id}/certificate", **allow(Action.SEE, "job"))
def certificate(request: Request, job_id: str) -> Response:
    """Who, when, from what, with which code, on which machine."""
    store = platform_of(request).store
    told = st.certificate(store, job_id)
    row = request.state.job
    return page(request, "certificate.html", job=row, told=told, ended=row.state in ENDED)
