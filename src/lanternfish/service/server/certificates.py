"""The certificate of a job: what went in, what came out, who, when, where, with which code."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row
from starlette.responses import Response

from lanternfish.service import store as st
from lanternfish.service.jobs import hours


def of_job(store: st.Store, job: str) -> dict[str, Any]:
    """The certificate as plain JSON."""
    row = st.find_job(store, job)
    if row is None:
        raise st.NotFoundError("There is no such job.")
    user = st.find_user(store, id=row.user_id)
    group = st.find_group(store, row.group_id)
    attempts = st.attempts_of(store, job)
    return {
        "job": row.id,
        "title": row.title or row.analysis,
        "state": row.state,
        "reason": row.reason,
        "ended_by": row.ended_by,
        "user": user.name if user else None,
        "group": group.name if group else None,
        "analysis": {"name": row.analysis, "version": row.version, "code_sha256": row.code},
        "settings": row.settings,
        "seed": row.seed,
        "submitted": row.created,
        "started": row.started,
        "finished": row.finished,
        "core_hours": hours(row.spent),
        "inputs": [
            {
                "name": i.name,
                "file": i.filename,
                "size": i.size,
                "sha256": i.sha256,
                "location": i.location,
            }
            for i in st.inputs_of(store, job)
        ],
        "outputs": [
            {"path": a.path, "kind": a.kind, "size": a.size, "sha256": a.sha256}
            for a in st.artifacts_of(store, job)
        ],
        "attempts": [
            {
                "worker": a.worker_id,
                "machine": a.host,
                "environment": a.environment,
                "started": a.started,
                "ended": a.ended,
                "outcome": a.outcome,
                "reason": a.reason,
                "cpu_seconds": a.cpu_seconds,
                "peak_memory": a.peak_memory,
            }
            for a in attempts
        ],
        "log_bytes": row.log_size,
    }


def text(store: st.Store, job: str) -> bytes:
    return json.dumps(of_job(store, job), indent=2, ensure_ascii=False).encode() + b"\n"


def crate(store: st.Store, row: Row) -> Response:
    """The job as Workflow Run RO-Crate (ZIP)."""
    raise st.NotFoundError("This release makes no crates.")
