"""Pages of results: the explorer of a posterior, labels on frames, and the certificate."""

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
FRAMES = "frames.json"  # index of frames to label


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


@router.get("/jobs/{job_id}/label", **allow(Action.SEE, "job"))
def label(request: Request, job_id: str) -> Response:
    """Frames that a job has taken from a video, to be labelled."""
    store, job = platform_of(request).store, request.state.job
    if not any(each.path == FRAMES for each in st.artifacts_of(store, job_id)):
        raise st.NotFoundError("This job has left no frames to label (frames.json).")
    video = next((i.dataset_id for i in st.inputs_of(store, job_id) if i.name == "video"), None)
    may_run = request.state.actor.may(Action.RUN, job.group_id)
    return page(request, "label.html", job=job, index=FRAMES, video=video or "", may_run=may_run)


@router.get("/jobs/{job_id}/certificate", **allow(Action.SEE, "job"))
def certificate(request: Request, job_id: str) -> Response:
    """Who, when, from what, with which code, on which machine."""
    store = platform_of(request).store
    told = st.certificate(store, job_id)
    row = request.state.job
    return page(request, "certificate.html", job=row, told=told, ended=row.state in ENDED)
