"""``EmergentProperty``: a target that many parameter sets share, as a distribution of statistics.

A distribution q over parameters has the property where, for each named statistic f,

    E_q[E_x f] = mean,    Var_q[E_x f] = sd^2,

with E_x over trials of one parameter set. With total variance, Var is over parameters and trials.
Of all distributions that have it, EPI finds the one of maximum entropy (Loaiza-Ganem, Gao &
Cunningham 2017; Bittner et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lanternfish.core.columns import Column, spans


class Moments(NamedTuple):
    """Mean and standard deviation of a statistic, in its unit."""

    mean: float
    sd: float


class EmergentProperty(Mapping):
    """Mean and standard deviation of named statistics.

    >>> import lanternfish as lf
    >>> hub = lf.EmergentProperty("hub at 0.55 Hz", hub_frequency=(0.55, 0.025))
    >>> hub["hub_frequency"].sd
    0.025
    >>> hub
    EmergentProperty(hub_frequency=0.55 ± 0.025)

    Args:
        name: what the circuit does, for titles and reports.
        total_variance: statistics whose standard deviation is over parameters and trials, instead
            of over parameters of the mean over trials; True for all.
        **moments: (mean, standard deviation) for some or all of a model's statistics.

    Raises:
        ValueError: if a pair is not of finite numbers with a standard deviation above 0, or
            ``total_variance`` names another statistic.
    """

    def __init__(
        self, name: str = "", /, *, total_variance: bool | Sequence[str] = False, **moments
    ) -> None:
        if not moments:
            raise ValueError(
                "Expected statistics, such as EmergentProperty(rate=(12, 0.5)); got none."
            )
        self.name = name
        self.moments = {k: _moments(k, v) for k, v in moments.items()}
        self.total_variance = _named(total_variance, tuple(moments))

    @property
    def means(self) -> np.ndarray:
        """Shape (r,), in the order in which the statistics were named."""
        return np.array([m.mean for m in self.moments.values()])

    @property
    def sds(self) -> np.ndarray:
        """Shape (r,)."""
        return np.array([m.sd for m in self.moments.values()])

    @property
    def total(self) -> np.ndarray:
        """Which statistics use the total variance, shape (r,) of bool."""
        return np.array([name in self.total_variance for name in self.moments])

    def places(self, columns: Sequence[Column]) -> np.ndarray:
        """Where the statistics stand in a flat row of a model's statistics, shape (r,).

        Raises:
            ValueError: if the model has no such statistic, or it is an array.
        """
        known = {c.name: (c, span.start) for c, span in zip(columns, spans(columns), strict=True)}
        unknown = [name for name in self.moments if name not in known]
        if unknown:
            raise ValueError(
                f"Expected statistics of the model ({', '.join(known)}); got "
                f"{', '.join(unknown)}: name what it reports."
            )
        arrays = [name for name in self.moments if known[name][0].is_array]
        if arrays:
            raise ValueError(
                f"Expected statistics that are numbers in an EmergentProperty; got "
                f"{', '.join(arrays)}, raw data: let the model report a number computed from it."
            )
        return np.array([known[name][1] for name in self.moments])

    def check(self, columns: Sequence[Column]) -> None:
        """Raise one sentence if the property is not about statistics of these columns."""
        self.places(columns)

    def as_plain(self) -> dict[str, Any]:
        """For JSON: [mean, sd] by name, and which use the total variance."""
        return {
            "moments": {k: [m.mean, m.sd] for k, m in self.moments.items()},
            "total_variance": list(self.total_variance),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], name: str = "") -> EmergentProperty:
        """The property that ``as_plain`` described."""
        moments = {k: tuple(v) for k, v in plain["moments"].items()}
        return cls(name, total_variance=tuple(plain["total_variance"]), **moments)

    def __getitem__(self, name: str) -> Moments:
        return self.moments[name]

    def __iter__(self):
        return iter(self.moments)

    def __len__(self) -> int:
        return len(self.moments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EmergentProperty) and self.as_plain() == other.as_plain()

    __hash__ = None

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={m.mean:.6g} ± {m.sd:.6g}" for k, m in self.moments.items())
        return f"EmergentProperty({inside})"


def _moments(name: str, value: object) -> Moments:
    try:
        mean, sd = (float(v) for v in value)  # pyright: ignore[reportGeneralTypeIssues]
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected (mean, standard deviation) for {name}, such as {name}=(12, 0.5); "
            f"got {value!r:.80}."
        ) from None
    if not math.isfinite(mean):
        raise ValueError(f"Expected a finite mean for {name}; got {mean}.")
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(
            f"Expected a standard deviation above 0 for {name}; got {sd}: a distribution with a "
            "density has some spread, so say how far from the mean is near enough."
        )
    return Moments(mean, sd)


def _named(total: bool | Sequence[str], names: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(total, bool):
        return names if total else ()
    given = (total,) if isinstance(total, str) else tuple(total)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"Expected total_variance to name statistics of the property ({', '.join(names)}); "
            f"got {', '.join(map(str, unknown))}."
        )
    return tuple(name for name in names if name in given)
