"""``infer`` and its methods: from simulations to a posterior."""

from lanternfish.inference.nle import NLE
from lanternfish.inference.npe import NPE
from lanternfish.inference.study import infer
from lanternfish.inference.training import Training

__all__ = ["NLE", "NPE", "Training", "infer"]
