"""Uploads: another's tus client, cuts, two tabs, lies, hostile names, sparse files, quotas."""

import base64
import contextlib
import errno
import hashlib
import io
import os
import random
import shutil
import socket
import subprocess
import time

import httpx
import pytest
from server_kit import PASSWORD, serving, upload
from tusclient import client as tus

from lanternfish.service import store as st
from lanternfish.service.server import tus as protocol
from lanternfish.service.server.growing import Growing

OFFSET = "application/offset+octet-stream"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("uploads"), largest_upload=1 << 30) as running:
        member = running.user("mara")
        running.group = st.create_group(running.store, "lab", owner=member).id
        yield running


@pytest.fixture
def client(server):
    with server.client("mara") as made:
        yield made


def begin(client, size, name="data.bin", **metadata):
    told = {"filename": name, **metadata}
    pairs = [f"{k} {base64.b64encode(v.encode()).decode()}".strip() for k, v in told.items()]
    header = ",".join(pairs)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size), "Upload-Metadata": header}
    return client.post("/api/v1/uploads", headers=headers)


def patch(client, place, offset, data, **headers):
    told = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(offset), "Content-Type": OFFSET}
    return client.patch(place, content=data, headers=told | headers)


def content_of(client, dataset):
    return client.get(f"/api/v1/datasets/{dataset}/content").content


def test_another_client_uploads_in_pieces(server, client):
    data = random.Random(1).randbytes(3_000_001)
    stream = io.BytesIO(data)
    headers = {"Authorization": f"Bearer {server.tokens['mara']}"}
    theirs = tus.TusClient(f"{server.url}/api/v1/uploads", headers=headers)
    uploader = theirs.uploader(
        file_stream=stream, chunk_size=700_000, metadata={"filename": "piece.bin"}
    )
    uploader.upload_chunk()
    assert uploader.offset == 700_000
    again = theirs.uploader(file_stream=stream, chunk_size=10_000_000, url=uploader.url)
    assert again.offset == 700_000  # it asks where to go on
    again.upload()
    seen = client.get(uploader.url).json()
    row = client.get(f"/api/v1/datasets/{seen['dataset']}").json()
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert row["name"] == "piece.bin"
    assert content_of(client, seen["dataset"]) == data


def test_what_the_server_can_do_is_said(client):
    answer = client.options("/api/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) >= {
        "creation",
        "checksum",
        "termination",
    }
    assert answer.headers["Tus-Max-Size"] == str(1 << 30)


def test_random_cuts_lose_only_what_was_not_confirmed(server, client):
    """Connections are cut in the middle of a request; the next goes on at the confirmed offset."""
    dice = random.Random(2)
    data = dice.randbytes(2_000_000)
    place = begin(client, len(data)).headers["Location"]
    cuts = 0
    for _ in range(100):
        offset = int(client.head(place).headers["Upload-Offset"])
        if offset == len(data):
            break
        cut = dice.randrange(1, 300_000)
        _cut(server, place, offset, data[offset : offset + cut], len(data) - offset)
        cuts += 1
        until = time.monotonic() + 5
        while int(client.head(place).headers["Upload-Offset"]) == offset and cut > 0:
            if time.monotonic() > until:
                break
            time.sleep(0.01)
        if cuts == 12:
            confirmed = int(client.head(place).headers["Upload-Offset"])
            assert patch(client, place, confirmed, data[confirmed:]).status_code == 204
    assert cuts >= 5
    assert content_of(client, dataset_of(client, place)) == data


def _cut(server, place, offset, part, promised):
    """Promise more bytes than are sent, then go away."""
    host, port = server.url.removeprefix("http://").split(":")
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: {host}:{port}\r\nTus-Resumable: 1.0.0\r\n"
        f"Authorization: Bearer {server.tokens['mara']}\r\nContent-Type: {OFFSET}\r\n"
        f"Upload-Offset: {offset}\r\nContent-Length: {promised}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode() + part)


