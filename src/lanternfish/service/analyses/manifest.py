"""What pages and the API need of an analysis, as plain JSON, and settings against its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lanternfish.service.analyses.definition import Analysis, Problem
from lanternfish.service.analyses.registry import code_hash, lock_hash, package_of, sources


@dataclass(frozen=True)
class Manifest:
    """An analysis as plain values.

    Attributes:
        schema: JSON schema of the settings, for the form. defaults: a value for each setting that
            has one.
        inputs, outputs: lists of dicts with the fields of `Input` and `Output`.
        demo: {title, settings, inputs: {name: {path, filename, size}}}, or None.
        code: SHA-256 of the sources; sources: [{path, text}], the one with `run` first.
        package: {name, version}. environment: {python, lock,
            lock_sha256, gigabytes, minutes}, or None.
        suggests: whether it suggests settings from data.
        cpu_seconds: bound for the defaults; `check_request` gives it for other settings.
        error: why the analysis cannot be used; "" where it can.
    """

    name: str
    version: str = ""
    title: str = ""
    summary: str = ""
    documentation: str = ""
    paper: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    demo: dict[str, Any] | None = None
    code: str = ""
    sources: list[dict[str, str]] = field(default_factory=list)
    package: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] | None = None
    suggests: bool = False
    cpu_seconds: float = 0.0
    seconds: float | None = None
    memory: int | None = None
    arbitrary_code: bool = False
    error: str = ""

    def as_plain(self) -> dict[str, Any]:
        """A dict for JSON."""
        return asdict(self)


def describe(analysis: Analysis) -> Manifest:
    """The manifest of an analysis that is loaded."""
    files = sources(analysis)
    defaults = default_settings(analysis)
    environment = None
    if analysis.environment is not None:
        environment = {
            "python": analysis.environment.python,
            "lock": analysis.environment.lock.read_text(encoding="utf-8"),
            "lock_sha256": lock_hash(analysis),
            "gigabytes": analysis.environment.gigabytes,
            "minutes": analysis.environment.minutes,
        }
    return Manifest(
        name=analysis.name,
        version=analysis.version,
        title=analysis.title,
        summary=analysis.summary,
        documentation=analysis.documentation,
        paper=analysis.paper,
        schema=analysis.settings.model_json_schema(),
        defaults=defaults,
        inputs=[{**asdict(each), "suffixes": list(each.suffixes)} for each in analysis.inputs],
        outputs=[asdict(each) for each in analysis.outputs],
        demo=_demo(analysis),
        code=code_hash(files),
        sources=files,
        package=package_of(analysis.name),
        environment=environment,
        suggests=analysis.suggest is not None,
        cpu_seconds=_bound_of_defaults(analysis, defaults),
        seconds=analysis.seconds,
        memory=analysis.memory,
        arbitrary_code=analysis.arbitrary_code,
    )


def default_settings(analysis: Analysis) -> dict[str, Any]:
    """A value for each setting that has a default, as JSON."""
    found = {}
    for name, each in analysis.settings.model_fields.items():
        if not each.is_required():
            value = each.get_default(call_default_factory=True, validated_data={})
            part = analysis.settings.model_construct(**{name: value})
            found |= part.model_dump(mode="json", include={name})
    return found


def check_settings(manifest: Manifest, settings: Mapping[str, Any]) -> list[Problem]:
    """Compare values with the schema: field, value, what is allowed. At once, in any process."""
    from jsonschema import Draft202012Validator

    schema = {**manifest.schema}
    schema.setdefault("additionalProperties", False)
    problems = []
    for error in Draft202012Validator(schema).iter_errors(dict(settings)):
        place = ".".join(str(part) for part in error.absolute_path) or "settings"
        text = error.message
        problems.append(Problem(place, error.instance, f"{text[0].upper()}{text[1:]}."))
    return sorted(problems, key=lambda each: each.field)


def _demo(analysis: Analysis) -> dict[str, Any] | None:
    demo = analysis.demo
    if demo is None:
        return None
    inputs = {
        name: {"path": str(path), "filename": Path(path).name, "size": Path(path).stat().st_size}
        for name, path in demo.inputs.items()
    }
    return {"title": demo.title, "settings": dict(demo.settings), "inputs": inputs}


def _bound_of_defaults(analysis: Analysis, defaults: dict[str, Any]) -> float:
    from pydantic import ValidationError

    try:
        return analysis.bound(analysis.settings.model_validate(defaults))
    except ValidationError:  # some settings have no default
        return 0.0 if callable(analysis.cpu_seconds) else float(analysis.cpu_seconds)
