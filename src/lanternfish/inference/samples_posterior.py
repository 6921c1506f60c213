"""A posterior that is a set of weighted parameters, as simulation without a density gives it.

    p(theta | x_obs)  ~  sum_i w_i delta(theta - theta_i)

Its moments and quantiles are those of the set. It has no density; ``smoothed`` estimates one from
it, by kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lanternfish.core import (
    Column,
    DamagedFile,
    EmergentProperty,
    Folder,
    FromSamples,
    Observation,
    Posterior,
    Prior,
    Table,
)
from lanternfish.core.posterior_files import read_common, write_common
from lanternfish.core.seeds import mix, stream
from lanternfish.core.weighted import quantile

_ARRAYS = "posterior.npz"
_INSIDE = 1e-6  # of the prior's width, by which smoothing stays away from its bounds


@dataclass(frozen=True)
class SamplesPosterior(Posterior):
    """Weighted parameters.

    Attributes:
        prior: of the model; all parameters lie inside its bounds.
        statistics: that the model reports.
        target: what the model should do.
        theta: the parameters, (m, d).
        weight: of each, (m,), positive, of sum 1.
        details: how they were found, as plain values: method, tolerance, scale.
    """

    prior: Prior
    statistics: tuple[Column, ...]
    target: Observation | EmergentProperty = field()  # pyright: ignore
    theta: np.ndarray
    weight: np.ndarray
    details: Mapping[str, Any] = field(default_factory=dict)
    kind = "samples"
    has_density = False

    @property
    def observation(self) -> Observation:  # pyright: ignore[reportIncompatibleVariableOverride]
        if isinstance(self.target, Observation):
            return self.target
        raise AttributeError(
            f"Expected a posterior of an observation; got one of {self.target!r}: see its target."
        )

    @property
    def table(self) -> Table:
        """The parameters as they are, without their weights."""
        return Table(self.theta, self.parameters)

    @property
    def effective(self) -> float:
        """Effective sample size, (sum w)^2 / sum w^2."""
        return float(1 / np.sum(self.weight**2))

    def sample(self, n: int, seed: int = 0) -> Table:
        """``n`` independent draws out of the set, by weight: a parameter set may come repeatedly.

        Draw i depends on the seed and i alone.
        """
        if n < 0:
            raise ValueError(f"Expected n of at least 0; got {n}.")
        words = mix(np.uint64(stream(seed, "draws")) + np.arange(n, dtype=np.uint64))
        places = (words >> np.uint64(11)) * 2.0**-53
        rows = np.searchsorted(self._cumulated, places, side="right")
        return Table(self.theta[np.minimum(rows, len(self.theta) - 1)], self.parameters)

    def systematic(self, n: int, seed: int = 0) -> Table:
        """``n`` draws as even as can be: set i comes n w_i times, rounded up or down.

        Averages over them vary less than over independent draws, and where no weight is above 1/n
        none comes twice. In random order.
        """
        rng = np.random.default_rng(stream(seed, "systematic"))
        places = (np.arange(n) + rng.random()) / n
        rows = np.searchsorted(self._cumulated, places, side="right")
        rows = rng.permutation(np.minimum(rows, len(self.theta) - 1))
        return Table(self.theta[rows], self.parameters)

    @cached_property
    def _cumulated(self) -> np.ndarray:
        total = np.cumsum(self.weight)
        return total / total[-1]

    def mean(self) -> Table:
        """Mean of each parameter, a table of one row."""
        return Table((self.weight @ self.theta)[None], self.parameters)

    def covariance(self) -> np.ndarray:
        """Covariance of the parameters, (d, d)."""
        away = self.theta - self.weight @ self.theta
        return (self.weight[:, None] * away).T @ away

    def sd(self) -> Table:
        """Standard deviation of each parameter, a table of one row."""
        return Table(np.sqrt(np.diag(self.covariance()))[None], self.parameters)

    def quantiles(self, levels: Sequence[float] = (0.05, 0.5, 0.95)) -> Table:
        """Quantiles of each parameter, a table with a row for each level."""
        asked = np.asarray(levels, np.float64)
        if asked.ndim != 1 or not np.all((asked >= 0) & (asked <= 1)):
            raise ValueError(f"Expected a list of levels from 0 to 1; got {asked.tolist()}.")
        columns = [quantile(values, self.weight, asked) for values in self.theta.T]
        return Table(np.stack(columns, axis=1), self.parameters)

    def smoothed(self, n: int = 1_000, seed: int = 0) -> Prior:
        """A kernel density estimate from ``n`` draws, with ``sample`` and ``log_prob``.

        It is wider than the set, and more so the more parameters there are (``FromSamples``). As a
        prior it can begin the next study.
        """
        drawn, d = self.sample(n, seed).array, len(self.prior)
        if len(np.unique(drawn, axis=0)) < d + 2:
            raise ValueError(
                f"Expected at least {d + 2} different samples to smooth; got "
                f"{len(np.unique(drawn, axis=0))}: accept more simulations."
            )
        low, high = self.prior.low, self.prior.high
        both = np.isfinite(low) & np.isfinite(high)
        margin = _INSIDE * np.where(both, np.where(both, high, 1) - np.where(both, low, 0), 0)
        held = np.clip(drawn, low + margin, high - margin)
        ends = [[v if np.isfinite(v) else None for v in end] for end in (low, high)]
        return Prior(FromSamples(self.parameters, held, *ends))

    def log_density(self, theta):
        raise ValueError(_NO_DENSITY)

    def log_prob(self, theta) -> np.ndarray:
        """There is none.

        Raises:
            ValueError: always; the sentence says what there is instead.
        """
        raise ValueError(_NO_DENSITY)

    def gradient(self, theta) -> np.ndarray:
        """There is none; see ``log_prob``."""
        raise ValueError(_NO_DENSITY)

    def map(self, seed: int = 0, starts: int = 2_000) -> Table:
        """There is none; see ``log_prob``."""
        raise ValueError(_NO_DENSITY)

    def at(self, observation) -> SamplesPosterior:
        if observation == self.target:
            return self
        raise ValueError(
            f"Expected the target that these samples were accepted for, {self.target!r}; got "
            f"{observation!r}: call infer(..., Rejection(), simulations=run.simulations) where "
            "those are draws from the prior."
        )

    def write(self, folder: Folder) -> None:
        folder.write_arrays(_ARRAYS, {"theta": self.theta, "weight": self.weight})
        write_common(folder, self, dict(self.details))


_NO_DENSITY = (
    "Expected a posterior with a density; got a set of samples, which has none: use "
    "posterior.smoothed().log_prob for a kernel estimate, or a method that learns one, such as NPE."
)


def read(folder: Folder, prior: Prior | None = None) -> SamplesPosterior:
    """The posterior stored in a folder; the entry point ``samples`` of ``lanternfish.posteriors``.

    Args:
        prior: of the model, needed where it holds a user's own law.
    """
    common, details = read_common(folder, prior)
    target = common["target"] if "target" in common else common["observation"]
    arrays = folder.read_arrays(_ARRAYS)
    theta, weight = arrays.get("theta"), arrays.get("weight")
    d = len(common["prior"])
    if theta is None or weight is None or theta.shape != (len(weight), d) or not len(weight):
        raise DamagedFile(
            f"Expected theta (m, {d}) and weight (m,) in {_ARRAYS} of {folder.url}; got "
            f"{ {k: v.shape for k, v in arrays.items()} }: the file belongs to another run."
        )
    return SamplesPosterior(common["prior"], common["statistics"], target, theta, weight, details)
