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
from lanternfish.flows.exponential import ExponentialFamily, empty_exponential
from lanternfish.flows.networks import plain, seen
from lanternfish.flows.pushforward import (
    Push,
    Pushforward,
    Steered,
    log_length,
    push_for,
    pushforward,
    standard_normal,
)

__all__ = [
    "Architecture",
    "Condition",
    "ConditionalFlow",
    "Ensemble",
    "ExponentialFamily",
    "Part",
    "Push",
    "Pushforward",
    "Scaling",
    "Steered",
    "blank_scaling",
    "build",
    "empty",
    "empty_ensemble",
    "empty_exponential",
    "log_length",
    "plain",
    "push_for",
    "pushforward",
    "robust_scaling",
    "seen",
    "standard_normal",
]
