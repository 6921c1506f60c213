"""Files that are whole or absent: NPZ, JSON and safetensors at a path or any fsspec URL.

A local file is written beside its place, flushed to disk and renamed; an object store makes an
upload visible at its end. A reader never meets half a file that this module wrote.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec
import numpy as np


class DamagedFile(ValueError):
    """A file of a run that cannot be read."""


@dataclass(frozen=True)
class Folder:
    """A folder at a local path or fsspec URL (``s3://bucket/run``, ``memory://run``)."""

    url: str

    @cached_property
    def _place(self):
        try:
            return fsspec.core.url_to_fs(os.fspath(self.url))
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"Expected a path or fsspec URL; got {self.url!r}: {error}."
            ) from error

    def _path(self, name: str) -> str:
        return f"{self._place[1]}/{name}"

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{os.fspath(self.url).rstrip('/')}/{name}")

    def exists(self, name: str) -> bool:
        return self._place[0].exists(self._path(name))

    def names(self) -> list[str]:
        """Names of the files in the folder, sorted; none where it is absent."""
        system, root = self._place
        try:
            found = system.ls(root, detail=False, refresh=True) if system.exists(root) else []
        except TypeError:
            found = system.ls(root, detail=False)
        names = (os.path.basename(str(p).rstrip("/")) for p in found)
        return sorted(n for n in names if not n.startswith("."))

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file, or leave what was there.

        Raises:
            OSError: with one sentence, where the disk is full or refuses.
        """
        system, root = self._place
        part = f"{root}/.{name}.{uuid.uuid4().hex[:8]}.part"
        try:
            system.makedirs(root, exist_ok=True)
            if "file" in _protocols(system):
                _write_local(part, self._path(name), data)
            else:
                system.pipe_file(self._path(name), data)
        except OSError as error:
            raise OSError(
                error.errno,
                f"Expected to write {len(data):,} bytes to {self._path(name)}; got "
                f"'{error.strerror or error}'. What was written before is whole: free some space "
                "or give another folder, and repeat the call to go on",
            ) from error

    def read(self, name: str) -> bytes:
        try:
            return self._place[0].cat_file(self._path(name))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"Expected the file {name} in {self.url}; got none: is this a run folder?"
            ) from None

    def open(self, name: str):
        """The file for reading, for parts of a large one."""
        return self._place[0].open(self._path(name), "rb")

    def write_json(self, name: str, value) -> None:
        self.write(name, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n")

    def read_json(self, name: str):
        try:
            return json.loads(self.read(name))
        except ValueError as error:  # not JSON, or not even text
            raise DamagedFile(_damaged(self.url, name, str(error))) from None

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        plain: dict[str, Any] = {k: np.asarray(v) for k, v in arrays.items()}
        objects = [k for k, v in plain.items() if v.dtype.hasobject]
        if objects:
            raise TypeError(f"Expected arrays of numbers or text; got objects in {objects[0]}.")
        buffer = io.BytesIO()
        np.savez(buffer, **plain)
        self.write(name, buffer.getvalue())

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        data = self.read(name)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return {k: stored[k] for k in stored.files}
        except Exception as error:
            raise DamagedFile(_damaged(self.url, name, str(error))) from None

    def write_weights(self, name: str, weights: Mapping[str, np.ndarray]) -> None:
        from safetensors.numpy import save

        self.write(name, save({k: np.ascontiguousarray(v) for k, v in weights.items()}))

    def read_weights(self, name: str) -> dict[str, np.ndarray]:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return load(self.read(name))
        except SafetensorError as error:
            raise DamagedFile(_damaged(self.url, name, str(error))) from None

    def remove(self, name: str) -> None:
        self._place[0].rm_file(self._path(name))


def _protocols(system) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _write_local(part: str, path: str, data: bytes) -> None:
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def _damaged(url, name: str, reason: str) -> str:
    return (
        f"Expected a whole file {name} in {url}; got a damaged one ({reason or 'cut short'}): "
        "delete that file and repeat the call; what the other files hold is kept."
    )
