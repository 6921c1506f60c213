"""A budget in minutes, turned into simulations: a pilot times the model, a rule the learning.

    simulations = (60 minutes - set-up) / (seconds a simulation + seconds to learn from it)

Learning from a simulation takes about 6 ms on one core where all rounds are one (three flows, fifty
epochs); with R rounds a simulation is learned from (R + 1) / 2 times on average. The decision is
kept in the study's folder, so that going on after an interruption spends the same budget.
"""

from __future__ import annotations

import time

from lanternfish.inference.rounds import Study
from lanternfish.simulation import simulate

_FILE = "budget.json"
_SET_UP = 40.0  # s to compile, to choose a density and to draw samples
_LEARNING = 6e-3  # s for each simulation and round that learns from it
_PILOT = 0.02  # share of the time that the pilot may take at the end
_FIRST, _MOST = 8, 8_192  # simulations of a pilot


def affordable(study: Study, minutes: float, rounds: int) -> int:
    """Simulations that can be made and learned from in so many minutes.

    Raises:
        ValueError: if they are fewer than ten a round.
    """
    folder = study.folder
    if folder is not None and folder.exists(_FILE):
        return int(folder.read_json(_FILE)["simulations"])
    each = _seconds_each(study, minutes)
    left = max(60 * minutes - _SET_UP, 0.0)
    simulations = int(left / (each + _LEARNING * (rounds + 1) / 2))
    if simulations < 10 * rounds:
        needed = (_SET_UP + 10 * rounds * (each + _LEARNING * (rounds + 1) / 2)) / 60
        raise ValueError(
            f"Expected minutes for at least 10 simulations in each of {rounds} rounds, about "
            f"{needed:.2g} at {each:.2g} s a simulation; got {minutes:g}: give more minutes, or "
            "fewer rounds."
        )
    if folder is not None:
        folder.write_json(_FILE, {"simulations": simulations, "seconds_a_simulation": each})
    return simulations


def _seconds_each(study: Study, minutes: float) -> float:
    """Wall seconds a simulation of the prior, from pilots of growing size after one to compile."""
    n = _FIRST
    _timed(study, n)
    while (took := _timed(study, n)) < _PILOT * 60 * minutes and n < _MOST:
        n *= 4
    return took / n


def _timed(study: Study, n: int) -> float:
    start = time.monotonic()
    simulate(study.model, n, seed=study.seed, executor=study.executor, progress=False)
    return time.monotonic() - start
