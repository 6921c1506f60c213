"""Emergent properties: means and standard deviations by name."""

import jax.numpy as jnp
import pytest

import lanternfish as lf
from lanternfish.core import Column, EmergentProperty

COLUMNS = (Column("rate", "Hz"), lf.Trace("voltage", 8), Column("cv"))


def test_moments_by_name():
    found = EmergentProperty("bursts", cv=(1, 0.2), rate=(12, 0.5), total_variance=["rate"])
    assert found.name == "bursts"
    assert found["cv"].mean == 1
    assert found.means.tolist() == [1, 12]
    assert found.sds.tolist() == [0.2, 0.5]
    assert found.total.tolist() == [False, True]
    assert found.places(COLUMNS).tolist() == [9, 0]
    assert repr(found) == "EmergentProperty(cv=1 ± 0.2, rate=12 ± 0.5)"


def test_plain_round_trip():
    found = EmergentProperty("x", rate=(12, 0.5), cv=(1, 0.1), total_variance=True)
    again = EmergentProperty.from_plain(found.as_plain(), "x")
    assert again == found
    assert again.total_variance == ("rate", "cv")
    assert again != EmergentProperty(rate=(12, 0.5), cv=(1, 0.1))


def test_a_model_takes_observations_and_properties():
    simulator = lf.JaxSimulator(lambda t, key: jnp.stack([t["a"], t["a"] ** 2]), ("x", "y"))
    targets = {"seen": lf.Observation(x=0.1, y=0.2), "wanted": EmergentProperty(y=(0.2, 0.1))}
    model = lf.Model(lf.Prior(a=lf.Uniform(0, 1)), simulator, targets=targets)
    assert model.targets["wanted"]["y"].sd == 0.1
    with pytest.raises(ValueError, match=r"^Expected statistics of the model \(x, y\); got z"):
        lf.Model(model.prior, simulator, targets={"z": EmergentProperty(z=(0, 1))})


WRONG = {
    "none": lambda: EmergentProperty(),
    "sd of zero": lambda: EmergentProperty(rate=(1, 0)),
    "negative sd": lambda: EmergentProperty(rate=(1, -0.5)),
    "NaN sd": lambda: EmergentProperty(rate=(1, float("nan"))),
    "infinite mean": lambda: EmergentProperty(rate=(float("inf"), 1)),
    "one number": lambda: EmergentProperty(rate=1.0),
    "three numbers": lambda: EmergentProperty(rate=(1, 2, 3)),
    "text": lambda: EmergentProperty(rate="fast"),
    "total of another": lambda: EmergentProperty(rate=(1, 2), total_variance=["cv"]),
    "unknown": lambda: EmergentProperty(burst=(1, 2)).places(COLUMNS),
    "array": lambda: EmergentProperty(voltage=(1, 2)).places(COLUMNS),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    with pytest.raises(ValueError, match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name]()
