"""suite2p for real, on a job of the platform: a small movie whose cells are known."""

from __future__ import annotations

import importlib.util

import pytest
from server_kit import share_environments
from test_worker_jobs import log_of, run

from lanternfish.analyses.calcium.generated import Movie, write
from lanternfish.service import store
from lanternfish.service.analyses import built, find_manifest
from lanternfish.service.store import Input, Submission
from lanternfish.service.worker.environments import EnvironmentBuildError, python_for

SMALL = Movie(cells=8, frames=300, size=(64, 64), gain=100.0, motion=1.0, seed=3)
ENOUGH = 0.9


@pytest.fixture
def environments(here):
    """suite2p's environment, where a user of this machine has it: built there at first need."""
    db, *_ = here
    share_environments(db.folder)
    said = []
    try:
        python_for(find_manifest("calcium"), db.folder / built.FOLDER, said.append)
    except EnvironmentBuildError as error:
        if "could not be fetched" not in str(error) and "where the worker looks" not in str(error):
            raise
        pytest.skip(f"suite2p's environment is not built here. {error}")
    print(*said, sep="\n")


def test_a_job_of_suite2p_finds_the_cells_of_a_small_movie(here, environments, tmp_path):
    db, group, user = here
    write(SMALL, tmp_path / "cells.h5")
    inputs = []
    for name, file in (("movie", "cells.h5"), ("truth", "cells.truth.h5")):
        sha256, size = db.blobs.put(tmp_path / file)
        inputs.append(Input(name, store.add_dataset(db, group, user, file, size, sha256).id))
    calcium = find_manifest("calcium")
    asked = Submission(group, user, "calcium", calcium.version, {}, 0, tuple(inputs))
    job = run(db, asked)
    assert job.state == "succeeded", (job.reason, log_of(db, job))
    metrics = {
        event.data["name"]: event.data["value"]
        for event in store.events_after(db, job=job.id, kinds=("metric",), limit=1_000)
    }
    assert metrics["recall"] >= ENOUGH
    assert metrics["precision"] >= ENOUGH
    assert metrics["trace correlation"] >= ENOUGH
    assert importlib.util.find_spec("suite2p") is None  # it ran elsewhere than here
    assert "Building" not in log_of(db, job)
    with db.blobs.open(store.find_artifact(db, job.id, "report.md").sha256) as report:
        assert "suite2p 1." in report.read().decode()
