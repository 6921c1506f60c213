"""One prior that holds every law of the table, drawn once: compiling is what takes the time."""

import pytest
from law_table import JOINT, SCALAR

from lanternfish.core import Prior

DRAWS = 4_000


@pytest.fixture(scope="session")
def seed():
    """The seed of every random test."""
    return 20_240


@pytest.fixture(scope="session")
def everything():
    laws = {f"p{i}": case.law for i, case in enumerate(SCALAR)}
    return Prior(*(law for law, _ in JOINT.values()), **laws)


@pytest.fixture(scope="session")
def draws(everything, seed):
    return everything.sample(DRAWS, seed=seed)
