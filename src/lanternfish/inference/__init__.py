"""``infer`` and its methods: from simulations to a posterior. A method is loaded on first use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanternfish.inference.epi import EPI
    from lanternfish.inference.nle import NLE
    from lanternfish.inference.npe import NPE
    from lanternfish.inference.rejection import Rejection
    from lanternfish.inference.smc import SMC
    from lanternfish.inference.study import infer
    from lanternfish.inference.sweep import Sweep
    from lanternfish.inference.tolerance import tolerant
    from lanternfish.inference.training import Training

_HOMES = {
    "EPI": "epi",
    "NLE": "nle",
    "NPE": "npe",
    "Rejection": "rejection",
    "SMC": "smc",
    "Sweep": "sweep",
    "Training": "training",
    "infer": "study",
    "tolerant": "tolerance",
}

__all__ = ["EPI", "NLE", "NPE", "SMC", "Rejection", "Sweep", "Training", "infer", "tolerant"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lanternfish.inference' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lanternfish.inference.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
