"""Running a job anew from its crate alone, and comparing what comes out.

The crate names the analysis, its version and the SHA-256 of its code; the package must be installed
(its environment is built from the analysis's own lock). Inputs are checked against their hashes
before anything runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lanternfish.service.analyses import Output, find_manifest
from lanternfish.service.analyses.local import is_exact, results
from lanternfish.service.store import NotFoundError, StoreError, places
from lanternfish.service.worker.environments import python_for
from lanternfish.service.worker.process import Child

LARGEST = 1 << 40  # bytes that a crate may unpack to


class ReplayError(ValueError):
    """The crate cannot be replayed here; says why."""


@dataclass(frozen=True)
class Compared:
    """One output: "equal", "different", "missing", "new", or "not exact" (dates and times)."""

    path: str
    verdict: str


def replay(
    crate: Path, folder: Path, log: Callable[[bytes], None] = lambda data: None
) -> list[Compared]:
    """Run the job of a crate in `folder`, and compare the SHA-256 of each output.

    Raises:
        ReplayError: it is no crate of ours, an input is not what it was, the analysis or its code
            is another here, or the job fails.
    """
    found = unpack(crate, folder)
    analysis = found["analysis"]
    manifest = find_manifest(analysis["name"])
    if manifest.error:
        raise ReplayError(f"{analysis['name']} cannot be used here: {manifest.error}")
    if manifest.version != analysis["version"] or (
        analysis["code_sha256"] and manifest.code != analysis["code_sha256"]
    ):
        raise ReplayError(
            f"Expected {analysis['name']} {analysis['version']} with the code of the crate; got "
            f"{manifest.version}"
            + (", with other code" if manifest.version == analysis["version"] else "")
            + f": install {(analysis['package'] or {}).get('name', 'its package')} "
            f"{(analysis['package'] or {}).get('version', '')}."
        )
    python, variables = python_for(manifest, folder / "environments", lambda text: None)
    task = _task(found, folder)
    variables = {**os.environ, **variables, "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
    child = Child(
        [python, "-m", "lanternfish.service.analyses.child", str(task)],
        variables,
        folder / "output",
        log=log,
        message=lambda message: None,
    )
    while not child.wait(1.0):
        pass
    end = child.close()
    if end.state != "succeeded":
        raise ReplayError(f"The job failed: {end.reason or f'exit code {end.code}'}")
    outputs = [Output(**each) for each in manifest.outputs]
    return compare(found["outputs"], folder / "output", outputs)


def compare(wanted: list[dict[str, Any]], folder: Path, outputs: list[Output]) -> list[Compared]:
    """What an output folder holds, against the outputs of a certificate."""
    hashes = {each["path"]: each["sha256"] for each in wanted}
    made = set(results(folder))
    found = []
    for path in sorted(hashes.keys() | made):
        if path not in made:
            verdict = "missing"
        elif path not in hashes:
            verdict = "new"
        elif _sha256(folder / path) == hashes[path]:
            verdict = "equal"
        else:
            verdict = "different" if is_exact(path, outputs) else "not exact"
        found.append(Compared(path, verdict))
    return found


def unpack(crate: Path, folder: Path) -> dict[str, Any]:
    """Unpack inputs and certificate into `folder`, checked; returns the certificate."""
    if not zipfile.is_zipfile(crate):
        raise ReplayError(f"Expected a crate (ZIP) at {crate}; got something else.")
    with zipfile.ZipFile(crate) as archive:
        names = archive.namelist()
        if "certificate.json" not in names:
            raise ReplayError(f"Expected certificate.json in {crate.name}; there is none.")
        found = json.loads(archive.read("certificate.json"))
        if found.get("format") != "lanternfish-certificate/1":
            raise ReplayError(f"Expected a certificate of lanternfish; got {found.get('format')}.")
        _unpack_inputs(archive, found, folder)
    return found


def _unpack_inputs(archive: zipfile.ZipFile, found: dict, folder: Path) -> None:
    inside = {each.filename: each for each in archive.infolist()}
    for each in found["inputs"]:
        if each["location"]:
            _in_place(each, folder)
            continue
        name = f"inputs/{each['name']}/{PurePosixPath(each['filename']).name}"
        info = inside.get(name)
        if info is None or info.file_size != each["size"] or info.file_size > LARGEST:
            raise ReplayError(f"Expected {name} of {each['size']} bytes in the crate; it is not.")
        place = folder / "inputs" / PurePosixPath(each["name"]).name / PurePosixPath(name).name
        place.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, open(place, "wb") as target:
            left = each["size"]
            while left > 0 and (block := source.read(min(left, 1 << 20))):
                target.write(block)
                left -= len(block)
        if _sha256(place) != each["sha256"]:
            raise ReplayError(f"Expected {name} as it was; its content is another.")


def _in_place(each: dict, folder: Path) -> None:
    """Data that the crate only names: they must be there still, and the same."""
    location = each["location"]
    try:
        if places.is_bucket(location):
            place = folder / "inputs" / PurePosixPath(each["name"]).name
            place.mkdir(parents=True, exist_ok=True)
            found, _ = places.copy(location, place / PurePosixPath(each["filename"]).name)
        elif Path(location).exists():
            found = places.content(Path(location))[0]
        else:
            raise NotFoundError(f"Expected data at {location}; the crate holds no copy.")
    except StoreError as error:
        raise ReplayError(str(error)) from None
    if each["sha256"] and found != each["sha256"]:
        raise ReplayError(f"Expected data at {location} as they were; their content is another.")


def _task(found: dict, folder: Path) -> Path:
    inputs = {}
    for each in found["inputs"]:
        if each["location"] and not places.is_bucket(each["location"]):
            inputs[each["name"]] = each["location"]
        else:
            place = folder / "inputs" / PurePosixPath(each["name"]).name
            inputs[each["name"]] = str(place / PurePosixPath(each["filename"]).name)
    for name in ("output", "checkpoint"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    task = {
        "analysis": found["analysis"]["name"],
        "code": found["analysis"]["code_sha256"],
        "settings": found["settings"],
        "seed": found["seed"],
        "inputs": inputs,
        "output": str(folder / "output"),
        "checkpoint": str(folder / "checkpoint"),
        "attempt": 1,
    }
    file = folder / "task.json"
    file.write_text(json.dumps(task), encoding="utf-8")
    return file


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
