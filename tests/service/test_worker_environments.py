"""Environments from a lock: built once, with every hash checked, by uv or by venv and pip."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lanternfish.service.analyses import find_manifest
from lanternfish.service.worker import environments
from lanternfish.service.worker.environments import EnvironmentBuildError, python_for

NEEDED = (
    "annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection",
)  # fmt: skip


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
    with pytest.raises(EnvironmentBuildError, match=r"(?i)hash"):
        python_for(with_lock(lock), tmp_path, lambda text: None)
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
    (listed,) = environments.kept(tmp_path)
    assert listed["analyses"] == sorted((first.name, second.name))
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as busy:
        with pytest.raises(ValueError, match=f"process {busy.pid} runs"):
            environments.remove(tmp_path, listed["key"])
        busy.communicate(b"\n")
    assert environments.remove(tmp_path, listed["key"]) == listed["bytes"] > 0
    assert environments.kept(tmp_path) == []
    with pytest.raises(ValueError, match="Expected an environment that is built"):
        environments.remove(tmp_path, listed["key"])


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
        ("something else", "could not be built: something else"),
    ],
)
def test_a_failed_build_says_what_to_do(text, match):
    assert match in environments._why(text)
