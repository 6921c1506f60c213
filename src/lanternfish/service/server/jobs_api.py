"""Jobs: submit, look, log, cancel, run again, results, certificate."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lanternfish.service import store as st
from lanternfish.service.jobs import Action, State
from lanternfish.service.server import certificates, views
from lanternfish.service.server.access import allow
from lanternfish.service.server.downloads import File, disposition, send, send_archive
from lanternfish.service.server.following import follow
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.sign_in import audit
from lanternfish.service.server.submitting import Wish, submit
from lanternfish.service.store import pages

router = APIRouter(prefix="/api/v1", tags=["jobs"])
MOST_LOG = 1 << 24  # bytes of log in one answer


class Wanted(BaseModel):
    """A submission: one job for each entry of `inputs`, all or none."""

    analysis: str = Field(examples=["npe"])
    settings: dict[str, Any] = {}
    inputs: list[dict[str, str]] = Field(
        [{}], description="For each job, the data set's id by name of the input.", max_length=1000
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    title: str = Field(default="", max_length=200)
    minutes: float | None = Field(
        default=None, gt=0, description="Limit on the time that a job runs."
    )


class Changes(BaseModel):
    """What is different in a duplicate."""

    settings: dict[str, Any] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    title: str | None = Field(default=None, max_length=200)


class Next(BaseModel):
    """An analysis that takes results of a job as its inputs."""

    analysis: str = Field(examples=["explore"])
    results: dict[str, str] = Field(
        {}, description="Path of a result file of the job, by name of the input.", max_length=20
    )
    settings: dict[str, Any] = {}
    title: str = Field(default="", max_length=200)


Key = Annotated[
    str | None,
    Header(max_length=100, description="The same key and request again give the same jobs."),
]


@router.post("/jobs", **allow(Action.RUN, "group"), status_code=201)
def create(request: Request, wanted: Wanted, idempotency_key: Key = None) -> list[views.JobSeen]:
    """Check settings and inputs, then queue one job for each set of inputs."""
    wish = Wish(
        wanted.analysis,
        wanted.settings,
        tuple(wanted.inputs or [{}]),
        wanted.seed,
        wanted.title,
        idempotency_key,
        minutes=wanted.minutes,
    )
    rows = submit(request, request.state.group.id, wish)
    return views.jobs(platform_of(request).store, rows)


@router.get("/jobs", **allow(Action.SEE, "group"))
def listing(
    request: Request,
    before: str | None = None,
    limit: int = 50,
    state: State | None = None,
    analysis: str | None = None,
    batch: str | None = None,
) -> list[views.JobSeen]:
    """The group's jobs, newest first; those older than the id `before`."""
    store = platform_of(request).store
    rows = st.jobs_of(
        store,
        request.state.group.id,
        before=before,
        limit=min(max(limit, 1), 500),
        states=(state,) if state else (),
        analysis=analysis,
        batch=batch,
    )
    return views.jobs(store, rows)


@router.get("/jobs/{job_id}", **allow(Action.SEE, "job"))
def look(request: Request, job_id: str) -> views.JobSeen:
    """One job; where it waits, its place in the queue and why."""
    return views.job(platform_of(request).store, request.state.job)


@router.post("/jobs/{job_id}/cancel", **allow(Action.RUN, "job"))
def cancel(request: Request, job_id: str) -> views.JobSeen:
    """Stop a job; its log and what it has written stay. A job that has ended stays as it is."""
    store, row = platform_of(request).store, request.state.job
    st.cancel(store, row.id, request.state.actor.name)
    audit(request, "cancel job", group=row.group_id, object=row.id)
    return views.job(store, st.find_job(store, row.id) or row)


@router.post("/jobs/{job_id}/rerun", **allow(Action.RUN, "job"), status_code=201)
def rerun(request: Request, job_id: str, idempotency_key: Key = None) -> views.JobSeen:
    """Run an ended job again, as it was."""
    store, row = platform_of(request).store, request.state.job
    made = st.rerun(store, row.id, request.state.actor.id, key=idempotency_key)
    return views.job(store, made)


@router.post("/jobs/{job_id}/duplicate", **allow(Action.RUN, "job"), status_code=201)
def duplicate(
    request: Request, job_id: str, changes: Changes, idempotency_key: Key = None
) -> views.JobSeen:
    """Start a job like another, changed where given."""
    store, row = platform_of(request).store, request.state.job
    old = st.submission_of(store, row.id)
    wish = Wish(
        old.analysis,
        changes.settings if changes.settings is not None else old.settings,
        ({each.name: each.dataset or "" for each in old.inputs},),
        changes.seed if changes.seed is not None else old.seed,
        changes.title or old.title,
        idempotency_key,
        parent=row.id,
    )
    return views.job(store, submit(request, row.group_id, wish)[0])


@router.post("/jobs/{job_id}/next", **allow(Action.RUN, "job"), status_code=201)
def go_on(
    request: Request, job_id: str, wanted: Next, idempotency_key: Key = None
) -> views.JobSeen:
    """Start an analysis of a job's results; settings and inputs of the same name are the job's."""
    store, row = platform_of(request).store, request.state.job
    made = follow(
        request,
        row,
        wanted.analysis,
        wanted.results,
        wanted.settings,
        wanted.title,
        idempotency_key,
    )
    return views.job(store, made)


@router.delete("/jobs/{job_id}", **allow(Action.RUN, "job"), status_code=204)
def delete(request: Request, job_id: str) -> None:
    """Delete an ended job's log and results."""
    row = request.state.job
    st.delete_job(platform_of(request).store, row.id)
    audit(request, "delete job", group=row.group_id, object=row.id)


