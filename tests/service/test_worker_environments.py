"""Environments from a lock: built once, with every hash checked, by uv or by venv and pip."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from test_worker_jobs import asked, at_work, until

from lanternfish.service import store
from lanternfish.service.analyses import built, find_manifest
from lanternfish.service.jobs import State
from lanternfish.service.worker import attempt, environments
from lanternfish.service.worker.environments import EnvironmentBuildError, python_for

NEEDED = (
    "annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection",
)  # fmt: skip


SLEEP = "import time; time.sleep(61)"


def lock_of(*packages):
    """Those packages of the project's own list, with their hashes."""
    text = (Path(__file__).parents[2] / "requirements" / "dev.txt").read_text()
    blocks = re.findall(r"^[a-zA-Z0-9].*(?:\n +.*)*", text, re.M)
    return "\n".join(b for b in blocks if b.split("==")[0] in packages) + "\n"


def with_lock(lock, sha256="a" * 64):
    found = find_manifest("count")
    return replace(found, environment={"python": None, "lock": lock, "lock_sha256": sha256})


@pytest.mark.parametrize("builder", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_an_environment_is_built_once_and_runs_the_analysis(tmp_path, monkeypatch, builder):
    if builder == "pip":
        monkeypatch.setattr(environments, "_uv", lambda: None)
    manifest, said, found = with_lock(lock_of(*NEEDED)), [], []
    threads = [
        threading.Thread(target=lambda: found.append(python_for(manifest, tmp_path, said.append)))
        for _ in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    python, variables = found[0]
    assert found[1] == found[0]
    assert sum("Building" in text for text in said) == 1
    look = "import lanternfish.service.analyses as a, sys; print(a.load('count').name, sys.prefix)"
    done = subprocess.run(
        [python, "-c", look], env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[0] == "count", done.stderr
    assert Path(done.stdout.split()[1]).resolve() == (tmp_path / ("a" * 32)).resolve()
    other = "import numpy"  # not in the lock
    assert subprocess.run([python, "-c", other], env=variables, check=False).returncode != 0
    _moved(monkeypatch, tmp_path / "moved" / "lanternfish")
    _, after = python_for(manifest, tmp_path, said.append)
    link = Path(after["PYTHONPATH"]) / "lanternfish"
    assert link.resolve() == (tmp_path / "moved" / "lanternfish").resolve()
    assert (Path(variables["PYTHONPATH"]) / "lanternfish").resolve() != link.resolve()


def _moved(monkeypatch, place):
    """As if lanternfish had been installed elsewhere since the environment was built."""
    place.mkdir(parents=True)
    (place / "__init__.py").touch()
    real, found = importlib.util.find_spec, SimpleNamespace(origin=str(place / "__init__.py"))
    look = lambda name, *more: found if name == "lanternfish" else real(name, *more)  # noqa: E731
    monkeypatch.setattr(environments.importlib.util, "find_spec", look)


def test_a_wrong_hash_is_refused_and_leaves_nothing(tmp_path):
    lock = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock_of("annotated-types"))
    said = []
    with pytest.raises(EnvironmentBuildError, match=r"another hash than the lock") as caught:
        python_for(with_lock(lock), tmp_path, said.append)
    assert "\n" not in str(caught.value)
    assert any("The installer said" in line and "hash" in line.lower() for line in said)
    assert not (tmp_path / ("a" * 32)).exists()


def test_two_analyses_share_an_environment_that_can_be_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "TICK", 0.05)
    first, said = with_lock(lock_of(*NEEDED)), []
    first.environment.update(gigabytes=0.02, minutes=0.5)
    python, one = python_for(first, tmp_path, said.append)
    second = replace(first, name=next(n for n in environments.entries() if n != first.name))
    again, two = python_for(second, tmp_path, said.append)
    assert again == python
    assert sum("Building" in text for text in said) == 1
    assert "about 0.02 GB on disk and 0.5 minutes" in said[0]
    assert any("Still building" in text for text in said)
    for manifest, variables in ((first, one), (second, two)):
        look = f"import lanternfish.service.analyses.registry as r; r.entries()[{manifest.name!r}]"
        assert subprocess.run([python, "-c", look], env=variables, check=False).returncode == 0
    (listed,) = built.kept(tmp_path)
    assert listed["analyses"] == sorted((first.name, second.name))
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as busy:
        with pytest.raises(ValueError, match=f"process {busy.pid} runs"):
            built.remove(tmp_path, listed["key"])
        busy.communicate(b"\n")
    assert built.remove(tmp_path, listed["key"]) == listed["bytes"] > 0
    assert built.kept(tmp_path) == []
    with pytest.raises(ValueError, match="Expected an environment that is built"):
        built.remove(tmp_path, listed["key"])


def test_too_little_room_is_said_before_the_build(tmp_path):
    manifest = with_lock(lock_of(*NEEDED))
    manifest.environment["gigabytes"] = 1e9
    with pytest.raises(EnvironmentBuildError, match=r"GB free .* free space, or remove"):
        python_for(manifest, tmp_path, lambda text: None)
    assert not (tmp_path / ("a" * 32)).exists()


def test_where_packages_are_is_handed_to_uv():
    found = environments._variables({"PIP_FIND_LINKS": "/one /two", "PIP_INDEX_URL": "i"})
    assert (found["UV_FIND_LINKS"], found["UV_DEFAULT_INDEX"]) == ("/one,/two", "i")
    kept = environments._variables({"PIP_FIND_LINKS": "/one", "UV_FIND_LINKS": "/mine"})
    assert kept["UV_FIND_LINKS"] == "/mine"
    assert "UV_DEFAULT_INDEX" not in kept


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("error: Failed to fetch: `x` dns error", "check the network"),
        ("OSError: No space left on device", "the disk is full"),
        ("Hash mismatch for x", "another hash than the lock"),
        ("because x==1 was not found in the package registry", "name the index that has it"),
        ("first\nsomething else", "at last: something else."),
    ],
)
def test_a_failed_build_says_what_to_do(text, match):
    assert match in environments._why(text)


