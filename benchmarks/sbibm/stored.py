"""What sbibm publishes: observations, reference posteriors and C2ST, read from stored files.

The folder ``sbibm`` under ``LANTERNFISH_DATA`` (beside the project where that is not set) holds
for each task and observation 1 to 3 the observation, the true parameters and 10,000 samples of the
reference posterior, and ``published_c2st.csv``: mean and sd over ten observations of eight
algorithms.

Reference: Lueckmann, Boelts, Greenberg, Gonçalves & Macke (AISTATS 2021).
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np


def folder() -> Path:
    """The folder of sbibm's files.

    Raises:
        FileNotFoundError: if there is none.
    """
    beside = Path(__file__).parents[3] / "shared" / "data"
    found = Path(os.environ.get("LANTERNFISH_DATA", beside)) / "sbibm"
    if not found.is_dir():
        raise FileNotFoundError(
            f"Expected sbibm's observations in {found}; got no such folder: set LANTERNFISH_DATA "
            "to the folder that holds it."
        )
    return found


def observation(task: str, number: int) -> np.ndarray:
    """The observed data, shape (k,)."""
    return _read(task, number, "observation.csv")[0]


def true_parameters(task: str, number: int) -> np.ndarray:
    """The parameters that an observation was simulated from, shape (d,)."""
    return _read(task, number, "true_parameters.csv")[0]


def reference(task: str, number: int) -> np.ndarray:
    """Samples of the reference posterior, shape (10000, d)."""
    return _read(task, number, "reference_posterior_samples.csv.bz2")


def _read(task: str, number: int, name: str) -> np.ndarray:
    path = folder() / task / f"observation_{number}" / name
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)


def published(task: str, budget: int, rounds: int) -> float:
    """Published C2ST: of NPE for one round, of the best of the eight algorithms for several.

    NaN where the budget is not one of the published 1,000, 10,000 and 100,000.
    """
    with (folder() / "published_c2st.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["task"] == task]
    means = {r["algorithm"]: float(r["mean"]) for r in rows if int(r["num_simulations"]) == budget}
    if not means:
        return float("nan")
    return means["NPE"] if rounds == 1 else min(means.values())
