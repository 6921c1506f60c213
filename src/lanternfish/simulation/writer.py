"""Writing a campaign into a store: what is there already, what is missing, one shard at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lanternfish.core import DamagedFile, Folder, Simulations
from lanternfish.simulation.plan import Plan
from lanternfish.simulation.store import (
    FORMAT,
    IDENTITY,
    MANIFEST,
    SimulationStore,
    digest,
    is_shard,
    read_manifest,
    read_shard,
    shard_name,
)


@dataclass(frozen=True)
class StoreWriter:
    """Writes the shards of one plan, and knows which are there already."""

    store: SimulationStore
    plan: Plan

    @classmethod
    def begin(cls, folder: Folder, plan: Plan) -> StoreWriter:
        """A writer, after noting the plan in the store's list. A store without a shard is nobody's.

        Raises:
            ValueError: if the store belongs to another model, seed, shard size or parameters.
        """
        mine = _describe(plan)
        if folder.exists(MANIFEST) and any(map(is_shard, folder.names())):
            mine = _joined(folder, read_manifest(folder), mine)
        folder.write_json(MANIFEST, mine)
        return cls(SimulationStore(folder), plan)

    def missing(self) -> Iterator[tuple[int, int, np.ndarray | None, str]]:
        """The plan's shards in order: range, then statuses where it is there, or why it is not.

        A shard that is damaged counts as absent.
        """
        names = set(self.store.folder.names())
        compared = False
        for a, b in self.plan.ranges():
            if shard_name(a) not in names:
                yield a, b, None, ""
                continue
            try:
                found = read_shard(self.store, a, b)
            except DamagedFile:
                yield a, b, None, f"The shard from simulation {a} was damaged and computed anew."
                continue
            if not compared:
                self._compare(found, a, b)
                compared = True
            yield a, b, found.status, ""

    def _compare(self, found: Simulations, a: int, b: int) -> None:
        """Refuse parameters that came from another source than the plan's."""
        close = np.isclose(self.plan.theta(a, b), found.theta.array, rtol=1e-3, atol=1e-9)
        if close.mean() < 0.5:  # another machine may round differently, and no more
            raise ValueError(
                f"Expected the parameters that {self.store.folder.url} was begun with; got others "
                f"from the {self.plan.source.name.split(':')[0]}: give another folder."
            )

    def add(self, start: int, shard: Simulations) -> None:
        """Write a shard, whole or not at all."""
        messages = np.array(shard.messages or [""])
        extra = {"messages": messages, "identity": np.array(self.store.identity)}
        self.store.folder.write_arrays(shard_name(start), {**shard.arrays(), **extra})


def _describe(plan: Plan) -> dict:
    """What the store's list says of a plan."""
    model = plan.model.describe()
    model = json.loads(json.dumps({**model, "prior": digest(model["prior"])}))
    segment = {"first": plan.first, "n": plan.n, "theta": plan.source.name}
    return {
        "format": FORMAT,
        "model": model,
        "seed": plan.seed,
        "shard_size": plan.shard_size,
        "segments": [segment],
    }


def _joined(folder: Folder, old: dict, new: dict) -> dict:
    """The list of a store with one more segment, or with its last one grown."""
    begun = f"that {folder.url} was begun with"
    for part in IDENTITY:
        if old["model"][part] != new["model"][part]:
            raise ValueError(
                f"Expected the model {begun}; got one that differs in its {part}: "
                "give another folder, or the model as it was."
            )
    for part, words in (("seed", "seed"), ("shard_size", "shard size")):
        if old[part] != new[part]:
            raise ValueError(
                f"Expected the {words} {begun}, {old[part]}; got {new[part]}: "
                f"give that one, or give another folder."
            )
    segment = new["segments"][0]
    kept = []
    for other in old["segments"]:
        if other["first"] == segment["first"]:
            _grow(folder, other, segment, old["shard_size"])
        elif _overlap(other, segment):
            end = other["first"] + other["n"]
            raise ValueError(
                f"Expected simulations beside those in {folder.url}, which has numbers "
                f"{other['first']} to {end - 1}; got {segment['first']} on: set first={end}."
            )
        else:
            kept.append(other)
    return {**old, "segments": sorted([*kept, segment], key=lambda s: s["first"])}


def _grow(folder: Folder, old: dict, new: dict, shard_size: int) -> None:
    """Make a segment longer: its last shard, if it is not full, is to be computed anew."""
    if old["theta"] != new["theta"]:
        raise ValueError(
            f"Expected the parameters that {folder.url} was begun with "
            f"({old['theta'].split(':')[0]}); got others ({new['theta'].split(':')[0]}): "
            "give another folder."
        )
    if new["n"] < old["n"]:
        raise ValueError(
            f"Expected n of at least {old['n']}, which {folder.url} is to hold; got {new['n']}: "
            "read fewer with open_store(...).load(first, stop)."
        )
    last = old["first"] + old["n"] // shard_size * shard_size
    if new["n"] > old["n"] and old["n"] % shard_size and folder.exists(shard_name(last)):
        folder.remove(shard_name(last))


def _overlap(one: dict, other: dict) -> bool:
    first, last = sorted((one, other), key=lambda s: s["first"])
    return first["n"] > 0 and first["first"] + first["n"] > last["first"]
