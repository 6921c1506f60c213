"""What every posterior stores alike in ``posterior.json``: prior, statistics, observation."""

from __future__ import annotations

import importlib.metadata

from lanternfish.core.files import DamagedFile, Folder
from lanternfish.core.posterior import Posterior
from lanternfish.core.prior import Prior
from lanternfish.core.table import Column
from lanternfish.core.targets import Observation

_GROUP = "lanternfish.posteriors"


def write_common(folder: Folder, posterior: Posterior, details: dict) -> None:
    """Write ``posterior.json``; ``details`` belong to the kind of posterior."""
    folder.write_json(
        "posterior.json",
        {
            "kind": posterior.kind,
            "prior": posterior.prior.to_dict(),
            "statistics": [[c.name, c.unit, c.label] for c in posterior.statistics],
            "observation": dict(posterior.observation),
            "observation_name": posterior.observation.name,
            "details": details,
        },
    )


def read_common(folder: Folder, prior: Prior | None) -> tuple[dict, dict]:
    """The common parts, as keyword arguments, and the details of the kind."""
    stored = folder.read_json("posterior.json")
    try:
        common = {
            "prior": prior if prior is not None else Prior.from_dict(stored["prior"]),
            "statistics": tuple(Column(*c) for c in stored["statistics"]),
            "observation": Observation(stored["observation_name"], **stored["observation"]),
        }
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
