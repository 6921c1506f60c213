"""``Run``: posterior, simulations, history, checks and provenance, in memory and in a folder.

A run folder holds

| file | content |
|---|---|
| ``run.json`` | format, model, target, method, seed, history, checks, versions and times |
| ``posterior.json``, ``posterior.safetensors`` | the posterior |
| ``simulations.npz`` | what it was learned from, where they were in memory only |
| ``simulations/``, ``training/`` | shards and checkpoints, where ``infer`` was given the folder |

``FORMAT`` rises when the layout changes; a later version reads every earlier format, and says so
where it meets a newer one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import numpy as np

from lanternfish.core.checks import Checks
from lanternfish.core.columns import Column
from lanternfish.core.files import DamagedFile, Folder
from lanternfish.core.model import Description, Model
from lanternfish.core.posterior import Posterior
from lanternfish.core.posterior_files import read_posterior
from lanternfish.core.properties import EmergentProperty
from lanternfish.core.simulations import Simulations
from lanternfish.core.targets import Observation

if TYPE_CHECKING:
    import xarray as xr

FORMAT = 1
TRUST = "trust"  # name of the finding that holds all of ``check``
_CHECKS = EntryPoint("trust", "lanternfish.diagnostics.trust:check_run", "lanternfish.checks")
_PLAIN = ("history", "model", "method", "seed", "checks", "provenance")


@dataclass(frozen=True)
class Run:
    """The result of ``infer`` and its evidence.

    Attributes:
        posterior: the answer.
        simulations: what it was learned from.
        history: ``{"rounds": [...]}``, the training curves and counts of each round.
        model: description of the model (names, units, prior, fingerprint).
        method: name and hyperparameters of the method.
        target: the observation or the emergent property.
        seed: of the whole study.
        checks: findings by name, each with its numbers and a sentence.
        provenance: versions, times, machine.
        folder: where the run was saved last, or loaded from; None in memory.
    """

    posterior: Posterior
    simulations: Simulations
    history: Mapping = field(default_factory=dict)
    model: Mapping = field(default_factory=dict)
    method: Mapping = field(default_factory=dict)
    target: Observation | EmergentProperty | None = None
    seed: int = 0
    checks: Mapping[str, Mapping] = field(default_factory=dict)
    provenance: Mapping = field(default_factory=dict)
    folder: str | None = field(default=None, compare=False)

    def with_checks(self, **findings: Mapping) -> Run:
        """The same run with further findings."""
        return replace(self, checks={**self.checks, **findings})

    @property
    def studied(self) -> Model | None:
        """The model itself, where it is in memory: after ``infer``, or ``load(path, model)``."""
        return getattr(self.model, "model", None)

    @property
    def trust(self) -> Checks | None:
        """What ``check`` found last; None before."""
        return Checks.from_plain(self.checks[TRUST]) if TRUST in self.checks else None

    def check(
        self,
        simulations: int = 1_000,
        seed: int = 0,
        *,
        model: Model | None = None,
        executor=None,
        progress=None,
    ) -> Checks:
        """Ask whether this run can be trusted: calibration, prediction, misfit, in words.

        Which checks there are, when each is valid and what to do where one fails stands in
        ``docs/trust.md``. What was found is kept: in ``trust`` and in all that shows the run, and
        in its folder where it has one.

        Args:
            simulations: extra ones that all checks together may take; 0 for those that need none.
            seed: of the checks.
            model: whose posterior it is; needed where the run was loaded without it.
            executor, progress: as for ``lanternfish.simulate``.

        Raises:
            ValueError: if the budget is no whole number of at least 0, or simulations are needed
                and no model is there to make them.
        """
        found = _CHECKS.load()(
            self, model or self.studied, simulations, seed, executor=executor, progress=progress
        )
        object.__setattr__(self, "checks", {**self.checks, TRUST: found.as_plain()})
        if self.folder is not None:
            self._write(Folder(self.folder))
        return found

    @property
    def verdict(self) -> str:
        """How far the run can be trusted, in one sentence, from all that was checked."""
        if self.trust is not None:
            return self.trust.sentence
        judged = {n: c for n, c in self.checks.items() if c.get("passed") is not None}
        failed = [name for name, finding in judged.items() if not finding["passed"]]
        if failed:
            return f"Careful: the run failed {len(failed)} of {len(judged)} checks: {failed[0]}."
        return "Not checked yet: call check()." if not judged else "Passed what was checked so far."

    def __repr__(self) -> str:
        name, method = self.model.get("name", "model"), self.method.get("name", "method")
        return (
            f"Run of {name} by {method}, {len(self.simulations):,} simulations, seed {self.seed}\n"
            f"  {self.verdict}"
        )

    def save(self, path: str | os.PathLike) -> Folder:
        """Write the run to a folder or fsspec URL; simulations that stand there stay in place."""
        folder = Folder(os.fspath(path))
        self.posterior.write(folder)
        if not folder.exists("simulations"):
            folder.write_arrays("simulations.npz", self.simulations.arrays())
        self._write(folder)
        object.__setattr__(self, "folder", folder.url)
        return folder

    def _write(self, folder: Folder) -> None:
        plain = {name: getattr(self, name) for name in _PLAIN}
        folder.write_json("run.json", _finite({"format": FORMAT, **plain}))

    @classmethod
    def load(cls, path: str | os.PathLike, model: Model | None = None) -> Run:
        """Read a run that ``save`` or ``infer(store=...)`` wrote.

        Args:
            path: folder or fsspec URL.
            model: that was studied. Needed where the prior holds a user's own law, which is code,
                and for ``check``, which simulates.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file is damaged or of a later format.
        """
        folder = Folder(os.fspath(path))
        stored = folder.read_json("run.json")
        if stored.get("format", FORMAT + 1) > FORMAT:
            raise ValueError(
                f"Expected a run folder of format {FORMAT} or earlier; got format "
                f"{stored.get('format')}: update lanternfish to read it."
            )
        posterior = read_posterior(folder, None if model is None else model.prior)
        try:
            plain = {name: stored[name] for name in _PLAIN}
        except KeyError as error:
            raise DamagedFile(f"Expected {error} in run.json of {path}; got none.") from None
        simulations = _read_simulations(folder, plain["model"])
        if model is not None:
            described = Description(plain["model"])
            described.model = model
            plain["model"] = described
        return cls(posterior, simulations, target=posterior.target, folder=folder.url, **plain)

    def to_arviz(self, samples: int = 4_000, seed: int = 0) -> xr.DataTree:
        """The run as an ArviZ data tree: posterior, prior, observed data, simulations as draws.

        Groups hold variables by parameter name, dimensions (chain, draw), and units as attributes.
        """
        from arviz_base import from_dict

        posterior = self.posterior.sample(samples, seed=seed)
        known = self.posterior.has_density
        density = {"lp": self.posterior.log_prob(posterior)[None]} if known else {}
        prior = self.posterior.prior.sample(samples, seed=seed)
        target = self.posterior.target
        tree = from_dict(
            {
                "posterior": {n: posterior[n][None] for n in posterior.names},
                **({"sample_stats": density} if density else {}),
                "prior": {n: prior[n][None] for n in prior.names},
                "observed_data": {k: np.asarray(v) for k, v in target.items()},
            }
        )
        columns = (*self.posterior.parameters, *self.posterior.statistics)
        for group in ("posterior", "prior", "observed_data"):
            for column in columns:
                if column.name in tree[group].data_vars:
                    tree[group][column.name].attrs.update(units=column.unit, label=column.label)
        return tree


def _read_simulations(folder: Folder, model: Mapping) -> Simulations:
    parameters = [Column(*c) for c in model["parameters"]]
    statistics = [Column(*c) for c in model["statistics"]]
    if folder.exists("simulations.npz"):
        return Simulations.from_arrays(
            folder.read_arrays("simulations.npz"), parameters, statistics
        )
    parts = [Simulations.empty(parameters, statistics)]
    for name in (folder / "simulations").names():
        shards = folder / "simulations" / name
        for shard in (n for n in shards.names() if n.startswith("shard-")):
            arrays = shards.read_arrays(shard)
            parts.append(Simulations.from_arrays(arrays, parameters, statistics))
    while len(parts) > 1:  # neighbours, again and again: each row is copied a few times only
        joined = [one + other for one, other in zip(parts[::2], parts[1::2], strict=False)]
        parts = joined + parts[2 * len(joined) :]
    return parts[0]


def _finite(value):
    """The value with numbers that JSON cannot hold (NaN, infinity) as None."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.bool_):
        return bool(value)
    return int(value) if isinstance(value, np.integer) else value
