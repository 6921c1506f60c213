"""A form from the JSON schema of an analysis's settings, and settings from the form.

Every control carries a name made of the setting's JSON pointer (RFC 6901). What the form shows is
text; `read` gives it back with the types of the schema, so that form, schema and file hold the same
values. What no control can hold without loss (tables, nested lists) is edited as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lanternfish.service.server.typed import choice, number, plain_json, whole

Schema = Mapping[str, Any]
ABSENT = object()  # the form leaves the setting out


@dataclass(frozen=True)
class Choice:
    """One option of a list: `value` is JSON text, so that its type survives."""

    value: str
    label: str
    chosen: bool = False


@dataclass(frozen=True)
class Field:
    """One setting as the page shows it; a `group` or `variant` has children."""

    pointer: str
    name: str
    kind: str  # integer number text long switch choice numbers texts json group variant nothing
    label: str
    help: str = ""
    unit: str = ""
    text: str = ""
    on: bool = False
    required: bool = False
    limits: str = ""
    default: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Choice, ...] = ()
    children: tuple[Field, ...] = ()
    error: str = ""

    @property
    def id(self) -> str:
        """For `id=` and `for=`: letters, digits, dashes."""
        plain = (c if c.isalnum() else "-" for c in self.name)
        return "setting" + "".join(plain)


def build(
    schema: Schema,
    values: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
    raw: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Field, ...]:
    """Fields of a settings schema.

    Args:
        schema: an object schema, as Pydantic writes it.
        values: settings to show; defaults of the schema where absent.
        errors: a sentence for each JSON pointer that is wrong.
        raw: what the user typed, shown instead where it could not be read.
    """
    builder = _Builder(schema, errors or {}, raw or {})
    return builder.object(schema, values or {}, "", "")


def read(
    schema: Schema, pairs: Iterable[tuple[str, str]]
) -> tuple[dict[str, Any], dict[str, str], dict[str, list[str]]]:
    """Settings of a submitted form.

    Returns:
        The settings, a sentence for each pointer whose text is no value of its type, and the text
        itself, by control name.
    """
    raw: dict[str, list[str]] = {}
    for name, text in pairs:
        raw.setdefault(name, []).append(text.replace("\r\n", "\n"))
    reader = _Reader(schema, raw)
    settings = reader.object(schema, "", "")
    return settings, reader.errors, raw


def defaults(schema: Schema) -> dict[str, Any]:
    """Settings that the schema itself gives."""
    found = {}
    for name, sub in schema.get("properties", {}).items():
        sub = resolve(schema, sub)
        if "default" in sub:
            found[name] = sub["default"]
    return found


def resolve(root: Schema, schema: Schema) -> dict[str, Any]:
    """The schema that a `$ref` (alone or in a one-item `allOf`) means; its own words win."""
    seen = 0
    schema = dict(schema)
    while seen < 50 and ("$ref" in schema or len(schema.get("allOf", ())) == 1):
        seen += 1
        if "$ref" in schema:
            target: Any = root
            for part in schema.pop("$ref").lstrip("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
        else:
            target = schema.pop("allOf")[0]
        schema = {**target, **schema}
    return schema


def options(root: Schema, schema: Schema) -> list[dict[str, Any]]:
    """The alternatives of a union, resolved; empty where it is none."""
    found = schema.get("anyOf") or schema.get("oneOf") or []
    return [resolve(root, option) for option in found]


def kind_of(root: Schema, schema: Schema) -> tuple[str, dict[str, Any], bool]:
    """Kind of control, the schema that it edits, and whether empty means null."""
    schema = resolve(root, schema)
    union = options(root, schema)
    if union:
        real = [option for option in union if option.get("type") != "null"]
        if len(real) == 1 and len(union) == 2:
            kind, inner, _ = kind_of(root, real[0])
            if kind in ("integer", "number", "choice"):
                words = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                return kind, {**inner, **words}, True
        return "variant", schema, False
    return _plain_kind(root, schema), schema, False


def _plain_kind(root: Schema, schema: Schema) -> str:
    if "enum" in schema or "const" in schema:
        return "choice"
    kind = schema.get("type")
    if kind == "array":
        items = resolve(root, schema.get("items") or _same_items(root, schema) or {})
        numeric = items.get("type") in ("integer", "number") and "enum" not in items
        if numeric:
            return "numbers"
        return "texts" if items.get("type") == "string" and "enum" not in items else "json"
    if kind == "object" and schema.get("properties"):
        return "group"
    if kind == "string":
        return "long" if schema.get("format") in ("multiline", "textarea") else "text"
    return {"boolean": "switch", "integer": "integer", "number": "number", "null": "nothing"}.get(
        kind or "", "json"
    )


def _same_items(root: Schema, schema: Schema) -> Schema | None:
    """What a tuple's items have in common: numbers, or nothing."""
    items = [resolve(root, item) for item in schema.get("prefixItems", ())]
    kinds = {item.get("type") for item in items}
    if not items or not kinds <= {"integer", "number"}:
        return None
    return {"type": "integer"} if kinds == {"integer"} else {"type": "number"}


