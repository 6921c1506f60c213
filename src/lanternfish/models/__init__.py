"""The zoo: circuit models by name, each with its prior, statistics and measured targets."""

from lanternfish.models.amplifying_rnn import amplifying_rnn
from lanternfish.models.gabor import gabor
from lanternfish.models.gaussian_rnn import gaussian_rnn
from lanternfish.models.hodgkin_huxley import hodgkin_huxley
from lanternfish.models.k_channel import k_channel
from lanternfish.models.linear_2d import linear_2d
from lanternfish.models.ln_filter import ln_filter
from lanternfish.models.stg import stg
from lanternfish.models.stg.behaviour import pyloric
from lanternfish.models.stg.networks import stg_network_levels, stg_networks
from lanternfish.models.stg_neuron import firing, stg_neuron, stg_neuron_levels
from lanternfish.models.stg_subcircuit import stg_subcircuit
from lanternfish.models.superior_colliculus import superior_colliculus
from lanternfish.models.v1 import v1

__all__ = [
    "amplifying_rnn",
    "firing",
    "gabor",
    "gaussian_rnn",
    "hodgkin_huxley",
    "k_channel",
    "linear_2d",
    "ln_filter",
    "pyloric",
    "stg",
    "stg_network_levels",
    "stg_networks",
    "stg_neuron",
    "stg_neuron_levels",
    "stg_subcircuit",
    "superior_colliculus",
    "v1",
]
