"""Finding analyses by their entry points. Loading one imports its package: not for the server."""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import importlib.util
import inspect
from pathlib import Path

from lanternfish.service.analyses.definition import GROUP, Analysis


class UnknownAnalysisError(LookupError):
    """There is no analysis of this name."""


def entries() -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points by name; where two packages take one name, the first by package wins."""
    found = sorted(
        importlib.metadata.entry_points(group=GROUP),
        key=lambda entry: (entry.name, entry.dist.name if entry.dist else ""),
    )
    named: dict[str, importlib.metadata.EntryPoint] = {}
    for entry in found:
        named.setdefault(entry.name, entry)
    for name, value in _OURS.items():  # also where the package runs from a checkout
        named.setdefault(name, importlib.metadata.EntryPoint(name, value, GROUP))
    return named


_OURS = {
    "npe": "lanternfish.analyses.npe:analysis",
    "calcium": "lanternfish.analyses.calcium:analysis",
    "calcium_import": "lanternfish.analyses.calcium.imported:analysis",
    "epi": "lanternfish.analyses.epi:analysis",
    "explore": "lanternfish.analyses.explore:analysis",
    "sweep": "lanternfish.analyses.sweep:analysis",
    "identities": "lanternfish.analyses.identities:analysis",
    "pose": "lanternfish.analyses.pose.training:analysis",
    "pose_frames": "lanternfish.analyses.pose.frames:analysis",
    "pose_import": "lanternfish.analyses.pose.imported:analysis",
    "tracking": "lanternfish.analyses.tracking:analysis",
}


def names() -> list[str]:
    """Names of all analyses, in order; nothing is imported."""
    return sorted(entries())


def load(name: str) -> Analysis:
    """Import an analysis.

    Raises:
        UnknownAnalysisError: there is none of this name.
        TypeError: its entry point gives something else.
    """
    known = entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f'; do you mean "{near[0]}"?' if near else "."
        raise UnknownAnalysisError(
            f'Expected an analysis of {", ".join(sorted(known))}; got "{name}"{hint}'
        )
    found = known[name].load()
    if not isinstance(found, Analysis):
        raise TypeError(f"Expected an Analysis at {known[name].value}; got {found!r}.")
    if found.name != name:
        raise ValueError(f'Expected the entry point "{name}" to have that name; got {found.name}.')
    return found


def package_of(name: str) -> dict[str, str]:
    """Name and version of the package that an analysis comes from."""
    entry = entries()[name]
    if entry.dist is not None:
        return {"name": entry.dist.name, "version": entry.dist.version}
    from lanternfish import __version__

    return {"name": "lanternfish", "version": __version__}


def sources(analysis: Analysis) -> list[dict[str, str]]:
    """The code that will run: path and text of the files beside the one that defines `run`.

    A module of its own is one file; a package is all of its Python files. Those of `analysis.code`
    follow, by their whole names.

    Raises:
        ModuleNotFoundError: `analysis.code` names what is not there.
    """
    own = _own(analysis)
    return own + [each for name in analysis.code for each in _further(name)]


def _own(analysis: Analysis) -> list[dict[str, str]]:
    file = inspect.getsourcefile(inspect.unwrap(analysis.run))
    if file is None:
        return []
    path = Path(file)
    if not (path.parent / "__init__.py").is_file():
        return [{"path": path.name, "text": path.read_text(encoding="utf-8")}]
    root = path.parent
    files = _texts(root, root.name)
    first = f"{root.name}/{path.relative_to(root).as_posix()}"
    return sorted(files, key=lambda each: each["path"] != first)  # the one that defines `run`


def _further(name: str) -> list[dict[str, str]]:
    """Files of a package or module by its name; it is found, not imported."""
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # of a package that it would be in
        found = None
    if found is None or not found.has_location or found.origin is None:
        raise ModuleNotFoundError(
            f'Expected in `code` the names of packages or modules written in Python; got "{name}".'
        )
    path, place = Path(found.origin), name.replace(".", "/")
    if found.submodule_search_locations is None:
        return [{"path": f"{place}.py", "text": path.read_text(encoding="utf-8")}]
    return _texts(path.parent, place)


def _texts(root: Path, name: str) -> list[dict[str, str]]:
    """All Python files below a folder, which the paths call `name`."""
    files = sorted(each for each in root.rglob("*.py") if "__pycache__" not in each.parts)
    return [
        {
            "path": f"{name}/{each.relative_to(root).as_posix()}",
            "text": each.read_text(encoding="utf-8"),
        }
        for each in files
    ]


def code_hash(files: list[dict[str, str]]) -> str:
    """SHA-256 of source files, whatever their order."""
    state = hashlib.sha256()
    for each in sorted(files, key=lambda each: each["path"]):
        for part in (each["path"], each["text"]):
            data = part.encode()
            state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


def lock_hash(analysis: Analysis) -> str | None:
    """SHA-256 of the lock and the version of Python; None where there is no environment."""
    if analysis.environment is None:
        return None
    state = hashlib.sha256((analysis.environment.python or "").encode() + b"\n")
    state.update(analysis.environment.lock.read_bytes())
    return state.hexdigest()
