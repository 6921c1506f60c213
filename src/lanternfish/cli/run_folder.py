"""What the command line keeps in a run folder besides the run: how to go on with it.

| file | content |
|---|---|
| ``study.toml`` | the study with all its settings, itself a study file |
| ``model/`` | a copy of the user's model file, for the day when the original has changed |
| ``time.json`` | seconds worked, over all sittings |
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lanternfish.cli.console import Mistake, say
from lanternfish.cli.study_file import Study, read_toml, study_of
from lanternfish.cli.study_text import to_toml
from lanternfish.cli.zoo import ZOO

STUDY = "study.toml"
_SAME = ("model", "model_options", "target", "method", "seed")  # what makes a study this study


def typed(folder: Path) -> str:
    """The folder as it is typed in a shell."""
    return shlex.quote(str(folder))


def program() -> str:
    """What this user types for ``lanternfish``: ``LANTERNFISH_COMMAND`` says it.

    ``./dev`` sets it, whose environment is not on the user's path.
    """
    return os.environ.get("LANTERNFISH_COMMAND", "lanternfish")


def command(verb: str, folder: Path) -> str:
    """A command of ours on a folder, as this user types it."""
    return f"{program()} {verb} {typed(folder)}"


def begin(study: Study, folder: Path) -> None:
    """Claim a folder for a study, or check that it is this study's already.

    Raises:
        Mistake: if it belongs to another study; nothing is touched.
    """
    if (folder / STUDY).is_file():
        _check_same(study, folder)
        return
    from lanternfish.core import Folder

    if study.model_file is not None:
        code = study.model_file.read_bytes()
        Folder(str(folder / "model")).write(study.model_file.name, code)
    title = "The study of this folder; `lanternfish resume` goes on with it."
    Folder(str(folder)).write(STUDY, to_toml(study.source, title).encode())


def _check_same(study: Study, folder: Path) -> None:
    stored, wanted = _flat(_pick(read_toml(folder / STUDY))), _flat(_pick(study.source))
    differing = [
        f"{key} is {_shown(stored.get(key))} there and {_shown(wanted.get(key))} here"
        for key in sorted(stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key)
    ]
    if not differing and study.model_file is not None and _changed(study.model_file, folder):
        differing = [f"{study.model_file.name} has changed since"]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise Mistake(
            f"Expected the study that {folder} was begun with; got another: "
            f"{'; '.join(differing[:3])}{more}: give another folder with --out, or go on with that "
            f"study by `{command('resume', folder)}`."
        )


def _pick(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in _SAME if key in values}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables as dotted keys, as TOML would give them back."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[prefix + key] = list(value) if isinstance(value, tuple) else value
    return found


def _shown(value: Any) -> str:
    return "left out" if value is None else json.dumps(value, default=str)


def _copy_of(file: Path, folder: Path) -> Path:
    return folder / "model" / file.name


def _changed(file: Path, folder: Path) -> bool:
    copy = _copy_of(file, folder)
    return not file.is_file() or not copy.is_file() or file.read_bytes() != copy.read_bytes()


def find_study(folder: Path) -> Study:
    """The study that a run folder was begun with.

    Raises:
        Mistake: if the folder holds none, or one whose model cannot be found.
    """
    if (folder / STUDY).is_file():
        values = read_toml(folder / STUDY)
    elif (folder / "study.json").is_file():
        values = _from_card(folder)
    else:
        raise Mistake(_no_run(folder))
    values = {k: v for k, v in values.items() if k != "out"}
    return study_of(_with_copy(values, folder), folder, str(folder / STUDY))


def _no_run(folder: Path) -> str:
    if not folder.exists():
        got = "nothing there"
    else:
        got = "a folder without one" if folder.is_dir() else "a file"
    return (
        f"Expected a run folder, with {STUDY} in it, at {folder}; got {got}: "
        f"`{program()} demo` and `{program()} run` make them."
    )


def _with_copy(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values, with the folder's copy of the model's file where the original is another now."""
    place, colon, attribute = str(values.get("model", "")).rpartition(":")
    if not colon:
        return values
    file = Path(place)
    copy = _copy_of(file, folder)
    if not _changed(file, folder) or not copy.is_file():
        return values
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # what the model imports may still stand there
    state = "has changed" if file.is_file() else "is gone"
    say(f"{file} {state} since the run began; going on with the copy in {copy.parent}.", "yellow")
    return {**values, "model": f"{copy.resolve()}:{attribute}"}


def _from_card(folder: Path) -> dict[str, Any]:
    """A study begun from Python, by what ``infer`` wrote: a model of the zoo can be found again."""
    from lanternfish.core import Folder

    card = Folder(str(folder)).read_json("study.json")
    try:
        name, method = card["model"]["name"], _without_none(card["method"])
        values = {"target": card["target"], "seed": card["seed"]}
    except (KeyError, TypeError):
        raise Mistake(f"Expected study.json of {folder} as infer wrote it; got another.") from None
    if name not in ZOO:
        raise Mistake(
            f"Expected {STUDY} in {folder}, because the study was begun from Python with a model "
            f'of its own ("{name}"); got none: repeat the call of infer, which goes on from there.'
        )
    return {"model": name, "method": method, **values}


def _without_none(value):
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value


def what_is_kept(folder: Path) -> str:
    """After an interruption: what the folder holds, and the command to go on."""
    if not (folder / STUDY).is_file() and not (folder / "study.json").is_file():
        return "Nothing was begun yet: the same command begins anew."
    done = 0
    with contextlib.suppress(Exception):  # a count is not worth a second error
        done = _count(folder)
    kept = f"{done:,} simulations and the training so far" if done else "The study"
    finished = (folder / "run.json").is_file()
    kept = "The posterior, its simulations and all stages done" if finished else kept
    verb = "is" if kept == "The study" else "are"
    return f"{kept} {verb} kept in {folder}. To go on: {command('resume', folder)}"


def _count(folder: Path) -> int:
    from lanternfish.simulation import open_store

    return sum(len(open_store(p)) for p in (folder / "simulations").iterdir() if p.is_dir())


@contextlib.contextmanager
def sitting(folder: Path) -> Iterator[None]:
    """Add the time of one sitting to the folder's account, however it ends."""
    began = time.monotonic()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            seconds, sittings = time_worked(folder)
            total = {"seconds": seconds + time.monotonic() - began, "sittings": sittings + 1}
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "time.json").write_text(json.dumps(total) + "\n", encoding="utf-8")


def time_worked(folder: Path) -> tuple[float, int]:
    """Seconds and sittings so far."""
    try:
        found = json.loads((folder / "time.json").read_text(encoding="utf-8"))
        return float(found["seconds"]), int(found["sittings"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, 0
