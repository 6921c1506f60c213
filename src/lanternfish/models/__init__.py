"""The zoo: circuit models by name, each with its prior, statistics and measured targets."""

from lanternfish.models.amplifying_rnn import amplifying_rnn
from lanternfish.models.gaussian_rnn import gaussian_rnn
from lanternfish.models.hodgkin_huxley import hodgkin_huxley
from lanternfish.models.linear_2d import linear_2d
from lanternfish.models.ln_filter import ln_filter
from lanternfish.models.stg import stg
from lanternfish.models.stg.behaviour import pyloric
from lanternfish.models.stg_subcircuit import stg_subcircuit
from lanternfish.models.superior_colliculus import superior_colliculus
from lanternfish.models.v1 import v1

__all__ = [
    "amplifying_rnn",
    "gaussian_rnn",
    "hodgkin_huxley",
    "linear_2d",
    "ln_filter",
    "pyloric",
    "stg",
    "stg_subcircuit",
    "superior_colliculus",
    "v1",
]
