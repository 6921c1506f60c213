"""The demonstration: the crab's pyloric circuit, from measured statistics to 31 parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanternfish.cli.study_file import Study

MODEL, TARGET = "stg", "prep_845_082"
DEMO = {"name": "NLE", "simulations": 42_000, "density": "maf"}
FIRST_ROUND = 0.7, 30_000  # share of the budget, and simulations, at most: 1 % of them are valid
ROUNDS, MANY_ROUNDS, LARGE = 7, 12, 100_000  # by budget
OPTIONS = {"statistics": 15}  # without plateaus: the crab shows none, and most circuits neither
OUT = Path("runs/crab")


def rounds_of(simulations: int) -> int:
    """Rounds that a budget is best spent in."""
    return ROUNDS if simulations < LARGE else MANY_ROUNDS


def demo_study(simulations: int, rounds: int, seed: int) -> Study:
    """The study of the demonstration."""
    from lanternfish.cli.study_file import study_of

    share, most = FIRST_ROUND
    first = min(share, most / simulations)
    method = {**DEMO, "simulations": simulations, "rounds": rounds, "first_round": first}
    values = {
        "model": MODEL,
        "model_options": OPTIONS,
        "target": TARGET,
        "method": method,
        "seed": seed,
    }
    return study_of(values, Path.cwd(), "demo")
