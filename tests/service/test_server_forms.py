"""Form, schema and file hold the same values: values come back as they went in."""

import json
from enum import Enum
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as s
from pydantic import BaseModel, Field

from lanternfish.service.server import forms
from lanternfish.service.server.typed import whole

TEXT = s.text(s.characters(blacklist_categories=("Cs", "Cc")), max_size=20)
FINITE = s.floats(allow_nan=False, allow_infinity=False)


class Colour(Enum):
    red = "red"
    two = 2


class Adam(BaseModel):
    kind: Literal["adam"] = "adam"
    rate: float = 1e-3


class Descent(BaseModel):
    kind: Literal["descent"] = "descent"
    rate: float = 0.1
    nesterov: bool = False


class Inner(BaseModel):
    depth: int = Field(3, ge=1)
    names: list[str] = []
    weights: list[float] = [0.5, 1.0]


class Everything(BaseModel):
    count: int = Field(5, ge=0, le=10**9, json_schema_extra={"unit": "trials"})
    share: float = Field(0.1, gt=0, description="A share.")
    name: str = "a"
    notes: str = Field("", json_schema_extra={"format": "multiline"})
    on: bool = True
    colour: Colour = Colour.red
    level: Literal["low", "high", 3] = "low"
    limit: int | None = None
    tolerance: float | None = 0.5
    label: str | None = None
    either: int | str = 0
    interval: tuple[float, float] = (0.0, 1.0)
    steps: list[int] = [1, 2]
    words: list[str] = []
    targets: dict[str, tuple[float, float]] = {}
    table: list[Inner] = []
    inner: Inner = Inner()
    optimiser: Annotated[Adam | Descent, Field(discriminator="kind")] = Adam()


SCHEMA = Everything.model_json_schema()

VALUES = s.fixed_dictionaries(
    {
        "count": s.integers(0, 10**9),
        "share": FINITE,
        "name": TEXT,
        "notes": s.lists(TEXT, max_size=3).map("\n".join),
        "on": s.booleans(),
        "colour": s.sampled_from(["red", 2]),
        "level": s.sampled_from(["low", "high", 3]),
        "limit": s.none() | s.integers(),
        "tolerance": s.none() | FINITE,
        "label": s.none() | TEXT,
        "either": s.integers() | TEXT,
        "interval": s.tuples(FINITE, FINITE).map(list),
        "steps": s.lists(s.integers(), max_size=4),
        "words": s.lists(s.text(max_size=8).filter(lambda t: "\r" not in t), max_size=4),
        "targets": s.dictionaries(TEXT, s.lists(FINITE, min_size=2, max_size=2), max_size=3),
        "table": s.lists(s.fixed_dictionaries({"depth": s.integers(1, 9)}), max_size=2),
        "inner": s.fixed_dictionaries(
            {
                "depth": s.integers(1, 99),
                "names": s.lists(TEXT, max_size=3),
                "weights": s.lists(FINITE, max_size=3),
            }
        ),
        "optimiser": s.fixed_dictionaries({"kind": s.just("adam"), "rate": FINITE})
        | s.fixed_dictionaries(
            {"kind": s.just("descent"), "rate": FINITE, "nesterov": s.booleans()}
        ),
    }
)


def submitted(fields) -> list[tuple[str, str]]:
    """What a browser sends for a form: names and texts, line breaks as CR LF."""
    pairs = []
    for field in fields:
        if field.kind in ("group", "variant"):
            chosen = [choice.value for choice in field.choices if choice.chosen]
            pairs += [(field.name, value) for value in chosen]
            pairs += submitted(field.children)
        elif field.kind == "choice":
            chosen = [choice.value for choice in field.choices if choice.chosen]
            pairs += [(field.name, value) for value in chosen or [field.choices[0].value]]
        elif field.kind == "switch":
            pairs += [(field.name, "false")] + [(field.name, "true")] * field.on
        elif field.kind != "nothing":
            pairs.append((field.name, field.text.replace("\n", "\r\n")))
    return pairs


def same(a, b) -> bool:
    """Equal in value and in kind: a whole number is no float with a point, true is no 1."""
    if isinstance(a, float) or isinstance(b, float):
        return float(a) == float(b) and not isinstance(a, bool) and not isinstance(b, bool)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_values_come_back_as_they_went_in(values):
    fields = forms.build(SCHEMA, values)
    found, errors, _ = forms.read(SCHEMA, submitted(fields))
    assert not errors
    assert same(values, found), (values, found)


@given(VALUES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_values_come_back_through_a_file_too(values):
    assert same(values, json.loads(json.dumps(values)))
    again = json.loads(json.dumps(values))
    found, _, _ = forms.read(SCHEMA, submitted(forms.build(SCHEMA, again)))
    assert same(values, found)


def test_an_untouched_form_gives_the_defaults():
    found, errors, _ = forms.read(SCHEMA, submitted(forms.build(SCHEMA)))
    assert not errors
    assert Everything.model_validate(found) == Everything()


def test_a_field_says_unit_range_default_and_help():
    count, share = forms.build(SCHEMA)[:2]
    assert (count.label, count.unit, count.limits, count.default) == (
        "Count",
        "trials",
        "0 to 1,000,000,000",
        "5",
    )
    assert share.help == "A share."
    assert share.limits == "above 0"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("/count", "many", "Expected a whole number; got 'many'."),
        ("/count", "1.5", "Expected a whole number; got '1.5'."),
        ("/share", "1,5", "Expected a number; got '1,5'. Write the decimal point as a point."),
        ("/share", "nan", "Expected a number; got 'nan'."),
        ("/steps", "1, x", "Expected a whole number; got 'x'."),
        ("/targets", "{", "Expected JSON; got something else"),
        ("/targets", '{"a": [Infinity, 1]}', "Expected finite numbers; got Infinity."),
        ("/level", '"middle"', "Expected one of low, high, 3"),
        ("/either", "7", "Expected one of 2 alternatives"),
    ],
)
def test_what_is_no_value_is_told_in_a_sentence_and_shown_again(name, text, sentence):
    found, errors, raw = forms.read(SCHEMA, [(name, text)])
    assert errors[name].startswith(sentence)
    assert name.strip("/") not in found
    field = next(f for f in forms.build(SCHEMA, found, errors, raw) if f.pointer == name)
    assert field.error == errors[name]
    if field.kind not in ("choice", "variant"):
        assert field.text == text


@pytest.mark.parametrize("text", ["100000", "100 000", "100,000", "1e5", "100_000"])
def test_whole_numbers_as_people_write_them(text):
    assert whole(text) == 100_000


def test_required_settings_without_a_value_are_asked_for():
    class Needs(BaseModel):
        n: int
        where: Literal["a", "b"]

    schema = Needs.model_json_schema()
    _, errors, _ = forms.read(schema, [("/n", "")])
    assert errors == {"/n": "Expected a value; got none."}
    assert [field.required for field in forms.build(schema)] == [True, True]
