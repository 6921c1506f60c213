"""Pages of jobs: list, watch, batch, compare; and the buttons on them."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.jobs import ENDED, LIVE, Action, State
from lanternfish.service.server import jobs_api, views
from lanternfish.service.server.access import allow
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.rendering import page
from lanternfish.service.store import pages

router = APIRouter()
ROWS = 50
TAIL = 256 * 1024  # bytes of log that a page shows at first
MOST_COMPARED = 8
MOST_REPORT = 200_000  # bytes of a report that a page shows
_FILTERS = {
    "": (),
    "waiting": ("queued",),
    "running": ("running", "cancelling"),
    "succeeded": ("succeeded",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}


@router.get("/jobs", **allow(Action.SEE, "group"))
def listing(
    request: Request, show: str = "", analysis: str = "", text: str = "", before: str | None = None
) -> Response:
    """The group's jobs, newest first."""
    store, group = platform_of(request).store, request.state.group
    rows = st.jobs_of(
        store,
        group.id,
        before=before,
        limit=ROWS + 1,
        states=_FILTERS.get(show, ()),
        analysis=analysis or None,
        text=text[:200],
    )
    counts = st.counts_of(store, group.id)
    tally = {
        name: sum(counts[State(s)] for s in states) if states else sum(counts.values())
        for name, states in _FILTERS.items()
    }
    return page(
        request,
        "jobs.html",
        jobs=views.listed(store, rows[:ROWS]),
        older=rows[ROWS - 1].id if len(rows) > ROWS else None,
        before=before,
        tally=tally,
        show=show,
        analysis=analysis,
        text=text,
        news=st.last_event(store, group=group.id),
    )


@router.get("/jobs/compare", **allow())
def compare(request: Request, id: Annotated[list[str] | None, Query()] = None) -> Response:
    """Settings, inputs and results of jobs side by side."""
    store, actor = platform_of(request).store, request.state.actor
    rows = [st.find_job(store, each) for each in (id or [])[:MOST_COMPARED]]
    rows = [r for r in rows if r is not None and r.deleted is None and actor.role(r.group_id)]
    seen = views.jobs(store, rows)
    table = comparison([_flat(job.settings) | _rest(job) for job in seen])
    pictures = {job.id: _pictures(st.artifacts_of(store, job.id)) for job in seen}
    return page(request, "compare.html", jobs=seen, table=table, pictures=pictures)


@router.get("/jobs/{job_id}", **allow(Action.SEE, "job"))
def watch(request: Request, job_id: str) -> Response:
    """A job as it runs, and its results."""
    platform, row = platform_of(request), request.state.job
    store, actor = platform.store, request.state.actor
    files = st.artifacts_of(store, row.id)
    user = st.find_user(store, id=row.user_id)
    own = row.user_id == actor.id or actor.may(Action.MANAGE, row.group_id)
    may_run = actor.may(Action.RUN, row.group_id)
    return page(
        request,
        "job.html",
        job=row,
        user=user.name if user else "somebody who left",
        analysis=platform.catalogue.get(row.analysis),
        inputs=st.inputs_of(store, row.id),
        attempts=st.attempts_of(store, row.id),
        place=st.queue_position(store, row.id),
        files=files,
        folders=folders(files),
        pictures=_pictures(files),
        table=next((f for f in files if f.kind == "samples" or f.path == "samples.csv"), None),
        children=st.children_of(store, row.id),
        took=views.took(row),
        ended=row.state in ENDED,
        live=row.state in LIVE,
        may_run=may_run,
        may_cancel=may_run and own and row.state not in ENDED and row.state != "cancelling",
        may_delete=may_run and own and row.state in ENDED,
        begin=f"0.{max(0, row.log_size - TAIL)}",
        cut=row.log_size > TAIL,
        settings=json.dumps(row.settings, indent=2, ensure_ascii=False),
        flat=_flat(row.settings),
        certified=row.state in ENDED,
        report=_report(store, files),
        together=sum(pages.counts_of_batch(store, row.batch).values()) if row.batch else 1,
    )


