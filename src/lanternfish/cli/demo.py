"""The demonstration: the crab's pyloric circuit, from measured statistics to 31 parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanternfish.cli.study_file import Study

MODEL, TARGET = "stg", "prep_845_082"
DEMO = {
    "name": "NLE", "simulations": 42_000, "rounds": 7, "first_round": 0.7, "density": "maf",
}  # fmt: skip
OPTIONS = {"statistics": 15}  # without plateaus: the crab shows none, and most circuits neither
OUT = Path("runs/crab")


def demo_study(simulations: int, rounds: int, seed: int) -> Study:
    """The study of the demonstration."""
    from lanternfish.cli.study_file import study_of

    method = {**DEMO, "simulations": simulations, "rounds": rounds}
    values = {
        "model": MODEL,
        "model_options": OPTIONS,
        "target": TARGET,
        "method": method,
        "seed": seed,
    }
    return study_of(values, Path.cwd(), "demo")
