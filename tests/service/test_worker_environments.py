"""Environments from a lock: built once, with every hash checked, by uv or by venv and pip."""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

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


def test_a_wrong_hash_is_refused_and_leaves_nothing(tmp_path):
    lock = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock_of("annotated-types"))
    with pytest.raises(EnvironmentBuildError, match=r"(?i)hash"):
        python_for(with_lock(lock), tmp_path, lambda text: None)
    assert not (tmp_path / ("a" * 32)).exists()
