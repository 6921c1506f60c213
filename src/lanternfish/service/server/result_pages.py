"""Pages of results: a posterior's explorer, labels on frames, regions, the certificate."""

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
SAMPLES, EXPLORED, POSTERIOR = "samples.csv", "explore.json", "posterior.zip"
EXPLORER = "explore"  # the analysis that looks at chosen points and paths
FRAMES = "frames.json"  # index of frames to label
REGIONS = "regions.json"  # contours and measures of regions of a calcium movie


@router.get("/jobs/{job_id}/explore", **allow(Action.SEE, "job"))
def explore(request: Request, job_id: str) -> Response:
    """The posterior's samples as a pair plot; simulated traces, walks and directions beside it."""
    platform, job = platform_of(request), request.state.job
    paths = [each.path for each in st.artifacts_of(platform.store, job_id)]
    samples = _named(paths, SAMPLES)
    if samples is None:
        raise st.NotFoundError("This job has left no table of samples (samples.csv) to explore.")
    posterior = _named(paths, POSTERIOR)
    able = posterior is not None and request.state.actor.may(Action.RUN, job.group_id)
    looked = [
        each.id
        for each in st.children_of(platform.store, job_id)
        if each.analysis == EXPLORER and each.state not in ("failed", "cancelled")
    ]
    return page(
        request,
        "explore.html",
        job=job,
        samples=samples,
        explored=_named(paths, EXPLORED),
        posterior=posterior if able and platform.catalogue.get(EXPLORER) else None,
        looked=looked,
    )


def _named(paths: list[str], name: str) -> str | None:
    return next((path for path in paths if path.rsplit("/", 1)[-1] == name), None)


@router.get("/jobs/{job_id}/label", **allow(Action.SEE, "job"))
def label(request: Request, job_id: str) -> Response:
    """Frames that a job has taken from a video, to be labelled."""
    store, job = platform_of(request).store, request.state.job
    if not any(each.path == FRAMES for each in st.artifacts_of(store, job_id)):
        raise st.NotFoundError("This job has left no frames to label (frames.json).")
    video = next((i.dataset_id for i in st.inputs_of(store, job_id) if i.name == "video"), None)
    may_run = request.state.actor.may(Action.RUN, job.group_id)
    return page(request, "label.html", job=job, index=FRAMES, video=video or "", may_run=may_run)


@router.get("/jobs/{job_id}/regions", **allow(Action.SEE, "job"))
def regions(request: Request, job_id: str) -> Response:
    """Regions of a calcium movie, to be chosen and filtered, with their traces."""
    if not any(e.path == REGIONS for e in st.artifacts_of(platform_of(request).store, job_id)):
        raise st.NotFoundError("This job has left no regions to look at (regions.json).")
    return page(request, "regions.html", job=request.state.job, index=REGIONS)


@router.get("/jobs/{job_id}/certificate", **allow(Action.SEE, "job"))
def certificate(request: Request, job_id: str) -> Response:
    """Who, when, from what, with which code, on which machine."""
    store = platform_of(request).store
    told = st.certificate(store, job_id)
    row = request.state.job
    return page(request, "certificate.html", job=row, told=told, ended=row.state in ENDED)