def test_great_bodies_are_checked_like_small_ones(client, server):
    """They are received by a thread, past the event loop."""
    data = random.Random(3).randbytes(3_000_000) + bytes(2_000_000)
    right = "sha256 " + base64.b64encode(hashlib.sha256(data).digest()).decode()
    place = begin(client, len(data)).headers["Location"]
    wrong = patch(client, place, 0, data[::-1], **{"Upload-Checksum": right})
    assert wrong.status_code == 460
    assert client.head(place).headers["Upload-Offset"] == "0"
    kept = patch(client, place, 0, data, **{"Upload-Checksum": right})
    assert kept.status_code == 204
    assert kept.headers["Connection"] == "close"  # taken from the event loop
    assert content_of(client, client.get(place).json()["dataset"]) == data
    place = begin(client, len(data) - 1).headers["Location"]
    assert patch(client, place, 0, data).status_code == 400
    assert client.head(place).headers["Upload-Offset"] == "0"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_that_waits_to_be_told_to_go_on(client, server, tmp_path):
    data = random.Random(4).randbytes(2_500_000)
    (tmp_path / "data").write_bytes(data)
    place = begin(client, len(data)).headers["Location"]
    head = {"Tus-Resumable": "1.0.0", "Content-Type": OFFSET, "Upload-Offset": "0"}
    head |= {"Authorization": f"Bearer {server.tokens['mara']}", "Expect": "100-continue"}
    words = [word for name, value in head.items() for word in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "-X", "PATCH", *words, "--data-binary", f"@{tmp_path / 'data'}"]
    told = subprocess.run(
        [*command, "-w", "%{http_code}", server.url + place], capture_output=True, text=True
    )
    assert told.stdout == "204", told
    assert content_of(client, client.get(place).json()["dataset"]) == data


def test_a_server_that_stops_keeps_what_has_come(tmp_path):
    data = random.Random(5).randbytes(4_000_000)
    with serving(tmp_path) as first:
        user = first.user("mara")
        st.create_group(first.store, "lab", owner=user)
        with first.client("mara") as client:
            place = begin(client, len(data)).headers["Location"]
        host, port = first.url.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)))
        head = (
            f"PATCH {place} HTTP/1.1\r\nHost: {host}:{port}\r\nTus-Resumable: 1.0.0\r\n"
            f"Authorization: Bearer {first.tokens['mara']}\r\nContent-Type: {OFFSET}\r\n"
            f"Upload-Offset: 0\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        line.sendall(head.encode() + data[:2_000_000])
        until = time.monotonic() + 10
        while not first.platform.growing.sources and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)  # what was sent has come
    line.close()
    with contextlib.closing(st.open(None, tmp_path)) as store:
        assert st.find_upload(store, place.rsplit("/", 1)[-1]).offset == 2_000_000


def test_two_tabs_do_not_mix(client):
    place = begin(client, 10).headers["Location"]
    assert patch(client, place, 0, b"01234").status_code == 204
    wrong = patch(client, place, 0, b"abcde")
    assert wrong.status_code == 409
    assert wrong.json()["detail"] == "Expected bytes from 5; got bytes from 0."
    assert patch(client, place, 5, b"56789").status_code == 204
    assert content_of(client, client.get(place).json()["dataset"]) == b"0123456789"


def test_a_second_request_while_one_writes_is_told_to_wait(server, client):
    place = begin(client, 10).headers["Location"]
    host, port = server.url.removeprefix("http://").split(":")
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: {host}:{port}\r\nTus-Resumable: 1.0.0\r\n"
        f"Authorization: Bearer {server.tokens['mara']}\r\nContent-Type: {OFFSET}\r\n"
        f"Upload-Offset: 0\r\nContent-Length: 10\r\n\r\n01234"
    )
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode())
        until = time.monotonic() + 5
        while not server.platform.growing.locks and time.monotonic() < until:
            time.sleep(0.01)
        assert patch(client, place, 0, b"abc").status_code == 423
        line.sendall(b"56789")
        assert b" 204 " in line.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("algorithm", protocol.CHECKSUMS)
