"""Conditional densities on FlowJAX; this room knows nothing of the others."""

from lanternfish.flows.conditional import Architecture, ConditionalFlow, build, empty

__all__ = ["Architecture", "ConditionalFlow", "build", "empty"]
