"""Simulations: rows, counts, words; models and simulators that hold them."""

import functools

import numpy as np
import pytest

from lanternfish.core import (
    BatchSimulator,
    Column,
    Elsewhere,
    JaxSimulator,
    Model,
    Observation,
    Prior,
    PythonSimulator,
    Simulations,
    Status,
    Table,
    Uniform,
)

PARAMETERS = (Column("a", "mV"), Column("b"))
STATISTICS = (Column("rate", "Hz"),)
STATUS = np.array([0, 0, 1, 2, 3, 4, 5, 6], np.int8)


@pytest.fixture
def simulations():
    n = len(STATUS)
    x = np.where(STATUS == 0, 1.5, np.nan)[:, None]
    theta = Table(np.arange(2.0 * n).reshape(n, 2), PARAMETERS)
    weight = np.where(STATUS == 0, 2.0, 1.0)
    return Simulations(
        theta, Table(x, STATISTICS), STATUS, weight, np.arange(n, dtype=np.uint64), ("boom",)
    )


def test_counts_and_words(simulations):
    assert simulations.counts() == {Status(s): 2 if s == 0 else 1 for s in range(7)}
    report = simulations.report()
    assert report.startswith("8 simulations: 2 gave finite statistics; 1 gave a statistic that")
    for status in Status:
        assert status.sentence in report
    assert repr(simulations) == f"Simulations: {report}"


def test_validity_is_weighted(simulations):
    assert simulations.valid.sum() == 2
    assert simulations.valid_fraction == 4 / 8


def test_rows(simulations):
    assert len(simulations[2:5]) == 3
    assert simulations[simulations.valid].x["rate"].tolist() == [1.5, 1.5]
    assert simulations[-1].status.tolist() == [Status.ABANDONED]
    assert simulations[[3, 1]].seeds.tolist() == [3, 1]


def test_sum_keeps_order_and_each_message_once(simulations):
    both = simulations + simulations[:1]
    assert len(both) == 9
    assert both.theta["a"][-1] == simulations.theta["a"][0]
    assert both.messages == ("boom",)
    assert both.theta.columns == PARAMETERS


def test_empty():
    empty = Simulations.empty(PARAMETERS, STATISTICS)
    assert len(empty) == 0
    assert empty.report() == "no simulation yet"
    assert np.isnan(empty.valid_fraction)
    assert empty.counts() == {}
    assert len(empty + empty) == 0


def test_one_in_words(simulations):
    assert simulations[:1].report() == "1 simulation: 1 gave finite statistics."


def test_parts_round_trip(simulations):
    parts = simulations.arrays()
    again = Simulations.from_arrays(parts, PARAMETERS, STATISTICS, simulations.messages)
    for name, part in again.arrays().items():
        np.testing.assert_array_equal(part, parts[name])
    assert again.messages == simulations.messages


def simulate(theta, rng):
    return theta["a"]


def model(**changes):
    prior = Prior(a=Uniform(0, 1), b=Uniform(0, 1))
    return Model(**{"prior": prior, "simulator": PythonSimulator(simulate, STATISTICS)} | changes)


def test_model_describes_itself():
    described = model(name="m", targets={"x": Observation(rate=1)}).describe()
    assert described["parameters"] == [["a", "", ""], ["b", "", ""]]
    assert described["statistics"] == [["rate", "Hz", ""]]


def held_in_closure(scale, notebook):
    def simulate(theta, rng):
        notebook.append(1)
        return scale * theta["a"]

    return PythonSimulator(simulate, ("x",)).fingerprint


def test_fingerprint_knows_what_a_closure_holds_but_not_its_notebook():
    assert held_in_closure(1, []) == held_in_closure(1, [1, 2])
    assert held_in_closure(1, []) != held_in_closure(2, [])


def test_fingerprint_knows_source_names_and_bound_values():
    def other(theta, rng):
        return theta["b"]

    prints = [
        PythonSimulator(simulate, STATISTICS).fingerprint,
        PythonSimulator(other, STATISTICS).fingerprint,
        PythonSimulator(simulate, ("cv",)).fingerprint,
        PythonSimulator(functools.partial(simulate, scale=1), STATISTICS).fingerprint,
        PythonSimulator(functools.partial(simulate, scale=2), STATISTICS).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == PythonSimulator(simulate, ["rate"]).fingerprint


WRONG = {
    "lengths differ": lambda s: Simulations(s.theta, s.x, s.status[:3], s.weight, s.seeds),
    "another model": lambda s: s + Simulations.empty(STATISTICS, PARAMETERS),
    "no prior": lambda s: model(prior={"a": 1}),
    "no simulator": lambda s: model(simulator=simulate),
    "target of another model": lambda s: model(targets={"x": Observation(cv=1)}),
    "no function": lambda s: PythonSimulator("neuron", ("a",)),
    "outputs as text": lambda s: BatchSimulator(simulate, "rate"),
    "no outputs": lambda s: BatchSimulator(simulate, ()),
    "no lanes": lambda s: JaxSimulator(simulate, ("a",), lanes=0),
    "no time": lambda s: PythonSimulator(simulate, ("a",), time_limit=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name, simulations):
    with pytest.raises((ValueError, TypeError), match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name](simulations)


ELSEWHERE = Model(Prior(a=Uniform(0, 1), b=Uniform(-1, 1)), Elsewhere(outputs=("rate", "cv")))
THETA = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]


def test_arrays_of_elsewhere_become_simulations():
    """A row with NaN or infinity is invalid; single precision may leave a bound by its rounding."""
    x = [[1.0, 2.0], [np.nan, 2.0], [1.0, np.inf]]
    found = Simulations.of(ELSEWHERE, np.array(THETA, np.float32), x)
    assert found.status.tolist() == [Status.OK, Status.INVALID, Status.INVALID]
    assert found.weight.tolist() == [1, 1, 1]
    assert found.theta["b"].tolist() == pytest.approx([0.2, 0.4, 0.6])
    edge = Simulations.of(ELSEWHERE, [[1 + 1e-7, -1 - 1e-7]], [[1.0, 2.0]])
    assert edge.theta.array.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": np.ones((2, 2))}, "as many rows of x as of theta, 3; got 2"),
        ({"x": np.ones((3, 5))}, r"x of shape \(n, 2\); got \(3, 5\)"),
        (
            {"theta": np.full((3, 2), 1.5)},
            "a between 0 and 1, the prior's bounds; got 1.5 in row 0",
        ),
        ({"weight": [1.0, 2.0]}, r"weights of shape \(3,\)"),
        ({"weight": [1.0, -2.0, 1.0]}, r"weights of shape \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit(given, words):
    whole = {"theta": THETA, "x": np.ones((3, 2))} | given
    with pytest.raises(ValueError, match=rf"^Expected {words}"):
        Simulations.of(ELSEWHERE, **whole)
