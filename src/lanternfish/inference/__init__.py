"""``infer`` and its methods: from simulations to a posterior."""

from lanternfish.inference.epi import EPI
from lanternfish.inference.nle import NLE
from lanternfish.inference.npe import NPE
from lanternfish.inference.rejection import Rejection
from lanternfish.inference.smc import SMC
from lanternfish.inference.study import infer
from lanternfish.inference.sweep import Sweep
from lanternfish.inference.tolerance import tolerant
from lanternfish.inference.training import Training

__all__ = ["EPI", "NLE", "NPE", "SMC", "Rejection", "Sweep", "Training", "infer", "tolerant"]