def item_type(root: Schema, schema: Schema) -> str:
    items = resolve(root, schema.get("items") or _same_items(root, schema) or {})
    return items.get("type", "string")


def _number_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, int | float) else str(value)


def list_text(values: Any, separator: str) -> str:
    """A list on a line, or one a line; JSON where that would lose something."""
    if not isinstance(values, list | tuple):
        return "" if values is None else json.dumps(values)
    texts = [v if isinstance(v, str) else json.dumps(v) for v in values]
    plain = all(
        t and t == t.strip() and "\n" not in t and not t.startswith("[") for t in texts
    ) and all(not isinstance(v, list | dict | bool | None) for v in values)
    return separator.join(texts) if plain else json.dumps(list(values), ensure_ascii=False)


def limits_in_words(schema: Schema, default: Any = ABSENT) -> str:
    """Range of a number or length, as a person writes it."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    words = []
    if low is not None and high is not None:
        words.append(f"{_plain(low)} to {_plain(high)}")
    else:
        words += [f"{_plain(low)} or more"] if low is not None else []
        words += [f"at most {_plain(high)}"] if high is not None else []
    words += [f"above {_plain(above)}"] if above is not None else []
    words += [f"below {_plain(below)}"] if below is not None else []
    step = schema.get("multipleOf")
    words += [f"a multiple of {_plain(step)}"] if step is not None else []
    if schema.get("type") == "array":
        words += _count_in_words(schema)
    return ", ".join(words)


def _count_in_words(schema: Schema) -> list[str]:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and least == most:
        return [f"{least} values"]
    return [f"{least} values or more"] * bool(least) + [f"at most {most} values"] * bool(most)


def at(root: Schema, pointer: str) -> dict[str, Any] | None:
    """The schema of a setting by its JSON pointer; None where a union or list is in between."""
    schema = resolve(root, root)
    for part in pointer.split("/")[1:]:
        sub = schema.get("properties", {}).get(part.replace("~1", "/").replace("~0", "~"))
        if sub is None:
            return None
        schema = resolve(root, sub)
    return schema if pointer else None


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "text": "text",
    "long": "text",
    "switch": "yes or no",
    "numbers": "a list of numbers",
    "texts": "a list of texts",
}


def wanted_in_words(root: Schema, schema: Schema) -> str:
    """What a setting takes, as "a whole number, 100 or more"; "" where words do not suffice."""
    kind, inner, nullable = kind_of(root, schema)
    if kind == "choice":
        return "one of " + ", ".join(str(each) for each in inner.get("enum", [inner.get("const")]))
    if kind not in _KINDS or "pattern" in inner:
        return ""
    limits = limits_in_words(inner)
    unit = f" {inner['unit']}" if inner.get("unit") and limits else ""
    return (
        _KINDS[kind] + (f", {limits}{unit}" if limits else "") + (" (or none)" if nullable else "")
    )


def _plain(number: Any) -> str:
    return f"{number:,}" if isinstance(number, int) and abs(number) >= 10_000 else f"{number}"


def humanised(name: str) -> str:
    """`learning_rate` as a label."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _label(schema: Schema, name: str) -> str:
    title = schema.get("title", "")
    ours = title.replace(" ", "_").lower() != name.lower().replace(" ", "_")
    return title if title and ours else humanised(name)


