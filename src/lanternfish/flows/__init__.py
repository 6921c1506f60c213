"""Conditional densities on FlowJAX; this room knows nothing of the others."""

from lanternfish.flows.conditional import (
    Architecture,
    ConditionalFlow,
    Scaling,
    blank_scaling,
    build,
    empty,
    robust_scaling,
)

__all__ = [
    "Architecture",
    "ConditionalFlow",
    "Scaling",
    "blank_scaling",
    "build",
    "empty",
    "robust_scaling",
]
