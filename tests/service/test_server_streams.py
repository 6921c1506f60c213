"""Streams: what is written arrives in order, once, also after cuts; many watchers cost little."""

import itertools
import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as s
from server_kit import events, serving

from lanternfish.service import store as st
from lanternfish.service.server import hub
from lanternfish.service.server.hub import Position, decoded, job_news


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("streams")) as running:
        user = running.user("mara")
        running.group = st.create_group(running.store, "lab", owner=user).id
        running.user_id = user
        yield running


@pytest.fixture
def job(server):
    """A job that this test's process works on: (id, token)."""
    sub = st.Submission(server.group, server.user_id, "count", "1.0", {})
    made = st.submit(server.store, sub)
    while True:
        claimed = st.claim(server.store, "a worker of the tests")
        assert claimed is not None
        if claimed.id == made.id:
            return claimed.id, claimed.token


def text_of(found):
    return "".join(data["text"] for name, data, _ in found if name == "log")


def finish(server, job, token):
    st.finish(server.store, job, token, st.Outcome("succeeded"))


def test_events_and_log_arrive_in_order_and_end(server, job):
    job, token = job

    def work():
        for i in range(40):
            st.append_log(server.store, job, token, f"line {i} – ü\n".encode())
            st.append_event(server.store, job, token, "metric", {"name": "loss", "value": i})
        finish(server, job, token)

    with server.client("mara") as client:
        worker = threading.Thread(target=work)
        worker.start()
        found = events(client, job)
        worker.join()
    assert text_of(found) == "".join(f"line {i} – ü\n" for i in range(40))
    metrics = [data["data"]["value"] for name, data, _ in found if name == "metric"]
    assert metrics == list(range(40))
    assert found[-1][0] == "end"
    assert found[-1][1] == {"state": "succeeded"}
    ids = [Position.parse(place) for _, _, place in found]
    assert all(a.event <= b.event and a.offset <= b.offset for a, b in itertools.pairwise(ids))


def test_cuts_anywhere_leave_no_gap_and_no_repeat(server, job):
    job, token = job
    done = threading.Event()

    def work():
        for i in range(60):
            st.append_log(server.store, job, token, f"{i:04d}\n".encode())
            st.append_event(server.store, job, token, "metric", {"name": "n", "value": i})
            time.sleep(0.005)
        finish(server, job, token)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    found, after, cuts = [], "", 0
    with server.client("mara") as client:
        while not found or found[-1][0] != "end":
            part = events(client, job, after, stop=lambda seen: len(seen) == 5)
            found += part
            after, cuts = part[-1][2], cuts + 1
    worker.join()
    assert cuts > 5
    assert text_of(found) == "".join(f"{i:04d}\n" for i in range(60))
    assert [d["data"]["value"] for n, d, _ in found if n == "metric"] == list(range(60))


def test_a_restart_of_the_server_is_invisible(tmp_path):
    with serving(tmp_path) as first:
        user = first.user("nils")
        group = st.create_group(first.store, "lab", owner=user).id
        job = st.submit(first.store, st.Submission(group, user, "count", "1.0", {})).id
        token = st.claim(first.store, "w").token
        st.append_log(first.store, job, token, b"before\n")
        with first.client("nils") as client:
            seen = events(client, job, stop=lambda found: text_of(found) == "before\n")
        tokens = first.tokens
    with serving(tmp_path) as second:
        second.tokens = tokens
        st.append_log(second.store, job, token, b"after\n")
        st.finish(second.store, job, token, st.Outcome("succeeded"))
        with second.client("nils") as client:
            rest = events(client, job, seen[-1][2])
    assert text_of(seen + rest) == "before\nafter\n"
    assert [n for n, _, _ in rest].count("end") == 1


def test_who_comes_after_the_end_is_told_so(server, job):
    job, token = job
    finish(server, job, token)
    with server.client("mara") as client:
        whole = events(client, job)
        again = events(client, job, whole[-1][2])
    assert [name for name, _, _ in again] == ["end"]