@router.get("/batches/{batch_id}", **allow(Action.SEE, "batch"))
def batch(request: Request, batch_id: str) -> Response:
    """Jobs that were started by one click: what failed first."""
    store, actor = platform_of(request).store, request.state.actor
    group = pages.group_of_batch(store, batch_id) or ""
    rows = st.jobs_of(store, group, batch=batch_id, limit=1_000)[::-1]
    order = {"failed": 0, "running": 1, "cancelling": 1, "queued": 2}
    rows.sort(key=lambda row: order.get(row.state, 3))
    counts = {s: n for s, n in pages.counts_of_batch(store, batch_id).items() if n}
    return page(
        request,
        "batch.html",
        batch=batch_id,
        jobs=views.listed(store, rows),
        counts=counts,
        title=(rows[0].title or rows[0].analysis) if rows else "Batch",
        unfinished=sum(n for s, n in counts.items() if s not in ENDED),
        failed=counts.get(State.FAILED, 0),
        may_run=actor.may(Action.RUN, group),
        news=st.last_event(store, group=group),
        group_id=group,
    )


@router.post("/jobs/{job_id}/cancel", **allow(Action.RUN, "job"))
def cancel(request: Request, job_id: str) -> Response:
    """Stop a job."""
    jobs_api.cancel(request, job_id)
    return RedirectResponse(f"/jobs/{job_id}", 303)


@router.post("/jobs/{job_id}/rerun", **allow(Action.RUN, "job"))
def rerun(request: Request, job_id: str, key: Annotated[str, Form()] = "") -> Response:
    """Run an ended job again."""
    made = jobs_api.rerun(request, job_id, key[:100] or None)
    return RedirectResponse(f"/jobs/{made.id}", 303)


@router.post("/jobs/{job_id}/delete", **allow(Action.RUN, "job"))
def delete(request: Request, job_id: str) -> Response:
    """Delete an ended job's log and results."""
    jobs_api.delete(request, job_id)
    return RedirectResponse("/jobs", 303)


@router.post("/batches/{batch_id}/cancel", **allow(Action.RUN, "batch"))
def cancel_batch(request: Request, batch_id: str) -> Response:
    """Stop what has not ended of a batch."""
    jobs_api.cancel_batch(request, batch_id)
    return RedirectResponse(f"/batches/{batch_id}", 303)


@router.post("/batches/{batch_id}/rerun-failed", **allow(Action.RUN, "batch"))
def rerun_failed(request: Request, batch_id: str, key: Annotated[str, Form()] = "") -> Response:
    """Run again what failed of a batch."""
    made = jobs_api.rerun_failed(request, batch_id, key[:100] or None)
    target = made[0].batch if made else batch_id
    return RedirectResponse(f"/batches/{target}", 303)


def comparison(columns: list[dict[str, Any]]) -> list[tuple[str, list[str], bool]]:
    """Rows of a table: name, each job's value as text, whether they differ. What differs first."""
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = []
    for name in names:
        texts = [_text(column[name]) if name in column else "" for column in columns]
        rows.append((name, texts, len(set(texts)) > 1))
    return sorted(rows, key=lambda row: not row[2])


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    if not isinstance(settings, dict) or not settings:
        return {prefix: settings} if prefix else {}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return found


def _rest(job: views.JobSeen) -> dict[str, Any]:
    inputs = {f"input {each.name}": each.filename for each in job.inputs}
    return {
        "seed": job.seed,
        **inputs,
        "analysis": f"{job.analysis} {job.version}",
        "state": job.state,
    }


def _report(store: st.Store, files: list) -> str:
    """The report in words (report.md), if a job left one."""
    found = next((f for f in files if f.path == "report.md" and f.size <= MOST_REPORT), None)
    if found is None:
        return ""
    with store.blobs.open(found.sha256) as file:
        return file.read().decode("utf-8", "replace")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pictures(files: list) -> list:
    """Pictures and films that a page can show, each content once, by its shortest path."""
    shown = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp4", ".webm")
    found = [f for f in files if f.path.lower().endswith(shown)]
    found.sort(key=lambda f: (f.path.count("/"), f.path))
    return list({f.sha256: f for f in reversed(found)}.values())[::-1]


def folders(files: list) -> list[tuple[str, list]]:
    """Files by their first folder: those in none first."""
    found: dict[str, list] = {"": []}
    for each in files:
        head, slash, _ = each.path.partition("/")
        found.setdefault(head + slash if slash else "", []).append(each)
    return [(name, inside) for name, inside in found.items() if inside]
