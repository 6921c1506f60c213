"""The ledger against its model, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from ledger_machine import Ledger

from lanternfish.service import store

PLAIN = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def run(url, folder, options):
    time = [1_000_000.0]
    opened = store.open(url, folder, clock=lambda: time[0])
    machine = type("Machine", (Ledger,), {"opened": opened, "time": time, "count": 0})
    try:
        run_state_machine_as_test(machine, settings=options)
    finally:
        opened.close()


def test_the_ledger_keeps_to_its_model(url, tmp_path):
    run(url, tmp_path, PLAIN)


@pytest.mark.slow
def test_the_ledger_keeps_to_its_model_for_long(url, tmp_path):
    run(url, tmp_path, settings(PLAIN, max_examples=300, stateful_step_count=60))
