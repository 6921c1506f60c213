"""Study files (TOML): a model, a target, a method, a seed.

    model = "stg"                       # or "my_model.py:model"
    target = "prep_845_082"             # or a file, or a table of numbers
    seed = 0
    [method]
    name = "NPE"
    simulations = 60_000

``docs/study.md`` lists the keys. All mistakes of a file are found at once; each is told with its
key, the value, what is allowed and the fix. Paths are relative to the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanternfish.cli.console import Mistake, sentence
from lanternfish.cli.zoo import ZOO, WrongOptions, file_model, suggest, zoo_model

if TYPE_CHECKING:
    from lanternfish.cli.study_method import AnyMethod
    from lanternfish.cli.study_target import Target
    from lanternfish.core import Model

KEYS = (
    "model", "model_options", "target", "method", "seed", "workers", "out", "check_samples",
)  # fmt: skip
CHECK_SAMPLES = 500  # posterior samples that are simulated to check a run


@dataclass(frozen=True)
class Study:
    """All that a run needs, ready to use.

    Attributes:
        model, target, method, seed: the arguments of ``infer``.
        workers: simulations at a time; None for one for each core.
        out: run folder; None where the study names none.
        check_samples: posterior samples to simulate at the end; 0 for no check.
        source: the study as plain values with absolute paths, to be written as a study file.
        model_file: the user's Python file, where the model is not of the zoo.
    """

    model: Model
    target: Target
    method: AnyMethod
    seed: int
    workers: int | None
    out: Path | None
    check_samples: int
    source: dict[str, Any]
    model_file: Path | None

    def at(self, out: Path | None = None, workers: int | None = None) -> Study:
        """The same study in another folder, with other workers."""
        return replace(self, out=out or self.out, workers=workers or self.workers)


class StudyMistakes(Mistake):
    """The mistakes of a study file.

    Attributes:
        mistakes: one sentence each, after its key.
    """

    def __init__(self, name: str, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        if len(mistakes) == 1:
            super().__init__(f"{name}: {mistakes[0]}")
        else:
            lines = "\n".join(f"  - {m}" for m in mistakes)
            super().__init__(f"{name} has {len(mistakes)} mistakes:\n{lines}")


def read_study(path: Path) -> Study:
    """The study of a TOML file.

    Raises:
        Mistake: if there is no such file, or it is not TOML.
        StudyMistakes: if it has others.
    """
    return study_of(read_toml(path), path.resolve().parent, path.name)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content, or one sentence on what is wrong with it."""
    if not path.is_file():
        got = "a folder" if path.is_dir() else "none"
        raise Mistake(
            f"Expected a study file at {path}; got {got}: "
            "`lanternfish run --example > study.toml` writes one to start from."
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise Mistake(f"Expected {path} to be text in UTF-8; got another encoding.") from None
    except tomllib.TOMLDecodeError as error:
        raise Mistake(
            f"Expected {path} to be TOML; got a mistake in it: {error}. Text stands in quotes, "
            'as in model = "stg".'
        ) from None


def study_of(values: Mapping[str, Any], base: Path, name: str) -> Study:
    """The study that plain values describe.

    Args:
        values: by the keys of a study file.
        base: folder that paths are relative to.
        name: what to call the study in messages.

    Raises:
        StudyMistakes: with all that were found.
    """
    return _Reader(values, base, name).study()


class _Reader:
    """Reads plain values, and collects what is wrong with them."""

    def __init__(self, values: Mapping[str, Any], base: Path, name: str) -> None:
        self.values, self.base, self.name = values, base, name
        self.mistakes: list[str] = []
        self.model_file: Path | None = None

    def wrong(self, key: str, text: str) -> None:
        self.mistakes.append(f"{key}: {text}")

    def study(self) -> Study:
        from lanternfish.cli.study_method import METHODS, read_method
        from lanternfish.cli.study_target import read_target_of
        from lanternfish.core import EmergentProperty

        for key in self.values:
            if key not in KEYS:
                keys = ", ".join(KEYS)
                self.wrong(key, f'Expected keys {keys}; got "{key}"{suggest(key, KEYS)}')
        options = self._options()
        reference, model = self._model(options)
        target = read_target_of(self.values.get("target"), model, self.base, self.wrong)
        default = "EPI" if isinstance(target, EmergentProperty) else METHODS[0]
        method = read_method(self.values.get("method", {}), self.wrong, default)
        if method is not None and target is not None:
            self._fit(method, target)
        seed = self._whole("seed", 0, 0, 2**63 - 1)
        workers = self._whole("workers", None, 1, 4096)
        check_samples = self._whole("check_samples", CHECK_SAMPLES, 0, 10**6)
        out = self._out()
        if check_samples == 1 and isinstance(target, EmergentProperty):
            self.wrong(
                "check_samples",
                "Expected at least 2 for a property, whose standard deviation is checked, or 0 for "
                "no check; got 1.",
            )
        if self.mistakes or model is None or target is None or method is None:
            raise StudyMistakes(self.name, self.mistakes)
        source = {"model": reference, "seed": seed, "check_samples": check_samples}
        source |= {} if workers is None else {"workers": workers}
        source |= {"target": self._target_source(model, target)}
        source |= {"model_options": options} if options else {}
        source |= {"method": method.describe()}
        assert seed is not None  # both have a default that is not None
        assert check_samples is not None
        return Study(
            model, target, method, seed, workers, out, check_samples, source, self.model_file
        )

    def _fit(self, method: AnyMethod, target: Target) -> None:
        """Whether the method is for such targets."""
        from lanternfish.core import EmergentProperty, Observation

        if isinstance(target, getattr(method, "target", Observation)):
            return
        if isinstance(target, EmergentProperty):
            self.wrong(
                "method.name",
                f'Expected a method for emergent properties; got {method.name}: name = "EPI" finds '
                "the distribution of largest entropy that has the property.",
            )
        else:
            self.wrong(
                "target",
                f"Expected an emergent property, [mean, standard deviation] of statistics, for "
                f"{method.name}; got an observation: give pairs, or choose NPE or NLE.",
            )

    def _target_source(self, model: Model, target: Target) -> str | dict:
        from lanternfish.cli.study_target import plain_target
        from lanternfish.core import Observation

        names = [name for name, known in model.targets.items() if known is target]
        if names:
            return names[0]
        if isinstance(target, Observation) and target.arrays():  # too long, so their file is named
            return str((self.base / Path(self.values["target"]).expanduser()).resolve())
        return plain_target(target)

    def _options(self) -> dict[str, Any]:
        options = self.values.get("model_options", {})
        if not isinstance(options, Mapping):
            self.wrong("model_options", f"Expected a table of options; got {options!r}.")
            return {}
        return {key: self._absolute(value) for key, value in options.items()}

    def _absolute(self, value):
        """Text that names a file beside the study as its absolute path; all else as it is."""
        if isinstance(value, str) and "\n" not in value and (self.base / value).is_file():
            return str((self.base / value).resolve())
        return value

    def _model(self, options: dict) -> tuple[str, Model | None]:
        reference = self.values.get("model")
        zoo = ", ".join(ZOO)
        if not isinstance(reference, str) or not reference:
            got = "none" if reference is None else repr(reference)
            self.wrong(
                "model", f'Expected one of {zoo}, or a file such as "my_model.py:model"; got {got}.'
            )
            return "", None
        try:
            return self._named_model(reference, options)
        except Exception as error:  # of the user's code, too
            text = sentence(error)
            key = "model_options" if isinstance(error, WrongOptions) else "model"
            self.wrong(key, text if "Expected" in text else _raised(reference, error))
            return reference, None

    def _named_model(self, reference: str, options: dict) -> tuple[str, Model | None]:
        place, colon, attribute = reference.rpartition(":")
        if not colon and reference.endswith(".py"):
            self.wrong(
                "model",
                f'Expected a file and a name in it; got "{reference}": add the name of the Model, '
                f'as in "{reference}:model".',
            )
            return reference, None
        if not colon:
            return reference, zoo_model(reference, options)
        path = (self.base / Path(place).expanduser()).resolve()
        self.model_file = path
        return f"{path}:{attribute}", file_model(path, attribute, options)

    def _whole(self, key: str, default: int | None, least: int, most: int) -> int | None:
        value = self.values.get(key, default)
        if value is None or (type(value) is int and least <= value <= most):
            return value
        self.wrong(key, f"Expected a whole number from {least} to {most}; got {value!r}.")
        return default

    def _out(self) -> Path | None:
        value = self.values.get("out")
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            self.wrong("out", f'Expected a folder, such as "runs/first"; got {value!r}.')
            return None
        folder = self.base / Path(value).expanduser()
        here = Path.cwd()
        return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _raised(reference: str, error: Exception) -> str:
    text = sentence(error).rstrip(".")
    return f'Expected "{reference}" to give a Model; got {type(error).__name__}: {text}.'
