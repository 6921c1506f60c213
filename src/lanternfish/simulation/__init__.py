"""Run a model over parameters: shards, seeds, failures, any ``concurrent.futures`` executor.

Names are loaded on first use: a worker imports only what runs its tasks, and no JAX.
"""

from typing import TYPE_CHECKING

from lanternfish.lazy import loader

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

__getattr__ = loader(__name__, _HOMES)
