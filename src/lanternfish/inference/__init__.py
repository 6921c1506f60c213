"""``infer`` and its methods: from simulations to a posterior."""

from lanternfish.inference.npe import NPE
from lanternfish.inference.study import infer
from lanternfish.inference.training import Training

__all__ = ["NPE", "Training", "infer"]
