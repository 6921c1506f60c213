"""Inputs into a work folder, results out of it into the blobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import sqlalchemy as sa

from lanternfish.service.analyses import Manifest
from lanternfish.service.analyses.local import kind_of, results
from lanternfish.service.store import NotFoundError, Result, Store, StoreError, places

LONGEST = 500  # characters of a result's path
COPIED = 1 << 30  # bytes; larger inputs are linked, and must not be written to


class LostInputError(Exception):
    """An input is not there any more."""


Read = Callable[[str, str, int], None]  # (name of an input, its SHA-256, its size)


def lay_out(
    store: Store,
    inputs: Iterable[sa.Row],
    folder: Path,
    read: Read = lambda *_: None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Path]:
    """Put a job's inputs under `folder`, each in a folder of its name; returns their paths.

    Data that stay in their place are hashed as they are read, which `read` is told.

    Args:
        tick: called now and then, as reading may outlast a lease.
    """
    found = {}
    for each in inputs:
        if each.location and not places.is_bucket(each.location):
            found[each.name] = _there(each)
            read(each.name, *places.content(found[each.name], tick))
            continue
        place = folder / each.name / safe_name(each.filename)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            _fetch(store, each, place, read, tick)
        found[each.name] = place
    return found


def safe_name(name: str) -> str:
    """A file name that stays where it is put."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in last).strip()
    while len(kept.encode()) > 200:
        kept = kept[1:]
    return kept if kept.strip(".") else "data"


def gather(store: Store, folder: Path, manifest: Manifest | None) -> list[Result]:
    """Keep every file of an output folder as a blob."""
    outputs = [(each["path"], each["kind"]) for each in manifest.outputs] if manifest else []
    return [keep(store, folder, path, outputs) for path in results(folder)]


def keep(store: Store, folder: Path, path: str, outputs: list[tuple[str, str]]) -> Result:
    """Keep one file of an output folder as a blob."""
    place = folder / path
    if folder.resolve() not in place.resolve().parents or place.is_symlink():
        raise ValueError(f"Expected a result inside of the output folder; got {path}.")
    if len(path) > LONGEST or not path.isprintable():
        raise ValueError(
            f"Expected results with printable paths of at most {LONGEST} characters; "
            f"got {path!r:.80}."
        )
    sha256, size = store.blobs.put(place)
    return Result(path, size, sha256, kind_of(path, outputs))


def _there(each: sa.Row) -> Path:
    path = Path(each.location)
    if not path.exists():
        raise LostInputError(f"Expected data at {path}; they are gone.")
    if each.dataset_id and os.path.realpath(path) != str(path):
        raise LostInputError(f"Expected data at {path} itself; it has become a link elsewhere.")
    return path


def _fetch(store: Store, each: sa.Row, place: Path, read: Read, tick: Callable[[], None]) -> None:
    if each.location:
        try:
            read(each.name, *places.copy(each.location, place, tick))
        except StoreError as error:
            raise LostInputError(str(error)) from None
        return
    try:
        if store.blobs.remote is None and (each.size or 0) > COPIED:
            if not store.blobs.exists(each.sha256):
                raise NotFoundError("gone")
            place.symlink_to(store.blobs.place(each.sha256))
        else:
            store.blobs.fetch(each.sha256, place)
    except NotFoundError:
        raise LostInputError(f"Expected the data {each.filename}; its content is gone.") from None