@pytest.fixture
def slow(monkeypatch):
    """An environment that takes a minute to build, by a process that starts another."""
    found = with_lock(lock_of(*NEEDED), "c" * 64)
    found.environment.update(gigabytes=0.02, minutes=1)
    sleep = f"import subprocess as s, sys; s.run([sys.executable, '-c', '{SLEEP}'])"
    monkeypatch.setattr(
        environments, "_commands", lambda place, *_: [[sys.executable, "-c", sleep]]
    )
    monkeypatch.setattr(attempt, "find_manifest", lambda name: found)
    return found


def sleeping():
    """Processes that sleep as the slow build does."""
    return [
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if SLEEP in (each.info["cmdline"] or ())
    ]


def test_a_build_keeps_the_lease_and_ends_when_the_job_is_cancelled(lab, slow):
    db, group, user = lab
    jobs = [store.submit(db, asked(group, user)).id for _ in range(2)]
    with at_work(db, lease=1.5), at_work(db, lease=1.5):
        until(lambda: sleeping())
        until(lambda: store.find_job(db, jobs[1]).state == State.RUNNING)
        time.sleep(3)  # twice the lease: the one builds, the other waits for it
        rows = [store.find_job(db, job) for job in jobs]
        assert [(row.state, row.attempts) for row in rows] == [(State.RUNNING, 1)] * 2
        builds = lambda job: b"Building" in store.log_from(db, job)[0]  # noqa: E731
        for job in sorted(jobs, key=builds):  # first the one that waits, which would build it next
            began = time.monotonic()
            store.cancel(db, job, "somebody")
            until(lambda job=job: store.find_job(db, job).state == State.CANCELLED)
            assert time.monotonic() - began < 10
    assert sleeping() == []
    kept = db.folder / built.FOLDER
    assert [each.name for each in kept.iterdir() if each.suffix != ".lock"] == []
    logs = [store.log_from(db, job)[0].decode() for job in jobs]
    assert sum("about 0.02 GB on disk and 1 minute." in log for log in logs) == 1


def test_a_failed_build_is_one_sentence_of_the_job(lab, monkeypatch):
    db, group, user = lab
    lock = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock_of("annotated-types"))
    monkeypatch.setattr(attempt, "find_manifest", lambda name: with_lock(lock, "d" * 64))
    job = store.submit(db, asked(group, user)).id
    with at_work(db):
        until(lambda: store.find_job(db, job).state == State.FAILED)
    reason = store.find_job(db, job).reason
    assert reason == (
        "The environment could not be built: a package has another hash than the lock names; "
        "nothing was installed: check the index that the worker uses."
    )
    assert "The installer said" in store.log_from(db, job)[0].decode()
