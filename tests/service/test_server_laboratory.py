"""`lanternfish serve --config lab.toml`, with PostgreSQL and S3: a whole job, over restarts."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest
from server_kit import SOURCE, TOYS, ended, events, free_port

from lanternfish.service import store as st
from lanternfish.service.worker.sandbox import available

PATIENCE = 120.0  # s
WHY_NOT = available()


@contextlib.contextmanager
def served(file):
    """The server of a configuration file, as an administrator starts it: (address, process)."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, TOYS])}
    command = [sys.executable, "-m", "lanternfish.cli", "serve", "--no-browser", "--config"]
    with open(file.with_suffix(".log"), "a") as log:
        child = subprocess.Popen(
            [*command, str(file)], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        line = child.stdout.readline()
        found = re.search(r"http\S+", line)
        assert found, line + file.with_suffix(".log").read_text()
        yield found.group(0), child
    finally:
        child.terminate()
        child.wait(60)
        child.stdout.close()


@pytest.fixture
def laboratory(database, bucket, tmp_path):
    """A configuration, a store on it, and a member's token; workers end with the test."""
    file = tmp_path / "lab.toml"
    file.write_text(
        f'folder = "{tmp_path / "data"}"\nport = {free_port()}\nworkers = 1\n'
        f'database = "{database}"\nblobs = "{bucket}"\n'
    )
    store = st.open(database, tmp_path / "data", blobs=bucket)
    user = st.create_user(store, "mara")
    st.create_group(store, "lab", owner=user.id)
    token, _ = st.create_token(store, user.id, "tests")
    yield file, store, token
    for worker in st.list_workers(store):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(worker.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    store.close()


def counted(found):
    """What the job has counted, as its stream tells it."""
    return [data["data"]["value"] for name, data, _ in found if name == "metric"]


def until(look, *, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


@pytest.mark.skipif(bool(WHY_NOT), reason=f"no sandbox here: {WHY_NOT}")
@pytest.mark.filterwarnings("default")  # of the S3 client's own libraries
def test_a_whole_job_on_postgresql_and_s3_over_restarts(laboratory, tmp_path):
    file, store, token = laboratory
    headers = {"Authorization": f"Bearer {token}"}
    data = b"".join(b"%d\n" % i for i in range(250_000))
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}

    with served(file) as (url, _), httpx.Client(base_url=url, headers=headers) as client:
        place = client.post(
            "/api/v1/uploads",
            headers=tus | {"Upload-Length": str(len(data)), "Upload-Metadata": "filename eC50eHQ="},
        ).headers["Location"]
        client.patch(place, content=data[:700_000], headers=tus | {"Upload-Offset": "0"})

    with (  # stopped between two requests; the rest is sent to the next server
        served(file) as (url, server),
        httpx.Client(base_url=url, headers=headers, timeout=60) as client,
    ):
        assert client.head(place).headers["Upload-Offset"] == "700000"
        client.patch(place, content=data[700_000:], headers=tus | {"Upload-Offset": "700000"})
        dataset = until(lambda: client.get(place).json()["dataset"])
        assert client.get(f"/api/v1/datasets/{dataset}/content").content == data
        wanted = {"analysis": "count", "settings": {"to": 40, "pause": 0.2}, "seed": 3}
        answer = client.post("/api/v1/jobs", json=wanted | {"inputs": [{"lines": dataset}]})
        assert answer.status_code == 201, answer.text
        job = answer.json()[0]["id"]
        seen = events(client, job, stop=lambda found: len(counted(found)) == 5)
        server.kill()  # while its worker works, in the middle of the stream
        server.wait()

    with (
        served(file) as (url, _),
        httpx.Client(base_url=url, headers=headers, timeout=60) as client,
    ):
        rest = events(client, job, seen[-1][2])
        assert counted(seen + rest) == list(range(1, 41))  # no gap, no repeat
        seen = ended(client, job, PATIENCE)
        assert (seen["state"], seen["attempts"]) == ("succeeded", 1)  # the worker went on
        result = client.get(f"/api/v1/jobs/{job}/files/count.csv").text
        assert result == "numbers,lines,sum\n40,250000,823\n"
        told = client.get(f"/api/v1/jobs/{job}/certificate").json()
        assert told["inputs"][0]["sha256"] == hashlib.sha256(data).hexdigest()
        sha256 = hashlib.sha256(result.encode()).hexdigest()
        assert [each["sha256"] for each in told["outputs"]] == [sha256]
    assert store.blobs.remote is not None
    assert {told["inputs"][0]["sha256"], sha256} <= set(store.blobs.all())
    assert not list((tmp_path / "data").rglob("lanternfish.sqlite"))
