"""The zoo: circuit models by name, each with its prior, statistics and measured targets."""

from lanternfish.models.hodgkin_huxley import hodgkin_huxley
from lanternfish.models.linear_2d import linear_2d
from lanternfish.models.stg import stg

__all__ = ["hodgkin_huxley", "linear_2d", "stg"]
