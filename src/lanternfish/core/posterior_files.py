"""What every posterior stores alike in ``posterior.json``: prior, statistics, target.

The target is an observation or an emergent property. Arrays of an observation stand in
``observation.npz``; the JSON file has their shapes and digests.
"""

from __future__ import annotations

import importlib.metadata

from lanternfish.core.columns import Column
from lanternfish.core.files import DamagedFile, Folder
from lanternfish.core.posterior import Posterior
from lanternfish.core.prior import Prior
from lanternfish.core.properties import EmergentProperty
from lanternfish.core.targets import Observation

_GROUP = "lanternfish.posteriors"
_OBSERVATION = "observation.npz"  # its arrays, where it has some


def write_common(folder: Folder, posterior: Posterior, details: dict) -> None:
    """Write ``posterior.json``; ``details`` belong to the kind of posterior."""
    target = posterior.target
    if isinstance(target, Observation) and target.arrays():
        folder.write_arrays(_OBSERVATION, target.arrays())
    what = "observation" if isinstance(target, Observation) else "property"
    folder.write_json(
        "posterior.json",
        {
            "kind": posterior.kind,
            "prior": posterior.prior.to_dict(),
            "statistics": [c.as_list() for c in posterior.statistics],
            what: target.as_plain(),
            f"{what}_name": target.name,
            "details": details,
        },
    )


def read_common(folder: Folder, prior: Prior | None) -> tuple[dict, dict]:
    """The common parts, as keyword arguments, and the details of the kind."""
    stored = folder.read_json("posterior.json")
    try:
        statistics = tuple(Column(*c) for c in stored["statistics"])
        common = {
            "prior": prior if prior is not None else Prior.from_dict(stored["prior"]),
            "statistics": statistics,
        }
        if "property" in stored:
            name = stored["property_name"]
            common["target"] = EmergentProperty.from_plain(stored["property"], name)
            return common, stored["details"]
        values = dict(stored["observation"])
        if any(c.is_array for c in statistics):
            values |= folder.read_arrays(_OBSERVATION)
        common["observation"] = Observation(stored["observation_name"], **values)
        return common, stored["details"]
    except KeyError as error:
        raise DamagedFile(
            f"Expected {error} in posterior.json of {folder.url}; got none: the file is damaged."
        ) from None


def read_posterior(folder: Folder, prior: Prior | None = None) -> Posterior:
    """The posterior in a folder, read by the entry point of its kind.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if no installed package knows its kind.
    """
    kind = folder.read_json("posterior.json").get("kind")
    known = {e.name: e for e in importlib.metadata.entry_points(group=_GROUP)}
    if kind not in known:
        raise ValueError(
            f"Expected a posterior of a kind that is installed ({', '.join(sorted(known))}); "
            f"got {kind!r}: install or update the package that wrote it."
        )
    return known[kind].load()(folder, prior)