def test_a_wrong_checksum_takes_nothing(client, algorithm):
    place = begin(client, 6).headers["Location"]
    digest = base64.b64encode(hashlib.new(algorithm, b"abcdef").digest()).decode()
    wrong = patch(client, place, 0, b"abcdeX", **{"Upload-Checksum": f"{algorithm} {digest}"})
    assert wrong.status_code == 460
    assert client.head(place).headers["Upload-Offset"] == "0"
    right = patch(client, place, 0, b"abcdef", **{"Upload-Checksum": f"{algorithm} {digest}"})
    assert right.status_code == 204


def test_a_file_that_is_not_what_was_announced_is_refused(client):
    place = begin(client, 3, sha256="0" * 64).headers["Location"]
    patch(client, place, 0, b"abc")
    answer = client.get(place)
    assert answer.status_code == 404  # dropped, so that it can be sent again


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "5"}, 412),
        ({"Tus-Resumable": "0.2.2", "Upload-Length": "5"}, 412),
        ({"Tus-Resumable": "1.0.0"}, 400),
        ({"Tus-Resumable": "1.0.0", "Upload-Length": "-5"}, 400),
        ({"Tus-Resumable": "1.0.0", "Upload-Length": "1e3"}, 400),
        ({"Tus-Resumable": "1.0.0", "Upload-Length": "٣"}, 400),
        ({"Tus-Resumable": "1.0.0", "Upload-Length": "9" * 30}, 400),
        ({"Tus-Resumable": "1.0.0", "Upload-Length": str(2 << 30)}, 413),
        ({"Tus-Resumable": "1.0.0", "Upload-Defer-Length": "1"}, 400),
        ({"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": "filename !!"}, 400),
    ],
)
def test_lying_or_strange_announcements_are_refused_in_a_sentence(client, headers, status):
    raw = {name: value.encode() for name, value in headers.items()}
    answer = client.post("/api/v1/uploads", headers=raw)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith("Expected")


def test_more_bytes_than_announced_are_refused_and_none_are_kept(client):
    place = begin(client, 4).headers["Location"]
    assert patch(client, place, 0, b"too many bytes").status_code == 400
    assert client.head(place).headers["Upload-Offset"] == "0"


def test_zero_bytes_are_a_file(client):
    place = begin(client, 0, "empty.csv").headers["Location"]
    dataset = client.get(place).json()["dataset"]
    assert client.get(f"/api/v1/datasets/{dataset}").json()["size"] == 0
    assert content_of(client, dataset) == b""


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\windows\\system.ini",
        "<img src=x onerror=alert(1)>.csv",
        "a\r\nSet-Cookie: x=y.csv",
        "\u202egpj.exe",
        "con\x00trol.bin",
        "x" * 400 + ".nwb",
        "...",
        "",
        "Messung ÄÖ – 神経.csv",
        '"quoted";.csv',
    ],
)
def test_hostile_names_stay_text(server, client, name):
    place = begin(client, 3, name).headers["Location"]
    patch(client, place, 0, b"abc")
    row = client.get(f"/api/v1/datasets/{client.get(place).json()['dataset']}").json()
    kept = row["name"]
    assert kept
    assert "/" not in kept
    assert "\\" not in kept
    assert kept.isprintable()
    assert len(kept.encode()) <= protocol.LONGEST_NAME
    header = client.get(f"/api/v1/datasets/{row['id']}/content").headers["Content-Disposition"]
    assert header.startswith("attachment; filename=")
    assert "\n" not in header
    with server.browser("mara") as browser:
        html = browser.get("/data", headers={"Accept": "text/html"}).text
    assert "<img src=x" not in html


