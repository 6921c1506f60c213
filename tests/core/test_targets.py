"""Observations: finite numbers by name."""

import numpy as np
import pytest

from lanternfish.core import Column, Observation
from lanternfish.core.targets import Observation as Target

COLUMNS = (Column("rate", "Hz"), Column("cv"))


def test_values_by_name_in_any_order():
    observation = Observation("cell 3", cv=0.4, rate=12)
    assert observation.name == "cell 3"
    assert dict(observation) == {"cv": 0.4, "rate": 12.0}
    assert observation.array_for(COLUMNS).tolist() == [12, 0.4]
    assert observation.table_for(COLUMNS)["rate"].tolist() == [12]
    assert repr(observation) == "Observation(cv=0.4, rate=12)"
    assert observation == Observation(rate=12, cv=0.4)


def test_numbers_of_any_kind():
    observation = Observation(rate=np.float32(12), cv=np.array([0.5]))
    assert observation.array_for(COLUMNS).tolist() == [12, 0.5]


def test_from_array():
    assert Target.from_array([1, 2], COLUMNS, "x")["cv"] == 2


WRONG = {
    "none": lambda: Observation(),
    "NaN": lambda: Observation(rate=float("nan")),
    "infinite": lambda: Observation(rate=-float("inf")),
    "text": lambda: Observation(rate="fast"),
    "several": lambda: Observation(rate=[1.0, 2.0], cv=1).array_for(COLUMNS),
    "nothing": lambda: Observation(rate=None),
    "shape": lambda: Observation.from_array([1.0], COLUMNS),
    "unknown": lambda: Observation(rate=1, burst=2).array_for(COLUMNS),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    with pytest.raises(ValueError, match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name]()
