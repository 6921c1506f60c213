"""Calcium imaging on the platform, suite2p for real: one job a movie, cancel, certificate, replay.

In the environment that the user of this machine has (LANTERNFISH_FOLDER), built at first need.
"""

import csv
import time
from pathlib import Path

import numpy as np
import pytest
from server_kit import ended, serving, share_environments, upload, working
from test_worker_jobs import family

from lanternfish.analyses.calcium.generated import Movie, write
from lanternfish.service import store as st
from lanternfish.service.analyses import find_manifest
from lanternfish.service.worker.replay import replay

pytestmark = pytest.mark.slow
PATIENCE = 1_500.0  # s: suite2p loads for minutes on a loaded machine
SMALL = Movie(cells=6, frames=250, size=(72, 80), gain=80.0, seed=11)
SOON = 10.0  # s, of a cancel


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A server with a worker: (server, client)."""
    folder = tmp_path_factory.mktemp("calcium")
    share_environments(folder)
    with serving(folder) as server, working(folder):
        user = server.user("ada")
        st.create_group(server.store, "lab", owner=user)
        with server.client("ada") as client:
            client.timeout = PATIENCE
            until = time.monotonic() + PATIENCE
            while "calcium" not in client.get("/api/v1/analyses").text:
                assert time.monotonic() < until
                time.sleep(0.5)
            yield server, client


def submitted(client, folder, *seeds):
    """A job for each movie, of one click."""
    inputs = []
    for seed in seeds:
        path = folder / f"movie{seed}.tif"
        write(Movie(**{**vars(SMALL), "seed": seed}), path)
        inputs.append({"movie": upload(client, path.name, path.read_bytes())})
    asked = {"analysis": "calcium", "settings": {"rate": 10.0}, "inputs": inputs}
    answer = client.post("/api/v1/jobs", json=asked, timeout=300)
    assert answer.status_code == 201, answer.text
    return [each["id"] for each in answer.json()]


def files(client, job):
    return {each["path"]: each for each in client.get(f"/api/v1/jobs/{job}/files").json()}


def test_a_job_that_is_cancelled_ends_at_once_and_keeps_what_it_has(lab, tmp_path):
    server, client = lab
    (job,) = submitted(client, tmp_path, 13)
    until, seen = time.monotonic() + PATIENCE, ""
    while "finding regions" not in seen:
        seen = client.get(f"/api/v1/jobs/{job}/log").text
        now = client.get(f"/api/v1/jobs/{job}").json()
        assert now["state"] in ("queued", "running"), (now, seen[-500:])
        assert time.monotonic() < until, seen[-500:]
        time.sleep(0.1)
    assert len(family(job)) >= 2  # the analysis, and suite2p
    began = time.monotonic()
    assert client.post(f"/api/v1/jobs/{job}/cancel").status_code < 300
    while family(job):
        assert time.monotonic() < began + SOON, [p.cmdline() for p in family(job)]
        time.sleep(0.05)
    print(f"cancelled after {time.monotonic() - began:.1f} s")
    assert ended(client, job)["state"] == "cancelled"
    kept = files(client, job)
    assert {"shifts.csv", "images/mean.png", "figures/motion.png"} <= kept.keys()
    table = client.get(f"/api/v1/jobs/{job}/files/shifts.csv").text.splitlines()
    assert len(list(csv.DictReader(table))) == SMALL.frames
    assert not list(Path(server.configuration.folder).rglob("data.bin"))


def test_movies_become_a_job_each_with_a_certificate_that_can_be_replayed(lab, tmp_path):
    server, client = lab
    jobs = submitted(client, tmp_path, 11, 12)
    assert len(set(jobs)) == 2
    for job in jobs:
        assert ended(client, job, PATIENCE)["state"] == "succeeded"
    told = client.get(f"/api/v1/jobs/{jobs[0]}/certificate").json()
    assert told["analysis"]["code_sha256"] == find_manifest("calcium").code
    assert told["analysis"]["environment_sha256"]
    assert told["use"]["cpu_seconds"] > 1
    assert [each["name"] for each in told["inputs"]] == ["movie"]
    both = [{each["path"]: each["sha256"] for each in files(client, job).values()} for job in jobs]
    assert both[0].keys() == both[1].keys()
    assert both[0]["traces.f32"] != both[1]["traces.f32"]  # of another movie
    table = client.get(f"/api/v1/jobs/{jobs[0]}/files/regions.csv").text.splitlines()
    assert sum(row["accepted"] == "1" for row in csv.DictReader(table)) >= SMALL.cells - 1
    crate = tmp_path / "crate.zip"
    st.write_crate(server.store, jobs[0], crate, sources=find_manifest("calcium").sources)
    share_environments(tmp_path / "again")
    found = {each.path: each.verdict for each in replay(crate, tmp_path / "again")}
    print(found)
    assert found.pop("calcium.nwb") == "not exact"  # ids are drawn anew
    assert set(found.values()) == {"equal"}, found
    assert found.keys() == both[0].keys() - {"calcium.nwb"}
    before = np.frombuffer(client.get(f"/api/v1/jobs/{jobs[0]}/files/traces.f32").content, "<f4")
    again = np.fromfile(tmp_path / "again" / "output" / "traces.f32", "<f4")
    assert np.array_equal(before, again)