def test_an_upload_can_be_given_up(client, server):
    place = begin(client, 1000).headers["Location"]
    patch(client, place, 0, b"abc")
    upload_id = place.rsplit("/", 1)[1]
    assert server.store.blobs.partial(upload_id).exists()
    assert client.delete(place, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
    assert not server.store.blobs.partial(upload_id).exists()
    assert client.head(place).status_code == 404


def test_an_expired_upload_is_gone(client, server):
    place = begin(client, 10).headers["Location"]
    with server.store.write() as tx:
        upload_id = place.rsplit("/", 1)[1]
        uploads = st.tables.uploads
        tx.execute(uploads.update().where(uploads.c.id == upload_id).values(expires=1.0))
    assert client.head(place).status_code == 410
    assert patch(client, place, 0, b"abc").status_code == 410


def test_a_full_quota_stops_uploads_and_nothing_else(client, server):
    dataset = upload(client, "before.csv", b"1,2\n")
    st.change_group(server.store, server.group, storage_quota=1)
    try:
        refused = begin(client, 10)
        assert refused.status_code == 413
        assert "Delete data sets" in refused.json()["detail"]
        assert client.get("/api/v1/datasets").status_code == 200
        assert content_of(client, dataset) == b"1,2\n"
        with server.browser("mara") as browser:
            assert browser.get("/data").status_code == 200
        assert client.delete(f"/api/v1/datasets/{dataset}").status_code == 204
    finally:
        st.change_group(server.store, server.group, storage_quota=None)


@pytest.mark.parametrize("size", [5_000, 3_000_000])  # by the event loop; by a thread
def test_a_full_disk_stops_uploads_and_nothing_else(client, server, monkeypatch, size):
    data = random.Random(6).randbytes(size)
    place = begin(client, size).headers["Location"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Growing, "_put", full)
        try:
            refused = patch(client, place, 0, data)
            assert refused.status_code == 507
            assert "disk is full" in refused.json()["detail"]
        except httpx.TransportError:
            assert size > 1_000_000  # it was told while it still sent
        signed = httpx.post(f"{server.url}/sign-in", data={"name": "mara", "password": PASSWORD})
        assert signed.status_code == 303
        assert client.get("/api/v1/datasets").status_code == 200
        other = begin(client, 10).headers["Location"]
        assert client.delete(other).status_code == 204
        assert client.head(place).headers["Upload-Offset"] == "0"
    assert patch(client, place, 0, data).status_code == 204  # there is room again
    assert content_of(client, dataset_of(client, place)) == data


def dataset_of(client, place):
    """Id of the data set, once the upload has become one; a moment on a slow disk."""
    until = time.monotonic() + 30
    while not (found := client.get(place).json()["dataset"]):
        assert time.monotonic() < until, client.get(place).json()
        time.sleep(0.05)
    return found


def test_sparse_data_stay_sparse_and_hash_right(client, server):
    size = 64 << 20
    place = begin(client, size, "sparse.bin").headers["Location"]

    def pieces():
        yield b"head"
        zeros = bytes(1 << 20)
        for _ in range(63):
            yield zeros
        yield bytes((1 << 20) - 8)
        yield b"tail"

    assert patch(client, place, 0, pieces()).status_code == 204
    dataset = client.get(place).json()["dataset"]
    row = st.find_dataset(server.store, dataset)
    wanted = hashlib.sha256(b"head" + bytes(size - 8) + b"tail").hexdigest()
    assert row.sha256 == wanted
    held = os.stat(server.store.blobs.place(row.sha256))
    assert held.st_size == size
    assert held.st_blocks * 512 < size / 4


def test_a_server_that_lost_its_running_hash_reads_the_file_again(client, server):
    place = begin(client, 8).headers["Location"]
    patch(client, place, 0, b"abcd")
    server.platform.growing.hashes.clear()  # as after a restart
    patch(client, place, 4, b"efgh")
    dataset = client.get(place).json()["dataset"]
    assert st.find_dataset(server.store, dataset).sha256 == hashlib.sha256(b"abcdefgh").hexdigest()


def test_uploads_go_on_after_a_restart(tmp_path):
    with serving(tmp_path) as first:
        user = first.user("nils")
        st.create_group(first.store, "lab", owner=user)
        token = first.tokens["nils"]
        with first.client("nils") as client:
            place = begin(client, 6).headers["Location"]
            patch(client, place, 0, b"abc")
    with serving(tmp_path) as second:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=second.url, headers=headers) as client:
            assert client.head(place).headers["Upload-Offset"] == "3"
            patch(client, place, 3, b"def")
            assert content_of(client, client.get(place).json()["dataset"]) == b"abcdef"
