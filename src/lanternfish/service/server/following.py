"""Jobs that go on from another's results, as the exploration of a posterior does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from starlette.requests import Request

from lanternfish.service import store as st
from lanternfish.service.server.errors import Mistake
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.submitting import Wish, analysis_of, submit
from lanternfish.service.store import Store, pages


def follow(
    request: Request,
    job: Row,
    name: str,
    results: dict[str, str],
    settings: dict[str, Any],
    title: str = "",
    key: str | None = None,
) -> Row:
    """Queue an analysis that takes result files of `job` as inputs; returns the row of its job.

    What the analysis takes under the name of a setting or input of `job` is as it was there.

    Args:
        results: path of a result file, by name of the input.
    """
    platform, actor = platform_of(request), request.state.actor
    analysis = analysis_of(platform, name)
    taken = {each.name for each in analysis.inputs}
    inputs = {
        each.name: each.dataset_id
        for each in st.inputs_of(platform.store, job.id)
        if each.name in taken and each.dataset_id
    }
    for wanted, path in results.items():
        inputs[wanted] = as_dataset(platform.store, job, path, actor.id)
    known = analysis.schema.get("properties", {})
    kept = {name: value for name, value in job.settings.items() if name in known}
    wish = Wish(
        analysis.name,
        kept | settings,
        (inputs,),
        job.seed,
        title,
        key,
        parent=job.id,
        relation="next",
    )
    return submit(request, job.group_id, wish)[0]


def as_dataset(store: Store, job: Row, path: str, user: str) -> str:
    """Id of the data set that holds a result file, made where the group has none yet."""
    found = st.find_artifact(store, job.id, path)
    if found is None:
        raise Mistake(f"Expected the path of a result file of the job; there is no {path[:200]}.")
    name = found.path.rsplit("/", 1)[-1]
    row = pages.same_content(store, job.group_id, found.sha256, name)
    if row is None:
        row = st.add_dataset(store, job.group_id, user, name, found.size, found.sha256)
    return row.id
