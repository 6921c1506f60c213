"""Conditional densities on FlowJAX; this room knows nothing of the others."""

from lanternfish.flows.condition import (
    Condition,
    Part,
    Scaling,
    blank_scaling,
    robust_scaling,
)
from lanternfish.flows.conditional import Architecture, ConditionalFlow, build, empty

__all__ = [
    "Architecture",
    "Condition",
    "ConditionalFlow",
    "Part",
    "Scaling",
    "blank_scaling",
    "build",
    "empty",
    "robust_scaling",
]