@router.get("/jobs/{job_id}/log", **allow(Action.SEE, "job"), response_class=Response)
def log(request: Request, job_id: str, offset: int = 0, limit: int = MOST_LOG) -> Response:
    """The log as text, from a byte offset; `X-Next-Offset` is where the next part begins."""
    limit, offset = min(max(limit, 1), MOST_LOG), min(max(offset, 0), st.LARGEST)
    data, _ = st.log_from(platform_of(request).store, job_id, offset, limit)
    data = data[:limit]
    headers = {
        "X-Next-Offset": str(offset + len(data)),
        "Content-Disposition": disposition(f"{job_id}.log", True),
    }
    return Response(data, headers=headers, media_type="text/plain; charset=utf-8")


@router.get("/jobs/{job_id}/files", **allow(Action.SEE, "job"))
def files(request: Request, job_id: str) -> list[views.FileSeen]:
    """The result files of a job, also those of one that still runs or failed."""
    rows = st.artifacts_of(platform_of(request).store, job_id)
    return [views.FileSeen(path=r.path, kind=r.kind, size=r.size, sha256=r.sha256) for r in rows]


@router.get("/jobs/{job_id}/files/{path:path}", **allow(Action.SEE, "job"), response_class=Response)
@router.head(
    "/jobs/{job_id}/files/{path:path}", **allow(Action.SEE, "job"), response_class=Response
)
def file(request: Request, job_id: str, path: str, shown: bool = False) -> Response:
    """One result file, whole or a range; `shown` lets a page show a picture or video."""
    store = platform_of(request).store
    row = st.find_artifact(store, job_id, path)
    if row is None:
        raise st.NotFoundError("Expected the path of a result file of this job; there is none.")
    name = row.path.rsplit("/", 1)[-1]
    return send(request, store, File(name, row.size, row.sha256), shown=shown)


@router.get("/jobs/{job_id}/archive", **allow(Action.SEE, "job"), response_class=Response)
def archive(request: Request, job_id: str, folder: str = "") -> Response:
    """All result files, or those of one folder, as a ZIP that is made while it is sent."""
    row = request.state.job
    return _archive(request, f"{row.title or row.analysis} {row.id[-6:]}", [row], folder)


@router.get("/batches/{batch_id}", **allow(Action.SEE, "batch"))
def batch(request: Request, batch_id: str) -> list[views.JobSeen]:
    """The jobs that were started together."""
    store = platform_of(request).store
    group = pages.group_of_batch(store, batch_id)
    rows = st.jobs_of(store, group or "", batch=batch_id, limit=1_000)
    return views.jobs(store, rows[::-1])


@router.post("/batches/{batch_id}/rerun-failed", **allow(Action.RUN, "batch"), status_code=201)
def rerun_failed(
    request: Request, batch_id: str, idempotency_key: Key = None
) -> list[views.JobSeen]:
    """Run again the jobs of a batch that failed, and no others."""
    store = platform_of(request).store
    rows = st.rerun_failed(store, batch_id, request.state.actor.id, key=idempotency_key)
    return views.jobs(store, rows)


@router.post("/batches/{batch_id}/cancel", **allow(Action.RUN, "batch"))
def cancel_batch(request: Request, batch_id: str) -> list[views.JobSeen]:
    """Stop the jobs of a batch that have not ended: a member their own, an owner all."""
    store, actor = platform_of(request).store, request.state.actor
    group = pages.group_of_batch(store, batch_id)
    whose = None if actor.may(Action.MANAGE, group) else actor.id
    for job_id in pages.unfinished_of_batch(store, batch_id, whose):
        st.cancel(store, job_id, actor.name)
    audit(request, "cancel batch", group=group, object=batch_id)
    return batch(request, batch_id)


@router.get("/batches/{batch_id}/archive", **allow(Action.SEE, "batch"), response_class=Response)
def batch_archive(request: Request, batch_id: str) -> Response:
    """The results of all jobs of a batch, a folder each."""
    store = platform_of(request).store
    group = pages.group_of_batch(store, batch_id)
    rows = st.jobs_of(store, group or "", batch=batch_id, limit=1_000)
    return _archive(request, f"batch {batch_id[-6:]}", rows[::-1], "")


@router.get("/jobs/{job_id}/certificate", **allow(Action.SEE, "job"))
def certificate(request: Request, job_id: str) -> dict[str, Any]:
    """Who, when, what went in and came out (hashes), settings, seed, code, machine, use."""
    return st.certificate(platform_of(request).store, job_id)


@router.get("/jobs/{job_id}/crate", **allow(Action.SEE, "job"), response_class=Response)
def crate(request: Request, job_id: str) -> Response:
    """The Workflow Run RO-Crate of a job, as ZIP, which `lanternfish replay` recomputes."""
    platform, row = platform_of(request), request.state.job
    return certificates.crate(platform.store, row, platform.catalogue.get(row.analysis))


def _archive(request: Request, name: str, rows: list, folder: str) -> Response:
    store = platform_of(request).store
    found: list[File] = []
    more: dict[str, bytes] = {}
    for row in rows:
        head = f"{row.id[-6:]}/" if len(rows) > 1 else ""
        for each in st.artifacts_of(store, row.id):
            if each.path.startswith(folder):
                found.append(File(head + each.path, each.size, each.sha256))
        if not folder:
            more[f"{head}certificate.json"] = certificates.text(store, row.id)
            more[f"{head}log.txt"] = _whole_log(store, row.id)
    return send_archive(store, f"{name}.zip", found, more)


def _whole_log(store: st.Store, job: str) -> bytes:
    return st.log_from(store, job, 0, 4 * MOST_LOG)[0]
