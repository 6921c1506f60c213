"""What an analysis is: plain values and two functions. Needs pydantic, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lanternfish.service.analyses.job import Job

GROUP = "lanternfish.analyses"  # of entry points
KINDS = ("picture", "table", "report", "run", "video", "data", "file")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Input:
    """One named input file.

    Attributes:
        name: key in `job.inputs`.
        title, help: what the page shows.
        suffixes: endings that fit, as (".csv", ".nwb"); empty: any.
        required: whether a job needs it.
    """

    name: str
    title: str
    help: str = ""
    suffixes: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Output:
    """One output: a path in the output folder, or a pattern of paths ("figures/*.png").

    Attributes:
        kind: picture, table, report, run, video, data or file.
        required: whether a job without it has failed.
        exact: whether the same request gives the same bytes; False for what tells dates or times.
            Of several outputs that a path fits, the first counts.
    """

    path: str
    title: str
    kind: str = "file"  # one of KINDS
    required: bool = True
    exact: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Expected a kind of {', '.join(KINDS)}; got {self.kind!r}.")


@dataclass(frozen=True)
class Demo:
    """Data and settings that show an analysis with one click, in a minute or two.

    Attributes:
        settings: values that differ from the defaults.
        inputs: path of the file for each named input.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    title: str = "Demo"


@dataclass(frozen=True)
class Environment:
    """The Python that an analysis runs in, where it is not that of the platform.

    Attributes:
        lock: a requirements file with a hash for every package (`uv pip compile
            --generate-hashes`), pydantic among them. It is built once for each content.
        python: version, as "3.12"; None: that of the platform.
        gigabytes, minutes: what a first build takes on disk and in time, said before it begins.
    """

    lock: Path
    python: str | None = None
    gigabytes: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Problem:
    """What is wrong with a request, before it is queued.

    Attributes:
        field: the setting ("training.epochs") or input ("inputs.recording").
        value: what came.
        expected: what is allowed, and the fix: a sentence.
    """

    field: str
    value: Any
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: {self.expected}"


@dataclass(frozen=True)
class Suggestion:
    """Settings that the data suggest.

    Attributes:
        values: by name of the setting. words: what was seen, a sentence or two for the form.
    """

    values: Mapping[str, Any]
    words: str = ""


def _fine(settings: Any, inputs: Mapping[str, Path]) -> list[Problem]:
    return []


@dataclass(frozen=True)
class Analysis:
    """An analysis, as its package exports it.

    Attributes:
        name: as that of its entry point: small letters, digits and underscores.
        version: changes whenever results may change.
        title, summary: a few words, and a sentence.
        documentation: markdown: what it computes, what the data must be, how to read results.
        paper: DOI or address of the method's paper.
        settings: a pydantic model: fields with title, description, bounds, default; a unit as
            `json_schema_extra={"unit": "ms"}`.
        inputs, outputs: named and typed. A job is started for each file of the first input.
        run: run(job): does the work, in a process of its own.
        validate: validate(settings, inputs) -> list of `Problem`: looks at settings and the data's
            header, in a second or two, before a job is queued.
        suggest: suggest(inputs) -> `Suggestion`: settings that the data suggest, in seconds; the
            form offers them. ValueError: a sentence on why there are none.
        demo: see `Demo`.
        environment: see `Environment`; None: that of the platform.
        cpu_seconds: bound on the CPU time of a job: a number, or a function of the settings.
        code: further packages or modules whose code is part of this one, as
            ("lanternfish.analyses.behaviour",), beside the package that defines `run`.
        seconds, memory: bounds of one attempt, wall-clock seconds and bytes; None: none.
        arbitrary_code: whether its settings or inputs may hold code, which shared platforms refuse
            without a sandbox.
    """

    name: str
    version: str
    title: str
    run: Callable[[Job], None]
    settings: type[BaseModel]
    summary: str = ""
    documentation: str = ""
    paper: str = ""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    validate: Callable[[Any, Mapping[str, Path]], list[Problem]] = _fine
    suggest: Callable[[Mapping[str, Path]], Suggestion] | None = None
    demo: Demo | None = None
    environment: Environment | None = None
    cpu_seconds: float | Callable[[Any], float] = 3_600.0
    code: tuple[str, ...] = ()
    seconds: float | None = None
    memory: int | None = None
    arbitrary_code: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"Expected a name of small letters, digits and underscores; got {self.name!r}."
            )
        names = [each.name for each in self.inputs]
        if len(set(names)) < len(names):
            raise ValueError(f"Expected inputs with different names; got {names}.")

    def bound(self, settings: Any) -> float:
        """Bound on the CPU seconds of a job with these settings."""
        return float(self.cpu_seconds(settings) if callable(self.cpu_seconds) else self.cpu_seconds)
