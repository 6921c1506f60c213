"""Rows of the store as the API and the pages show them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row

from lanternfish.service import store as st
from lanternfish.service.jobs import ENDED, State, hours
from lanternfish.service.store import Store, pages


class DatasetSeen(BaseModel):
    """A data set: a named content, or a place that data stay in."""

    id: str
    name: str
    size: int
    sha256: str
    location: str | None = Field(
        default=None, description="Where data stay that were not uploaded."
    )
    group: str
    user: str
    created: float


class InputSeen(BaseModel):
    """What went into a job under a name."""

    name: str
    filename: str
    dataset: str | None = None
    location: str | None = None
    size: int | None = None
    sha256: str | None = None


class PlaceSeen(BaseModel):
    """A waiting job's place, and why it waits."""

    place: int
    of: int
    reason: str


class JobSeen(BaseModel):
    """A job as it stands."""

    id: str
    group: str
    user: str
    analysis: str
    version: str
    code: str | None = None
    title: str
    settings: dict[str, Any]
    seed: int
    state: State
    reason: str | None = None
    ended_by: str | None = None
    batch: str | None = None
    parent: str | None = None
    relation: str | None = None
    progress: float | None = None
    progress_text: str | None = None
    attempts: int
    log_size: int
    created: float
    started: float | None = None
    finished: float | None = None
    core_hours: float = Field(default=0, description="Paid, in core-hours, once the job has ended.")
    inputs: list[InputSeen] = []
    queue: PlaceSeen | None = None


class FileSeen(BaseModel):
    """A result file."""

    path: str
    kind: str
    size: int
    sha256: str


def dataset(row: Row) -> DatasetSeen:
    return DatasetSeen(
        id=row.id,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        location=row.location,
        group=row.group_id,
        user=row.user_id,
        created=row.created,
    )


def job(store: Store, row: Row, inputs: Iterable[Row] | None = None) -> JobSeen:
    """A job with its inputs; one that waits with its place in the queue."""
    held = st.inputs_of(store, row.id) if inputs is None else inputs
    waits = row.state == State.QUEUED and inputs is None
    place = st.queue_position(store, row.id) if waits else None
    return JobSeen(
        id=row.id,
        group=row.group_id,
        user=row.user_id,
        analysis=row.analysis,
        version=row.version,
        code=row.code,
        title=row.title or row.analysis,
        settings=row.settings,
        seed=row.seed,
        state=State(row.state),
        reason=row.reason,
        ended_by=row.ended_by,
        batch=row.batch,
        parent=row.parent_id,
        relation=row.relation,
        progress=row.progress,
        progress_text=row.progress_text,
        attempts=row.attempts,
        log_size=row.log_size,
        created=row.created,
        started=row.started,
        finished=row.finished,
        core_hours=hours(row.spent),
        inputs=[_input(each) for each in held],
        queue=PlaceSeen(place=place.place, of=place.of, reason=place.reason) if place else None,
    )


def jobs(store: Store, rows: Iterable[Row]) -> list[JobSeen]:
    """Jobs of a listing, their inputs in one query."""
    rows = list(rows)
    inputs = pages.inputs_of_jobs(store, [row.id for row in rows])
    return [job(store, row, inputs.get(row.id, [])) for row in rows]


def listed(store: Store, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Jobs as a page's table shows them; `rows` carry `user_name`."""
    rows = list(rows)
    inputs = pages.inputs_of_jobs(store, [row.id for row in rows])
    found = []
    for row in rows:
        names = [each.filename for each in inputs.get(row.id, [])]
        line = dict(row._mapping)
        line["title"] = row.title or row.analysis
        line["data_names"] = ", ".join(names[:3]) + (
            f" and {len(names) - 3} more" * (len(names) > 3)
        )
        line["took"] = took(row)
        found.append(line)
    return found


def took(row: Row) -> float | None:
    """Seconds from the start until the end, or now."""
    if row.started is None:
        return None
    end = row.finished if row.state in ENDED else time.time()
    return max(0.0, (end or time.time()) - row.started)


def _input(row: Row) -> InputSeen:
    return InputSeen(
        name=row.name,
        filename=row.filename,
        dataset=row.dataset_id,
        location=row.location,
        size=row.size,
        sha256=row.sha256,
    )
