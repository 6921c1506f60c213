"""Tables and columns by name."""

import numpy as np
import pytest

from lanternfish.core import Column, Table
from lanternfish.core.table import as_columns, as_table, check_names

COLUMNS = (Column("g_Na", "mS/cm2", r"$g_\mathrm{Na}$"), Column("tau_m", "ms"), Column("n"))
ARRAY = np.arange(12.0).reshape(4, 3)


@pytest.fixture
def table():
    return Table(ARRAY, COLUMNS)


def test_axis_labels_carry_units():
    labels = [c.axis_label for c in COLUMNS]
    assert labels == [r"$g_\mathrm{Na}$ (mS/cm2)", "tau m (ms)", "n"]


def test_columns_and_rows(table):
    assert len(table) == 4
    assert table["tau_m"].tolist() == [1, 4, 7, 10]
    assert table[["n", "g_Na"]].columns == (COLUMNS[2], COLUMNS[0])
    assert table[["n", "g_Na"]].array.tolist() == ARRAY[:, [2, 0]].tolist()
    assert table[1:3].array.tolist() == ARRAY[1:3].tolist()
    assert table[table["n"] > 5].array.tolist() == ARRAY[2:].tolist()
    assert table[-1].array.tolist() == ARRAY[-1:].tolist()
    assert next(iter(table)) == {"g_Na": 0, "tau_m": 1, "n": 2}
    np.testing.assert_array_equal(np.asarray(table), ARRAY)


def test_tables_are_read_only(table):
    with pytest.raises(ValueError, match="read-only"):
        table.array[0, 0] = 1
    np.asarray(table).sum()
    assert ARRAY.flags.writeable


def test_words(table):
    assert repr(table).splitlines()[1] == "  g_Na   4.5 [0.45, 8.55] mS/cm2"
    assert "no finite value" in repr(Table([[np.nan]], ("a",)))
    assert repr(Table(np.zeros((0, 1)), ("a",))).startswith("Table: 0 rows")


def test_export(table, tmp_path):
    path = tmp_path / "table.csv"
    table.to_csv(str(path))
    assert path.read_text().splitlines()[0] == "g_Na,tau_m,n"
    np.testing.assert_array_equal(np.loadtxt(path, delimiter=",", skiprows=1), ARRAY)


def test_export_to_pandas(table):
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame.columns) == ["g_Na", "tau_m", "n"]
    np.testing.assert_array_equal(frame.to_numpy(), ARRAY)


def test_from_mapping_broadcasts_numbers():
    table = Table.from_mapping({"n": 1, "g_Na": [1, 2], "tau_m": [3, 4]}, COLUMNS)
    assert table.array.tolist() == [[1, 3, 1], [2, 4, 1]]


def test_as_table_reorders_by_name(table):
    assert as_table(table, COLUMNS, "theta") is table
    assert as_table(table[["n", "g_Na", "tau_m"]], COLUMNS, "x").array.tolist() == ARRAY.tolist()
    assert as_table(ARRAY[0], COLUMNS, "x").array.tolist() == [ARRAY[0].tolist()]


def mapping(first, second):
    return {"g_Na": first, "tau_m": second, "n": 1}


WRONG = {
    "one axis": lambda t: Table(np.zeros(3), COLUMNS),
    "too few columns": lambda t: Table(np.zeros((2, 2)), COLUMNS),
    "no column": lambda t: as_columns(()),
    "string for names": lambda t: as_columns("abc"),
    "name twice": lambda t: as_columns(("a", "b", "a")),
    "unknown column": lambda t: t["g_K"],
    "unknown columns": lambda t: t[["n", "g_K"]],
    "row after the end": lambda t: t[4],
    "missing and unknown": lambda t: check_names({"a": 1}, ["b"]),
    "lengths differ": lambda t: Table.from_mapping(mapping([1, 2], [1, 2, 3]), COLUMNS),
    "two axes in a mapping": lambda t: Table.from_mapping(mapping([[1]], 1), COLUMNS),
    "text": lambda t: as_table([["a", "b", "c"]], COLUMNS, "theta"),
    "shape": lambda t: as_table(np.zeros((2, 4)), COLUMNS, "theta"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name, table):
    with pytest.raises((ValueError, KeyError, IndexError)) as caught:
        WRONG[name](table)
    message = caught.value.args[0]
    assert message.startswith("Expected ")
    assert "; got " in message
    assert message.endswith(".")
    assert "\n" not in message
