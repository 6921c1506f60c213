"""Columns that are arrays: shapes, tables, observations, what counts as complete, exports."""

import json

import numpy as np
import pytest

from lanternfish.core import (
    Column,
    Image,
    Model,
    Observation,
    Prior,
    PythonSimulator,
    Table,
    Trace,
    Trials,
    Uniform,
)
from lanternfish.core.columns import flat_names, known_by_column, spans, width
from lanternfish.core.summaries import in_numbers
from lanternfish.core.table import as_table
from lanternfish.simulation.child import complete

VOLTAGE, RESPONSES = Trace("voltage", 4, unit="mV"), Trials("responses", (3, 2))
COLUMNS = (Column("rate", "Hz"), VOLTAGE, RESPONSES)
NAN, INF = np.nan, np.inf


@pytest.fixture
def table():
    return Table(np.arange(22.0).reshape(2, 11), COLUMNS)


def test_shapes_and_places():
    assert [c.size for c in COLUMNS] == [1, 4, 6]
    assert width(COLUMNS) == 11
    assert [(s.start, s.stop) for s in spans(COLUMNS)] == [(0, 1), (1, 5), (5, 11)]
    assert Trials("count", 5).shape == (5, 1)
    assert Image("field", (2, 3, 4)).size == 24
    assert flat_names(COLUMNS)[-2:] == ["responses[2,0]", "responses[2,1]"]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_stored_column_is_the_column(column):
    assert Column(*json.loads(json.dumps(column.as_list()))) == column


def test_numbers_are_stored_as_ever():
    assert Column("rate", "Hz", "r").as_list() == ["rate", "Hz", "r"]


def test_a_table_gives_arrays_by_name(table):
    assert table["rate"].tolist() == [0, 11]
    assert table["voltage"].tolist() == [[1, 2, 3, 4], [12, 13, 14, 15]]
    assert table["responses"].shape == (2, 3, 2)
    assert table[["voltage", "rate"]].array[1].tolist() == [12, 13, 14, 15, 11]
    assert next(iter(table))["responses"].tolist() == [[5, 6], [7, 8], [9, 10]]
    assert "voltage (4,)      8 [1.35, 14.65] mV" in repr(table)


def test_a_table_from_a_mapping_of_arrays(table):
    values = {name: table[name] for name in table.names}
    assert np.array_equal(Table.from_mapping(values, COLUMNS).array, table.array)
    one = {"rate": [1, 2], "voltage": np.zeros(4), "responses": np.ones((3, 2))}
    assert as_table(one, COLUMNS, "x").array[1].tolist() == [2, *[0] * 4, *[1] * 6]


def test_export_has_a_column_for_each_number(table, tmp_path):
    pandas = pytest.importorskip("pandas")
    table.to_csv(str(tmp_path / "t.csv"))
    read = pandas.read_csv(tmp_path / "t.csv")
    assert list(read.columns) == list(table.to_pandas().columns) == flat_names(COLUMNS)
    assert np.array_equal(read.to_numpy(), table.array)


ROWS = {  # a row of voltage and of responses, and which of the two are complete
    "whole": ([1, 2, 3, 4], [[1, 2], [3, 4], [5, 6]], [True, True]),
    "a trial absent": ([1, 2, 3, 4], [[1, 2], [NAN, NAN], [5, 6]], [True, True]),
    "no trial": ([1, 2, 3, 4], [[NAN, NAN]] * 3, [True, False]),
    "half a trial": ([1, 2, 3, 4], [[1, 2], [NAN, 4], [5, 6]], [True, False]),
    "an infinite trial": ([1, 2, 3, 4], [[1, 2], [INF, INF], [5, 6]], [True, False]),
    "a gap": ([1, NAN, 3, 4], [[1, 2], [3, 4], [5, 6]], [False, True]),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_complete(name):
    """Here and in a child process, which shares no code with this room."""
    voltage, trials, expected = ROWS[name]
    row = np.concatenate([[0.0], voltage, np.ravel(trials)])[None]
    assert known_by_column(row, COLUMNS)[0].tolist() == [True, *expected]
    assert complete(row, [c.spec for c in COLUMNS])[0] == all(expected)


def test_observations_hold_arrays():
    seen = Observation("cell", rate=3, voltage=[1, 2, 3, 4], responses=[[1, 2], [3, 4]])
    assert repr(seen) == "Observation(rate=3, voltage=array (4,), responses=array (2, 2))"
    flat = seen.array_for(COLUMNS)
    assert flat[:9].tolist() == [3, 1, 2, 3, 4, 1, 2, 3, 4]
    assert np.isnan(flat[9:]).all()  # the third trial is absent
    again = Observation.from_array(flat, COLUMNS)
    assert np.array_equal(again.array_for(COLUMNS), flat, equal_nan=True)
    assert seen != again  # one says so by a row of NaN, the other by none
    assert again == Observation.from_array(flat, COLUMNS)
    assert len(json.dumps(seen.as_plain())) < 400
    assert not seen["voltage"].flags.writeable


def test_summaries_are_means_and_standard_deviations(table):
    rows = in_numbers(table)
    names = ["rate", "voltage_mean", "voltage_sd"]
    names += [f"responses_{i}_{what}" for i in (0, 1) for what in ("mean", "sd")]
    assert list(rows.names) == names
    assert rows["voltage_sd"] == pytest.approx(np.std([1, 2, 3, 4]))
    assert rows["responses_1_mean"].tolist() == [8, 19]


def observed(**values):
    whole = {"rate": 1, "voltage": [1, 2, 3, 4], "responses": [[1, 2]]} | values
    return Observation(**whole).array_for(COLUMNS)


def parameters_of_arrays():
    from lanternfish.core import CorrelatedNormal

    return Prior(CorrelatedNormal([VOLTAGE, "b"], [0, 0], [[1, 0], [0, 1]]))


def model_with_target():
    simulator = PythonSimulator(lambda theta, rng: theta, [VOLTAGE])
    target = Observation(voltage=[1, 2])
    return Model(Prior(a=Uniform(0, 1)), simulator, targets={"x": target})


WRONG = {
    "kind": lambda: Column("a", shape=(2,), kind="film"),
    "axes": lambda: Trace("a", (1, 2, 3)),
    "empty": lambda: Image("a", (0, 3)),
    "number with a shape": lambda: Column("a", shape=(2,)),
    "short trace": lambda: observed(voltage=[1, 2]),
    "gap": lambda: observed(voltage=[1, 2, NAN, 4]),
    "too many trials": lambda: observed(responses=np.ones((4, 2))),
    "wide trials": lambda: observed(responses=np.ones((2, 3))),
    "half a trial": lambda: observed(responses=[[1, NAN], [1, 2]]),
    "no trial": lambda: observed(responses=[[NAN, NAN]] * 3),
    "infinity": lambda: observed(voltage=[1, 2, INF, 4]),
    "array for a number": lambda: observed(rate=[1, 2]),
    "table": lambda: Table(np.zeros((2, 3)), COLUMNS),
    "parameter": parameters_of_arrays,
    "target of another shape": model_with_target,
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    with pytest.raises(ValueError, match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name]()
