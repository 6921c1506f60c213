"""Conditional densities on FlowJAX; this room knows nothing of the others."""

from lanternfish.flows.condition import (
    Condition,
    Part,
    Scaling,
    blank_scaling,
    robust_scaling,
)
from lanternfish.flows.conditional import Architecture, ConditionalFlow, build, empty
from lanternfish.flows.ensemble import Ensemble, empty_ensemble

__all__ = [
    "Architecture",
    "Condition",
    "ConditionalFlow",
    "Ensemble",
    "Part",
    "Scaling",
    "blank_scaling",
    "build",
    "empty",
    "empty_ensemble",
    "robust_scaling",
]
