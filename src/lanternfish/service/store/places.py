"""Data that stay where they are: a path of this machine, or an object of a bucket (fsspec)."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lanternfish.service.store.errors import NotFoundError, StoreError

SCHEMES = ("s3", "gs", "gcs", "az", "abfs")  # buckets; "file:" and "http:" would go around rules
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Place:
    """What stands at a place: bytes, and what changes when the content does."""

    size: int
    version: str


def is_bucket(location: str) -> bool:
    """Whether a location is in a bucket, rather than a path of this machine."""
    return "://" in location


def clean_bucket(location: str) -> str:
    """The address of an object in one spelling.

    Raises:
        StoreError: it is no address of an object in a bucket.
    """
    parts = urlsplit(location.strip())
    key = parts.path.strip("/")
    fine = parts.scheme in SCHEMES and parts.netloc and "@" not in parts.netloc and key
    fine = fine and not parts.query and not parts.fragment and posixpath.normpath(key) == key
    if not fine or key.startswith("..") or not location.isprintable():
        raise StoreError(
            f"Expected an object of a bucket, as s3://bucket/folder/file.csv ({', '.join(SCHEMES)})"
            f"; got {location[:200]!r}."
        )
    return f"{parts.scheme}://{parts.netloc}/{key}"


def below(location: str, prefix: str) -> bool:
    """Whether a clean address is a prefix itself, or lies below it."""
    root = prefix.strip().rstrip("/")
    return location == root or location.startswith(root + "/")


def look(location: str) -> Place:
    """Look at an object without reading it.

    Raises:
        NotFoundError: there is none, or it cannot be read.
    """
    import fsspec

    try:
        system, path = fsspec.url_to_fs(location)
        system.invalidate_cache()
        told = system.info(path)
    except FileNotFoundError:
        raise NotFoundError(f"Expected an object at {location}; there is none.") from None
    except ImportError as error:
        raise NotFoundError(f"Expected a bucket that this server can read: {error}.") from None
    except (OSError, ValueError) as error:
        raise NotFoundError(f"Expected to read {location}; got: {error!s:.200}.") from None
    if told.get("type") == "directory":
        raise NotFoundError(f"Expected one object; {location} is a folder of them.")
    version = next((str(told[n]) for n in ("ETag", "etag", "generation") if told.get(n)), "")
    return Place(int(told.get("size") or 0), version.strip('"'))


def copy(location: str, to: Path, tick: Callable[[], None] = lambda: None) -> tuple[str, int]:
    """Copy an object to a file that appears when it is whole; returns its SHA-256 and size.

    Args:
        tick: called after each block, as long copies outlast a lease.

    Raises:
        NotFoundError: there is none (any more), or it cannot be read.
        StoreError: the location is no object of a bucket.
    """
    import fsspec

    location = clean_bucket(location)  # a stranger's crate may name anything
    state, size, temporary = hashlib.sha256(), 0, to.with_name(".part")
    try:
        with fsspec.open(location, "rb") as source, open(temporary, "wb") as target:
            while block := source.read(_BLOCK):  # type: ignore[union-attr]
                state.update(block)
                size += target.write(block)
                tick()
    except FileNotFoundError:
        raise NotFoundError(f"Expected data at {location}; they are gone.") from None
    os.replace(temporary, to)
    return state.hexdigest(), size


def content(path: Path, tick: Callable[[], None] = lambda: None) -> tuple[str, int]:
    """SHA-256 and size of a file; of a folder, those of the list of its files and their SHA-256."""
    if path.is_dir():
        total, lines = 0, []
        for each in sorted(p for p in path.rglob("*") if p.is_file()):
            sha256, size = content(each, tick)
            total += size
            lines.append(f"{sha256}  {each.relative_to(path).as_posix()}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest(), total
    state, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
            size += len(block)
            tick()
    return state.hexdigest(), size
