"""File contents, named by their SHA-256, in a local folder or any object store of fsspec (S3).

A blob is written first (temporary name, fsync, rename; an object store's put is one step) and
referenced by the database second, so that whatever the database names is there whole. The same
content is kept once. `partial` is where unfinished uploads grow, always on a local disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lanternfish.service.store.errors import NotFoundError
from lanternfish.service.store.identity import new_id

BLOCK = 1 << 20


@dataclass(frozen=True)
class Blobs:
    """Where contents are: `root` on `remote` (fsspec), or a local folder where `remote` is None."""

    root: str
    local: Path
    remote: Any = None

    def place(self, sha256: str) -> str:
        """Path of a blob; refuses whatever is not a SHA-256 in hexadecimal."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise NotFoundError(f"Expected a SHA-256 of 64 hexadecimal digits; got {sha256!r}.")
        return f"{self.root}/{sha256[:2]}/{sha256}"

    def exists(self, sha256: str) -> bool:
        """Whether the content is here, whole."""
        place = self.place(sha256)
        return self.remote.exists(place) if self.remote else os.path.exists(place)

    def put(self, path: str | os.PathLike, *, move: bool = False) -> tuple[str, int]:
        """Keep a file's content; returns its SHA-256 and size. `move`: the file may be consumed."""
        sha256, size = digest(path)
        self.adopt(path, sha256, move=move)
        return sha256, size

    def adopt(self, path: str | os.PathLike, sha256: str, *, move: bool = True) -> None:
        """Keep a file whose SHA-256 is known already: whoever calls has hashed it."""
        place = self.place(sha256)
        if self.remote is None and self.exists(sha256):
            os.utime(place)  # as new again: what sweeps up old contents leaves it alone
            if move:
                os.unlink(path)
        elif self.remote:
            self.remote.put_file(os.fspath(path), place)
            if move:
                os.unlink(path)
        else:
            _keep(Path(path), Path(place), self.local, move)

    @contextlib.contextmanager
    def open(self, sha256: str, start: int = 0) -> Iterator[IO[bytes]]:
        """The content from byte `start`, to be read in blocks."""
        place = self.place(sha256)
        try:
            file = self.remote.open(place, "rb") if self.remote else open(place, "rb")  # noqa: SIM115
        except FileNotFoundError:
            raise NotFoundError(f"Expected the content {sha256[:12]}…; it is gone.") from None
        with file:
            file.seek(start)
            yield file

    def fetch(self, sha256: str, to: Path) -> None:
        """Put the content at `to`, as a file of its own."""
        temporary = to.with_name(f".{to.name[:60]}.{new_id()}")
        try:
            with self.open(sha256) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target, BLOCK)
            os.replace(temporary, to)
        finally:
            temporary.unlink(missing_ok=True)

    def delete(self, sha256: str) -> None:
        """Forget a content, which nothing names any more; fine if it is gone already."""
        place = self.place(sha256)
        with contextlib.suppress(FileNotFoundError):
            self.remote.rm_file(place) if self.remote else os.unlink(place)

    def all(self) -> Iterator[str]:
        """SHA-256 of every content."""
        paths = self.remote.find(self.root) if self.remote else Path(self.root).glob("??/*")
        for path in paths:
            name = str(path).rsplit("/", 1)[-1]
            if len(name) == 64:
                yield name

    def partial(self, upload_id: str) -> Path:
        """Where an upload grows before it is whole: a file on a local disk."""
        if not upload_id.isalnum():
            raise NotFoundError(f"Expected the id of an upload; got {upload_id!r}.")
        return self.local / "partial" / upload_id


def open_blobs(url: str | None, folder: Path) -> Blobs:
    """The blobs at an fsspec `url` ("s3://bucket/prefix"), or in `folder` itself where None."""
    local = folder / "blobs"
    for name in ("partial", "new"):
        (local / name).mkdir(parents=True, exist_ok=True)
    if url is None:
        return Blobs(str(local), local)
    import fsspec

    remote, root = fsspec.url_to_fs(url)
    return Blobs(root.rstrip("/"), local, remote)


def digest(path: str | os.PathLike) -> tuple[str, int]:
    """SHA-256 and size of a file, read in blocks."""
    with open(path, "rb") as file:
        state = hashlib.file_digest(file, "sha256")
        return state.hexdigest(), file.tell()


def _keep(path: Path, place: Path, local: Path, move: bool) -> None:
    place.parent.mkdir(exist_ok=True)
    temporary = local / "new" / new_id()
    try:
        if move:
            _rename_or_copy(path, temporary)
        else:
            shutil.copyfile(path, temporary)
        _sync(temporary)
        os.replace(temporary, place)
        _sync(place.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _rename_or_copy(path: Path, to: Path) -> None:
    try:
        os.rename(path, to)
    except OSError:  # another disk
        shutil.copyfile(path, to)
        path.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some file systems do not sync folders
            raise
    finally:
        os.close(handle)
