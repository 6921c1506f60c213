"""Run a model over parameters: shards, seeds, failures, any ``concurrent.futures`` executor.

Names are loaded on first use: a worker imports only what runs its tasks, and no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanternfish.simulation.outcome import SimulationError
    from lanternfish.simulation.progress import Progress
    from lanternfish.simulation.running import campaign, simulate
    from lanternfish.simulation.store import SimulationStore, open_store

__all__ = ["Progress", "SimulationError", "SimulationStore", "campaign", "open_store", "simulate"]

_HOMES = {
    "Progress": "progress",
    "SimulationError": "outcome",
    "SimulationStore": "store",
    "campaign": "running",
    "open_store": "store",
    "simulate": "running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lanternfish.simulation' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
