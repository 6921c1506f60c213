"""``infer`` and its methods: from simulations to a posterior. A method is loaded on first use."""

from typing import TYPE_CHECKING

from lanternfish.lazy import loader

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

__getattr__ = loader(__name__, _HOMES)
