"""Durable simulations: a folder of shards that are whole or absent, and what they belong to.

| file | content |
|---|---|
| ``simulations.json`` | format, model, seed, shard size, and the segments: ranges of simulations |
| ``shard-000004096.npz`` | simulations from number 4096 on, their messages and their identity |

The shards are the truth. What is read of one is checked: the archive's sums, its shape, its seeds,
and the identity of the model and seed that it was made with.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from lanternfish.core import Column, DamagedFile, Folder, Simulations, Status
from lanternfish.core.columns import width
from lanternfish.core.mapped import allocate, release
from lanternfish.core.seeds import simulation_seeds
from lanternfish.simulation.outcome import distinct
from lanternfish.simulation.progress import tally

FORMAT = 1
MANIFEST = "simulations.json"
IDENTITY = ("parameters", "statistics", "prior", "simulator")  # parts of a model told apart


class SimulationStore:
    """Simulations in a folder: whole shards, read one at a time.

    Args:
        folder: a path, an fsspec URL or a ``Folder``.

    Raises:
        FileNotFoundError: if there are no simulations.
        DamagedFile: if the list of simulations cannot be read.
    """

    def __init__(self, folder: str | os.PathLike | Folder) -> None:
        self.folder = as_folder(folder)
        self._manifest = read_manifest(self.folder)
        model = self._manifest["model"]
        self.parameters = tuple(Column(*c) for c in model["parameters"])
        self.statistics = tuple(Column(*c) for c in model["statistics"])
        self.shard_size: int = self._manifest["shard_size"]
        self.seed: int = self._manifest["seed"]

    @property
    def planned(self) -> int:
        """Simulations that the store is to hold when its campaigns are done."""
        return sum(s["n"] for s in self._manifest["segments"])

    def __len__(self) -> int:
        """Simulations that it holds."""
        return sum(stop - start for start, stop in self._present())

    def _present(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """Ranges of the shards that are there, in order."""
        names = set(self.folder.names())
        for a, b in ranges(self._manifest):
            wanted = b > first and (stop is None or a < stop)
            if wanted and shard_name(a) in names:
                yield a, b

    def shards(self, first: int = 0, stop: int | None = None) -> Iterator[Simulations]:
        """The shards one at a time, in order; of simulations ``first`` to ``stop - 1``.

        Raises:
            DamagedFile: if a shard cannot be read. The campaign's call computes it anew.
        """
        for a, b in self._present(first, stop):
            found = read_shard(self, a, b)
            yield found[max(first - a, 0) : None if stop is None else stop - a]

    def load(self, first: int = 0, stop: int | None = None) -> Simulations:
        """All simulations that it holds, or those numbered ``first`` to ``stop - 1``."""
        n = sum(min(b, b if stop is None else stop) - max(a, first)
                for a, b in self._present(first, stop))  # fmt: skip
        whole = Rows(n, self.parameters, self.statistics)
        for part in self.shards(first, stop):
            whole.append(part)
        return whole.simulations()

    def counts(self) -> dict[Status, int]:
        """How many simulations came to which end; reads one byte of each."""
        numbers = np.zeros(len(Status), np.int64)
        for a, _ in self._present():
            numbers += tally(read_part(self.folder, shard_name(a), "status"))
        return {s: int(numbers[s]) for s in Status if numbers[s]}

    @cached_property
    def identity(self) -> str:
        """Digest of model and seed, which every shard carries."""
        return identity_of(self._manifest["model"], self.seed)

    def __repr__(self) -> str:
        return (
            f"SimulationStore of {len(self):,} of {self.planned:,} simulations in {self.folder.url}"
        )


def open_store(folder: str | os.PathLike | Folder) -> SimulationStore:
    """The store in a folder; see ``SimulationStore``."""
    return SimulationStore(folder)


class Rows:
    """Simulations that grow to a number known before, without a second copy.

    Where they are too large for memory they are mapped from files (``core.mapped``).
    """

    def __init__(self, n: int, parameters, statistics) -> None:
        self._columns = parameters, statistics
        self._arrays = {
            "theta": allocate((n, width(parameters))),
            "x": allocate((n, width(statistics))),
            "status": np.empty(n, np.int8),
            "weight": np.empty(n),
            "seeds": np.empty(n, np.uint64),
        }
        self._messages: tuple[str, ...] = ()
        self._filled = 0

    def append(self, part: Simulations) -> None:
        self.put(self._filled, part)

    def put(self, row: int, part: Simulations) -> None:
        """Take over rows from number ``row`` on."""
        for name, values in part.arrays().items():
            self._arrays[name][row : row + len(part)] = values
        release(self._arrays["theta"], self._arrays["x"])
        self._filled = max(self._filled, row + len(part))
        self._messages = distinct([*self._messages, *part.messages])

    def simulations(self) -> Simulations:
        return Simulations.from_arrays(self._arrays, *self._columns, self._messages)


def as_folder(folder: str | os.PathLike | Folder) -> Folder:
    if isinstance(folder, Folder):
        return folder
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"Expected a path, an fsspec URL or a Folder; got {folder!r}.")
    return Folder(os.fspath(folder))


def shard_name(start: int) -> str:
    return f"shard-{start:09d}.npz"


def is_shard(name: str) -> bool:
    return name.startswith("shard-") and name.endswith(".npz")


def identity_of(model: dict, seed: int) -> str:
    return digest([[model[part] for part in IDENTITY], seed])


def digest(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def stored_shard_size(folder: Folder) -> int | None:
    """The shard size that a store was begun with; None where there is no store yet."""
    return read_manifest(folder)["shard_size"] if folder.exists(MANIFEST) else None


def ranges(manifest: dict) -> Iterator[tuple[int, int]]:
    """Range of each shard that a store is to hold."""
    size = manifest["shard_size"]
    for segment in manifest["segments"]:
        stop = segment["first"] + segment["n"]
        for start in range(segment["first"], stop, size):
            yield start, min(start + size, stop)


def read_manifest(folder: Folder) -> dict:
    found = folder.read_json(MANIFEST)
    keys = ("model", "seed", "shard_size", "segments")
    if not isinstance(found, dict) or any(key not in found for key in ("format", *keys)):
        raise DamagedFile(
            f"Expected a list of simulations in {folder.url}/{MANIFEST}; got something else: "
            "delete that file and repeat the call; what the other files hold is kept."
        )
    if found["format"] > FORMAT:
        raise ValueError(
            f"Expected simulations of format {FORMAT} or older in {folder.url}; got "
            f"{found['format']}: update lanternfish."
        )
    return found


def read_part(folder: Folder, name: str, part: str) -> np.ndarray:
    """One array of a shard, without reading the rest."""
    try:
        with folder.open(name) as file, np.load(file, allow_pickle=False) as stored:
            return stored[part]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise _damaged(folder, name, str(error)) from None


def read_shard(store: SimulationStore, a: int, b: int) -> Simulations:
    """Simulations ``a`` to ``b - 1``, checked.

    Raises:
        DamagedFile: if they are not what they should be.
        ValueError: if they belong to another model or seed.
    """
    name = shard_name(a)
    arrays = store.folder.read_arrays(name)
    if "identity" in arrays and str(arrays["identity"]) != store.identity:
        raise ValueError(
            f"Expected simulations of this model and seed in {store.folder.url}/{name}; got "
            "others: give another folder."
        )
    m, d, k = b - a, width(store.parameters), width(store.statistics)
    shapes = {"theta": (m, d), "x": (m, k), "status": (m,), "weight": (m,), "seeds": (m,)}
    got = {part: arrays[part].shape for part in shapes if part in arrays}
    if got != shapes or not {"messages", "identity"} <= arrays.keys():
        raise _damaged(store.folder, name, f"shapes {got}")
    if not np.array_equal(arrays["seeds"], simulation_seeds(store.seed, a, b)):
        raise _damaged(store.folder, name, "other seeds")
    messages = distinct(arrays["messages"].tolist())
    return Simulations.from_arrays(arrays, store.parameters, store.statistics, messages)


def _damaged(folder: Folder, name: str, reason: str) -> DamagedFile:
    return DamagedFile(
        f"Expected a whole file {name} in {folder.url}; got a damaged one ({reason}): repeat the "
        "call that simulated, which computes it anew; what the other files hold is kept."
    )