class _Builder:
    def __init__(self, root: Schema, errors: Mapping[str, str], raw: Mapping[str, Sequence[str]]):
        self.root, self.errors, self.raw = root, errors, raw

    def object(
        self, schema: Schema, values: Mapping[str, Any], pointer: str, prefix: str
    ) -> tuple[Field, ...]:
        required = schema.get("required", ())
        fields = []
        for name, sub in schema.get("properties", {}).items():
            sub = resolve(self.root, sub)
            value = values.get(name, sub.get("default", ABSENT))
            part = "/" + name.replace("~", "~0").replace("/", "~1")
            made = self.field(sub, value, pointer + part, prefix + part)
            made = replace(made, label=_label(sub, name))
            needed = name in required and "default" not in sub
            fields.append(replace(made, required=needed and made.kind not in ("group", "switch")))
        return tuple(fields)

    def field(self, schema: Schema, value: Any, pointer: str, name: str) -> Field:
        kind, inner, nullable = kind_of(self.root, schema)
        base = Field(
            pointer,
            name,
            kind,
            label="",
            help=inner.get("description", ""),
            unit=inner.get("unit", ""),
            limits=limits_in_words(inner),
            default=self._default_text(inner),
            minimum=inner.get("minimum"),
            maximum=inner.get("maximum"),
            error=self.errors.get(pointer, ""),
        )
        if kind == "group":
            held = value if isinstance(value, Mapping) else {}
            return replace(base, children=self.object(inner, held, pointer, name))
        if kind == "variant":
            return self._variant(base, inner, value)
        if kind == "choice":
            return replace(base, choices=self._choices(inner, value, nullable))
        if kind == "switch":
            return replace(base, on=value is True)
        return self._text(base, inner, value)

    def _text(self, base: Field, schema: Schema, value: Any) -> Field:
        kind = base.kind
        if base.error and base.name in self.raw:
            text = self.raw[base.name][-1]
        elif value is ABSENT or (value is None and kind != "json"):
            text = ""
        elif kind in ("integer", "number"):
            text = _number_text(value)
        elif kind in ("numbers", "texts"):
            text = list_text(value, ", " if kind == "numbers" else "\n")
        elif kind == "json":
            text = json.dumps(value, indent=2, ensure_ascii=False)
        else:
            text = str(value)
        if kind == "text" and "\n" in text:
            base = replace(base, kind="long")
        return replace(base, text=text)

    def _choices(self, schema: Schema, value: Any, nullable: bool) -> tuple[Choice, ...]:
        allowed = schema.get("enum", [schema["const"]] if "const" in schema else [])
        labels = schema.get("x-labels", {})
        found = []
        if nullable:
            found.append(Choice("null", "not set", value is None or value is ABSENT))
        for item in allowed:
            same = value is not ABSENT and value == item and type(value) is type(item)
            label = labels.get(str(item), "not set" if item is None else str(item))
            found.append(Choice(json.dumps(item), label, same))
        return tuple(found)

    def _variant(self, base: Field, schema: Schema, value: Any) -> Field:
        union = options(self.root, schema)
        chosen = best_option(self.root, union, value)
        choices, children = [], []
        for i, option in enumerate(union):
            label = _option_label(option)
            choices.append(Choice(str(i), label, i == chosen))
            inside = value if i == chosen else option.get("default", ABSENT)
            child = self.field(option, inside, base.pointer, f"{base.name}~{i}")
            children.append(replace(child, label=label, error=""))
        return replace(base, choices=tuple(choices), children=tuple(children))

    def _default_text(self, schema: Schema) -> str:
        default = schema.get("default", ABSENT)
        if default is ABSENT or default is None or isinstance(default, Mapping | bool):
            return ""
        if isinstance(default, list):
            return list_text(default, ", ")
        if isinstance(default, int):
            return _plain(default)
        return _number_text(default) if default != "" else ""


def _option_label(option: Schema) -> str:
    if option.get("type") == "null":
        return "not set"
    if option.get("title"):
        return option["title"]
    words = {"string": "text", "array": "list", "object": "table", "boolean": "yes or no"}
    kind = str(option.get("type", "value"))
    return words.get(kind, kind)