def test_a_log_of_many_short_writes_is_whole_before_the_end(server, job):
    job, token = job
    lines = [f"{i}\n" for i in range(600)]
    for line in lines:
        st.append_log(server.store, job, token, line.encode())
    finish(server, job, token)
    assert st.log_from(server.store, job)[0].decode() == "".join(lines)
    with server.client("mara") as client:
        assert text_of(events(client, job)) == "".join(lines)


def test_several_watchers_of_one_job_see_the_same(server, job):
    job, token = job
    results = []

    def watch():
        with server.client("mara") as client:
            results.append(events(client, job))

    watchers = [threading.Thread(target=watch) for _ in range(8)]
    for i, watcher in enumerate(watchers):
        watcher.start()
        st.append_log(server.store, job, token, f"{i}\n".encode())
        time.sleep(0.05)
    finish(server, job, token)
    for watcher in watchers:
        watcher.join(20)
    assert len(results) == 8
    assert {text_of(found) for found in results} == {"".join(f"{i}\n" for i in range(8))}
    until = time.monotonic() + 5
    while server.platform.hub.watching and time.monotonic() < until:
        time.sleep(0.05)
    assert server.platform.hub.watching == 0
    assert not server.platform.hub.topics


def test_what_a_busy_job_writes_is_read_once_for_all_who_watch(server, job, monkeypatch):
    job, token = job
    watchers, lines, reads, seen = 12, 60, [], []

    def slow(*about):  # when a read is done, the next line is there already
        reads.append(about)
        time.sleep(0.03)
        return job_news(*about)

    monkeypatch.setattr(hub, "job_news", slow)
    st.append_log(server.store, job, token, b"before\n")
    with server.client("mara") as client:
        crew = [
            threading.Thread(target=lambda: seen.append(text_of(events(client, job))))
            for _ in range(watchers)
        ]
        for each in crew:
            each.start()
        for i in range(lines):
            st.append_log(server.store, job, token, f"line {i}\n".encode())
            time.sleep(0.02)
        finish(server, job, token)
        for each in crew:
            each.join()
    assert seen == ["before\n" + "".join(f"line {i}\n" for i in range(lines))] * watchers
    assert len(reads) < lines + 5 * watchers  # and not a read for each line and watcher


def test_several_who_come_after_the_end_see_a_long_log_whole(server, job):
    job, token = job
    log = b"".join(b"line %d\n" % i for i in range(60_000))  # some pieces of news
    for at in range(0, len(log), 50_000):
        st.append_log(server.store, job, token, log[at : at + 50_000])
    finish(server, job, token)
    seen = []
    with server.client("mara") as client:
        crew = [
            threading.Thread(target=lambda: seen.append(text_of(events(client, job))))
            for _ in range(4)
        ]
        for each in crew:
            each.start()
        for each in crew:
            each.join()
    assert [len(text) for text in seen] == [len(log)] * 4
    assert set(seen) == {log.decode()}


def test_a_group_is_told_that_a_job_changed(server):
    found = []

    def watch():
        with server.client("mara") as client:
            path = f"/api/v1/groups/{server.group}/stream"
            with client.stream("GET", path) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        found.append(json.loads(line[6:]))
                        return

    watcher = threading.Thread(target=watch)
    watcher.start()
    until = time.monotonic() + 5
    while not server.platform.hub.watching and time.monotonic() < until:
        time.sleep(0.02)
    made = st.submit(server.store, st.Submission(server.group, server.user_id, "count", "1.0", {}))
    watcher.join(10)
    st.cancel(server.store, made.id, "the test")
    assert found == [{"jobs": [made.id]}]


@given(s.text(), s.integers(0, 200))
def test_characters_that_are_cut_in_two_wait_for_their_rest(text, cut):
    data = text.encode("utf-8", "surrogatepass")
    text = data.decode("utf-8", "replace")
    data = text.encode()
    first, used = decoded(data[:cut], whole=False)
    second, _ = decoded(data[used:], whole=True)
    assert first + second == text
    assert cut - used < 4 or used == len(data)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.2.3", "9" * 40, "1.-2", "٣.1", None])
def test_a_forged_position_is_the_beginning(text):
    assert Position.parse(text) == Position()
