"""The axis of one quantity: its limits, linear or logarithmic, and its ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from lanternfish.core import LogNormal, LogUniform, Prior

_PAD = 0.05  # of the samples' range, where no bound says where to stop
_TAIL = 1e-3  # of an unbounded prior, left out of its axis


@dataclass(frozen=True)
class Scale:
    """An interval seen as [0, 1].

    Args:
        low, high: ends, in the quantity's unit.
        log: whether the axis is logarithmic.
        closed: whether it ends at a bound of the prior, over which no mass may leak.
    """

    low: float
    high: float
    log: bool = False
    closed: bool = False

    def to_unit(self, values) -> np.ndarray:
        """Places on the axis, 0 to 1 inside."""
        values = np.asarray(values, np.float64)
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        held = np.maximum(values, np.finfo(np.float64).tiny)
        return np.log(held / self.low) / np.log(self.high / self.low)

    def to_values(self, unit) -> np.ndarray:
        """The quantity at places on the axis."""
        unit = np.asarray(unit, np.float64)
        if self.log:
            return self.low * (self.high / self.low) ** unit
        return self.low + (self.high - self.low) * unit

    def slope(self, unit) -> np.ndarray:
        """Derivative of the quantity with respect to the place on the axis."""
        if self.log:
            return self.to_values(unit) * np.log(self.high / self.low)
        return np.full(np.shape(unit), self.high - self.low)

    def ticks(self, count: int, margin: float = 0.04) -> tuple[np.ndarray, list[str]]:
        """Round numbers inside the axis, two to some ``count``, as places and texts.

        Args:
            margin: share of the axis that stays free of ticks at either end.
        """
        powers = self._decades(count, margin) if self.log else np.empty(0)
        if len(powers) > 1:
            return self.to_unit(powers), [power_text(v) for v in powers]
        steps = self._within_decades(count, margin) if self.log else np.empty(0)
        if len(steps) > 1:
            return self.to_unit(steps), [number_texts([v])[0] for v in steps]
        values = np.empty(0)
        for wish in range(count, count + 6):
            locator = MaxNLocator(wish, steps=[1, 2, 2.5, 5, 10])
            found = np.asarray(locator.tick_values(self.low, self.high))
            found = self._inside(found[found > 0] if self.log else found, margin)
            if len(values) < 2 or len(found) <= count:
                values = found
            if len(values) >= min(count, 2):
                break
        values = values[:: -(-len(values) // (count + 1))] if len(values) else values
        return self.to_unit(values), number_texts(values)

    def _inside(self, values: np.ndarray, margin: float) -> np.ndarray:
        places = self.to_unit(values)
        return values[(places >= margin) & (places <= 1 - margin)]

    def _within_decades(self, count: int, margin: float) -> np.ndarray:
        """A few round numbers a decade, evenly spread, where powers of ten are too few."""
        first, last = np.floor(np.log10(self.low)), np.ceil(np.log10(self.high))
        if not -3 <= first <= last <= 5:
            return np.empty(0)
        powers = 10.0 ** np.arange(first, last + 1)
        for digits in ([1, 3], [1, 2, 5]):
            found = self._inside(np.outer(powers, digits).ravel(), margin)
            if 2 <= len(found) <= count + 1:
                return found
        return np.empty(0)

    def _decades(self, count: int, margin: float) -> np.ndarray:
        """Powers of ten inside the axis, thinned to ``count``."""
        first, last = np.floor(np.log10(self.low)), np.ceil(np.log10(self.high))
        powers = self._inside(10.0 ** np.arange(first, last + 1), margin)
        return powers[:: max(1, -(-len(powers) // count))]


def scale_of(values: Sequence[np.ndarray], prior: Prior | None, name: str, limits: str) -> Scale:
    """The axis of a parameter.

    Args:
        values: arrays that the axis should hold (samples, truth, MAP).
        prior: whose bounds end the axis; None where there is no prior.
        name: of the parameter.
        limits: "prior" for the prior's bounds, "samples" for the range of the values.
    """
    found = np.concatenate([np.ravel(v) for v in values])
    found = found[np.isfinite(found)]
    log = _is_logarithmic(prior, name) and bool(np.all(found > 0))
    low, high = _range(found, log)
    if prior is None:
        return Scale(low, high)
    i = prior.names.index(name)
    least, most = float(prior.low[i]), float(prior.high[i])
    if limits == "prior":
        least, most = _prior_range(prior, name, log)
        low, high = least, most
    elif least < high and low < most:
        low, high = max(low, least), min(high, most)
    slack = 1e-6 * (high - low)
    if len(found) and (found.min() < low - slack or found.max() > high + slack):
        low, high = min(low, float(found.min())), max(high, float(found.max()))
    return Scale(low, high, log, closed=low == prior.low[i] or high == prior.high[i])


def _is_logarithmic(prior: Prior | None, name: str) -> bool:
    return prior is not None and isinstance(prior.named_laws.get(name), LogUniform | LogNormal)


def _range(found: np.ndarray, log: bool) -> tuple[float, float]:
    """The range of the values with some air; of a constant, an interval around it."""
    if not len(found):
        return 0.0, 1.0
    low, high = float(found.min()), float(found.max())
    if log:
        air = max((high / low) ** _PAD, 1.01)
        return low / air, high * air
    air = max(_PAD * (high - low), 1e-6 * max(abs(low), abs(high)))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        air = 0.05 * max(abs(low), abs(high)) or 1.0
    return low - air, high + air


def _prior_range(prior: Prior, name: str, log: bool) -> tuple[float, float]:
    """The bounds; where there is none, quantiles of the prior's draws."""
    i = prior.names.index(name)
    low, high = float(prior.low[i]), float(prior.high[i])
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    drawn = np.quantile(prior.sample(4_000)[name], [_TAIL, 1 - _TAIL])
    low = low if np.isfinite(low) and not log else float(drawn[0])
    return low, high if np.isfinite(high) else float(drawn[1])


def number_texts(values) -> list[str]:
    """Texts of round numbers, all with the same digits: enough to tell neighbours apart."""
    values = np.asarray(values, np.float64)
    if not len(values):
        return []
    size = float(np.max(np.abs(values)))
    step = float(np.min(np.diff(values))) if len(values) > 1 else size or 1.0
    if size == 0 or 1e-3 <= size < 1e5:
        digits = _digits(step)
        return [f"{v + 0.0:.{digits}f}".replace("-", "−") for v in values]
    exponent = int(np.floor(np.log10(size)))
    digits = _digits(step / 10.0**exponent)
    texts = [f"{v / 10.0**exponent:.{digits}f}" for v in values]
    return [rf"${t}{{\times}}10^{{{exponent}}}$" if float(t) else "0" for t in texts]


def number_text(value: float) -> str:
    """One number with three digits, for a sentence beside a plot."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}".replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    return rf"${mantissa}{{\times}}10^{{{int(exponent)}}}$"


def power_text(value: float) -> str:
    """A power of ten; plain where short."""
    exponent = round(np.log10(value))
    plain = {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100"}
    return plain.get(exponent, rf"$10^{{{exponent}}}$")


def _digits(step: float) -> int:
    """Decimals that write a step exactly, seven at most."""
    for digits in range(7):
        scaled = step * 10**digits
        if abs(scaled - round(scaled)) < 1e-4 * scaled:
            return digits
    return 7
