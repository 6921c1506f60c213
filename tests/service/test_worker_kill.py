"""A small kill test; `benchmarks/platform/kill.py` does 1,500 jobs, and crashes PostgreSQL."""

from __future__ import annotations

import pytest

from kill import trial


def test_killed_workers_and_children_lose_nothing(tmp_path):
    found = trial(None, tmp_path, jobs=8, workers=2, seed=1, every=2.0, patience=240)
    assert found["attempts"] >= 8


@pytest.mark.slow
def test_killed_workers_children_and_databases_lose_nothing(tmp_path, cluster):
    with cluster.database() as url:
        found = trial(url, tmp_path, jobs=150, workers=3, cluster=cluster, patience=1_800)
    assert found["attempts"] > 150
