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
        moments: dict[str, Any] = {k: tuple(v) for k, v in plain["moments"].items()}
        ranges = plain.get("ranges") or {}
        moments |= {k: (tuple(ends), moments[k][1]) for k, ends in ranges.items()}
        kind = PropertyRange if ranges else EmergentProperty
        return kind(name, total_variance=tuple(plain["total_variance"]), **moments)

    def __getitem__(self, name: str) -> Moments:
        return self.moments[name]

    def __iter__(self):
        return iter(self.moments)

    def __len__(self) -> int:
        return len(self.moments)

    def __eq__(self, other: object) -> bool:
        return type(other) is EmergentProperty and self.as_plain() == other.as_plain()

    __hash__ = None

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={m.mean:.6g} ± {m.sd:.6g}" for k, m in self.moments.items())
        return f"EmergentProperty({inside})"


class PropertyRange(EmergentProperty):
    """Properties that differ in the means of some statistics, each anywhere in an interval.

    EPI finds the distributions of all of them at once; the posterior's ``at`` gives that of one. As
    a property, a range is the one in its middle.

    >>> import lanternfish as lf
    >>> hub = lf.PropertyRange("hub at any pace", hub_frequency=((0.3, 0.8), 0.025))
    >>> hub.at(hub_frequency=0.7)
    EmergentProperty(hub_frequency=0.7 ± 0.025)

    Args:
        name: what the circuit does, for titles and reports.
        total_variance: see ``EmergentProperty``.
        **moments: ((lowest mean, highest mean), standard deviation), or (mean, standard deviation)
            of a statistic that stays.

    Raises:
        ValueError: if no mean has an interval, or one of them is not from low to high.
    """

    def __init__(
        self, name: str = "", /, *, total_variance: bool | Sequence[str] = False, **moments
    ) -> None:
        ends = {k: _interval(k, v) for k, v in moments.items()}
        self.ranges = {k: e for k, e in ends.items() if e is not None}
        if not self.ranges:
            raise ValueError(
                "Expected an interval for some mean, such as PropertyRange(rate=((5, 20), 0.5)); "
                "got none: one property is an EmergentProperty."
            )
        middle = {
            k: v if k not in self.ranges else (sum(self.ranges[k]) / 2, v[1])
            for k, v in moments.items()
        }
        super().__init__(name, total_variance=total_variance, **middle)

    @property
    def middle(self) -> EmergentProperty:
        """The property in the middle of all intervals."""
        return EmergentProperty(self.name, total_variance=self.total_variance, **self.moments)

    def at(self, **means: float) -> EmergentProperty:
        """The property with these means; those that are left out are in the middle.

        Raises:
            ValueError: if a statistic has no interval, or a mean lies outside of it.
        """
        unknown = [k for k in means if k not in self.ranges]
        if unknown:
            raise ValueError(
                f"Expected means of {', '.join(self.ranges)}, which have an interval; got "
                f"{', '.join(unknown)}."
            )
        moments = {k: (float(means.get(k, m.mean)), m.sd) for k, m in self.moments.items()}
        self.place({k: m[0] for k, m in moments.items()})
        return EmergentProperty(self.name, total_variance=self.total_variance, **moments)

    def place(self, means: Mapping[str, float]) -> np.ndarray:
        """Where means lie in the intervals, from -1 to 1, shape (number of intervals,).

        Raises:
            ValueError: if one lies outside of its interval.
        """
        places = []
        for k, (low, high) in self.ranges.items():
            if not low - 1e-9 * (high - low) <= means[k] <= high + 1e-9 * (high - low):
                raise ValueError(
                    f"Expected a mean of {k} from {low:g} to {high:g}, which the run learned; got "
                    f"{means[k]:g}: run a wider range."
                )
            places.append(2 * (means[k] - low) / (high - low) - 1)
        return np.clip(np.array(places), -1.0, 1.0)

    def as_plain(self) -> dict[str, Any]:
        return {**super().as_plain(), "ranges": {k: list(v) for k, v in self.ranges.items()}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PropertyRange) and self.as_plain() == other.as_plain()

    __hash__ = None

    def __repr__(self) -> str:
        inside = ", ".join(
            f"{k}={self.ranges[k][0]:.6g} to {self.ranges[k][1]:.6g} ± {m.sd:.6g}"
            if k in self.ranges else f"{k}={m.mean:.6g} ± {m.sd:.6g}"
            for k, m in self.moments.items()
        )  # fmt: skip
        return f"PropertyRange({inside})"


def _interval(name: str, value: object) -> tuple[float, float] | None:
    """The interval of a mean; None where it is a number."""
    mean = value[0] if isinstance(value, list | tuple) and len(value) == 2 else None
    if not isinstance(mean, list | tuple | np.ndarray):
        return None
    try:
        low, high = (float(v) for v in mean)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"Expected an interval of means from low to high for {name}, such as "
            f"{name}=((5, 20), 0.5); got {value!r:.80}."
        )
    return low, high


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