def best_option(root: Schema, union: Sequence[Schema], value: Any) -> int:
    """The alternative that a value belongs to; the first where none fits."""
    scores = [_fit(root, option, value) for option in union]
    return scores.index(max(scores)) if scores else 0


def _fit(root: Schema, schema: Schema, value: Any) -> int:
    """How well a value suits a schema: 0 not at all."""
    if value is ABSENT:
        return int("default" in schema)
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return 3 * any(value == a and type(value) is type(a) for a in allowed)
    kind = schema.get("type")
    if kind == "object" and isinstance(value, Mapping):
        return 1 + _fit_properties(root, schema, value)
    exact = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "string": isinstance(value, str),
        "array": isinstance(value, list | tuple),
    }
    if kind == "number":
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return (2 if isinstance(value, float) else 1) * is_number
    if kind in exact:
        return 2 * exact[kind]
    return int(kind is None)


def _fit_properties(root: Schema, schema: Schema, value: Mapping[str, Any]) -> int:
    score = 0
    for name, sub in schema.get("properties", {}).items():
        sub = resolve(root, sub)
        if "const" in sub:
            score += 10 if value.get(name) == sub["const"] else -10
        elif name in value:
            score += 1
        elif name in schema.get("required", ()):
            score -= 2
    return max(score, 0)


@dataclass
class _Reader:
    root: Schema
    raw: Mapping[str, list[str]]
    errors: dict[str, str] = field(default_factory=dict)

    def object(self, schema: Schema, pointer: str, prefix: str) -> dict[str, Any]:
        found = {}
        for name, sub in schema.get("properties", {}).items():
            part = "/" + name.replace("~", "~0").replace("/", "~1")
            needed = name in schema.get("required", ())
            value = self.value(sub, pointer + part, prefix + part, needed)
            if value is not ABSENT:
                found[name] = value
        return found

    def value(self, schema: Schema, pointer: str, name: str, required: bool) -> Any:
        kind, inner, nullable = kind_of(self.root, schema)
        if kind == "group":
            return self.object(inner, pointer, name)
        if kind == "nothing":
            return None
        if kind == "switch":
            # A hidden "false" stands before the box, so that an unticked box is told from no box.
            return ABSENT if name not in self.raw else self.raw[name][-1] == "true"
        if kind == "variant":
            return self._variant(inner, pointer, name, required)
        if name not in self.raw:
            return ABSENT
        text = self.raw[name][-1]
        if kind in ("text", "long"):
            empty = text == "" and not required and "default" not in inner
            return ABSENT if empty else text
        if not text.strip():
            return self._empty(inner, pointer, kind, nullable, required)
        try:
            return self._parse(kind, inner, text)
        except ValueError as error:
            self.errors[pointer] = str(error)
            return ABSENT

    def _empty(
        self, schema: Schema, pointer: str, kind: str, nullable: bool, required: bool
    ) -> Any:
        if nullable:
            return None
        if kind in ("numbers", "texts"):
            return []
        if required:
            self.errors[pointer] = "Expected a value; got none."
        return ABSENT

    def _variant(self, schema: Schema, pointer: str, name: str, required: bool) -> Any:
        union = options(self.root, schema)
        text = self.raw.get(name, [""])[-1]
        if not text:
            return ABSENT
        if not text.isdigit() or int(text) >= len(union):
            self.errors[pointer] = f'Expected one of {len(union)} alternatives; got "{text}".'
            return ABSENT
        return self.value(union[int(text)], pointer, f"{name}~{int(text)}", True)

    def _parse(self, kind: str, schema: Schema, text: str) -> Any:
        if kind == "choice":
            return choice(schema, text)
        if kind == "integer":
            return whole(text)
        if kind == "number":
            return number(text)
        if kind == "json":
            return plain_json(text)
        of = item_type(self.root, schema)
        if text.lstrip().startswith("["):
            values = plain_json(text)
            if not isinstance(values, list):
                raise ValueError("Expected a list.")
            return values
        if kind == "texts":
            return [line.strip() for line in text.split("\n") if line.strip()]
        parts = [part for part in text.replace(",", " ").replace(";", " ").split() if part]
        return [whole(part) if of == "integer" else number(part) for part in parts]
