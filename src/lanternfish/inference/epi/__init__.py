"""Emergent property inference: see ``method`` for the idea, and for who does what."""

from lanternfish.inference.epi.convergence import Tolerance
from lanternfish.inference.epi.method import EPI
from lanternfish.inference.epi.posterior import EPIPosterior
from lanternfish.inference.epi.span import Span
from lanternfish.inference.epi.training import Loop

__all__ = ["EPI", "EPIPosterior", "Loop", "Span", "Tolerance"]
