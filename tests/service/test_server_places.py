"""Data that stay in their place: a real S3 server on loopback, and paths; hashed when read."""

import contextlib
import hashlib

import pytest
from server_kit import serving

from lanternfish.service import store as st
from lanternfish.service.server import read_configuration
from lanternfish.service.store import places
from lanternfish.service.worker import Worker, work
from lanternfish.service.worker.replay import ReplayError, replay

pytestmark = pytest.mark.filterwarnings("default")  # of the S3 client's own libraries
LINES = b"one\ntwo\nthree\n"


@pytest.fixture
def s3(bucket):
    """The file system of the S3 server, with a few objects."""
    import s3fs

    system = s3fs.S3FileSystem()
    for name, content in (("shared/lines.txt", LINES), ("secret/keys.txt", b"hidden")):
        system.pipe_file(f"lab/{name}", content)
    return system


@pytest.fixture
def lab(s3, tmp_path):
    with serving(tmp_path / "lab", buckets=("s3://lab/shared/",)) as server:
        user = server.user("mara")
        server.group = st.create_group(server.store, "lab", owner=user).id
        with server.client("mara") as client:
            yield server, client


def point(client, location):
    return client.post("/api/v1/datasets", json={"location": location})


def run(server, client, dataset):
    """A job that counts lines, to its end; its certificate and its log."""
    wanted = {"analysis": "count", "settings": {"to": 2}, "inputs": [{"lines": dataset}]}
    made = client.post("/api/v1/jobs", json=wanted)
    assert made.status_code == 201, made.text
    job = made.json()[0]["id"]
    work(server.store, Worker(once=True))
    log = client.get(f"/api/v1/jobs/{job}/log").text
    assert client.get(f"/api/v1/jobs/{job}").json()["state"] == "succeeded", log
    return job, client.get(f"/api/v1/jobs/{job}/certificate").json(), log


def test_an_object_is_used_in_place_and_hashed_when_it_is_read(lab, s3, tmp_path):
    server, client = lab
    made = point(client, "s3://lab/shared/lines.txt")
    assert made.status_code == 201, made.text
    seen = made.json()
    assert (seen["name"], seen["size"], seen["sha256"]) == ("lines.txt", len(LINES), "")
    job, told, log = run(server, client, seen["id"])
    sha256 = hashlib.sha256(LINES).hexdigest()
    assert (told["inputs"][0]["sha256"], told["inputs"][0]["size"]) == (sha256, len(LINES))
    assert told["inputs"][0]["location"] == "s3://lab/shared/lines.txt"
    assert "3 lines" in log
    assert client.get(f"/api/v1/datasets/{seen['id']}").json()["sha256"] == sha256
    assert not server.store.blobs.exists(sha256)  # never copied into the store
    assert client.get(f"/api/v1/datasets/{seen['id']}/content").status_code == 409

    crate = tmp_path / "crate.zip"
    crate.write_bytes(client.get(f"/api/v1/jobs/{job}/crate").content)
    assert [(o.path, o.verdict) for o in replay(crate, tmp_path / "again")] == [
        ("count.csv", "equal")
    ]
    s3.pipe_file("lab/shared/lines.txt", b"other\n")
    with pytest.raises(ReplayError, match="their content is another"):
        replay(crate, tmp_path / "changed")
    _, told, log = run(server, client, seen["id"])
    assert told["inputs"][0]["sha256"] == hashlib.sha256(b"other\n").hexdigest()
    assert "are not those that a job read first" in log
    s3.rm_file("lab/shared/lines.txt")
    wanted = {"analysis": "count", "settings": {"to": 2}, "inputs": [{"lines": seen["id"]}]}
    lost = client.post("/api/v1/jobs", json=wanted).json()[0]["id"]
    work(server.store, Worker(once=True))
    ended = client.get(f"/api/v1/jobs/{lost}").json()
    assert ended["state"] == "failed"
    assert "s3://lab/shared/lines.txt; they are gone" in ended["reason"]


@pytest.mark.parametrize(
    ("location", "status"),
    [
        ("s3://lab/secret/keys.txt", 403),
        ("s3://lab/shared/../secret/keys.txt", 422),
        ("s3://lab/sharedness/keys.txt", 403),
        ("s3://other/shared/lines.txt", 403),
        ("s3://key:secret@lab/shared/lines.txt", 422),
        ("s3://lab/shared/lines.txt?versionId=1", 422),
        ("s3://lab", 422),
        ("file:///etc/passwd", 422),
        ("http://169.254.169.254/latest/meta-data", 422),
        ("simplecache::s3://lab/shared/lines.txt", 422),
        ("s3://lab/shared/none.txt", 422),
        ("s3://lab/shared", 422),  # a folder
    ],
)
def test_other_places_are_refused(lab, location, status):
    server, client = lab
    answer = point(client, location)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith("Expected ")
    assert st.datasets_of(server.store, server.group) == []


def test_a_personal_server_takes_what_its_owner_can_read(s3, tmp_path):
    with serving(tmp_path / "mine", personal=True) as server, server.client("owner") as client:
        assert point(client, "s3://lab/secret/keys.txt").status_code == 201
        assert "in a bucket" in _page(server)


def _page(server):
    import httpx

    from lanternfish.service.server.serve import start_address

    with httpx.Client(follow_redirects=True) as client:
        client.get(start_address(server.platform))
        return client.get(f"{server.url}/data").text


def test_paths_are_hashed_too_and_links_made_later_are_not_followed(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "lines.txt").write_bytes(LINES)
    with serving(tmp_path / "lab", local_data=(data,)) as server:
        user = server.user("mara")
        st.create_group(server.store, "lab", owner=user)
        with server.client("mara") as client:
            made = point(client, str(data / "lines.txt")).json()["id"]
            _, told, _ = run(server, client, made)
            assert told["inputs"][0]["sha256"] == hashlib.sha256(LINES).hexdigest()
            secret = tmp_path / "secret.txt"
            secret.write_text("hidden")
            (data / "lines.txt").unlink()
            (data / "lines.txt").symlink_to(secret)
            wanted = {"analysis": "count", "settings": {"to": 1}, "inputs": [{"lines": made}]}
            job = client.post("/api/v1/jobs", json=wanted).json()[0]["id"]
            work(server.store, Worker(once=True))
            assert "a link elsewhere" in client.get(f"/api/v1/jobs/{job}").json()["reason"]


def test_the_hash_of_a_folder_is_that_of_the_list_of_its_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"22")
    lines = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in (("a", b"22"), ("b/x", b"1"))
    )
    calls = []
    assert places.content(tmp_path, lambda: calls.append(1)) == (
        hashlib.sha256(lines.encode()).hexdigest(),
        3,
    )
    assert len(calls) == 2


def test_the_file_names_the_buckets(tmp_path):
    file = tmp_path / "lab.toml"
    file.write_text('buckets = ["s3://lab/shared"]\n')
    assert read_configuration(file).buckets == ("s3://lab/shared",)
    with contextlib.suppress(ValueError):
        file.write_text("buckets = 3\n")
        read_configuration(file)
        raise AssertionError("a number is no list of buckets")
