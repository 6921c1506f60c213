"""Shares and quantiles of weighted samples.

A share p = sum_i w_i b_i / n of n simulations is an unbiased estimate where hopeless simulations
are abandoned at random and the weights of the others make up for it (Russian roulette). Its
interval is Wilson's (1927) for the n_eff simulations of weight 1 that would have its variance,

    n_eff = p (1 - p) / Var(p),    at most n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_Z_95 = 1.959963984540054  # the normal law's 97.5 % quantile


@dataclass(frozen=True)
class Share:
    """A share of n simulations.

    Attributes:
        value: from 0 to 1.
        low, high: ends of the 95 % interval.
        n: simulations that it was estimated from.
    """

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict:
        return {"share": self.value, "low": self.low, "high": self.high, "n": self.n}


def share(hits: np.ndarray, weight: np.ndarray) -> Share:
    """The weighted share of hits (n,) of bool among n simulations of these weights (n,).

    Raises:
        ValueError: if there is no simulation.
    """
    n = len(hits)
    if n == 0:
        raise ValueError("Expected at least one simulation to estimate a share from; got none.")
    parts = np.where(hits, weight, 0.0)
    value = float(np.clip(np.mean(parts), 0.0, 1.0))
    variance = float(np.var(parts)) / n
    effective = min(n, value * (1 - value) / variance) if variance > 0 else n
    low, high = _wilson(value, max(effective, 1.0))
    return Share(value, low, high, n)


def _wilson(p: float, n: float) -> tuple[float, float]:
    z2 = _Z_95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return float(max(0.0, min(p, middle - half))), float(min(1.0, max(p, middle + half)))


def quantile(values: np.ndarray, weight: np.ndarray, levels) -> np.ndarray:
    """Quantiles of values (n,) with weights (n,), shape of ``levels``.

    With equal weights, numpy's default: linear between the values.
    """
    order = np.argsort(values)
    sorted_values, w = values[order], weight[order]
    if len(values) == 1:
        return np.full(np.shape(levels), sorted_values[0])
    places = np.cumsum(w) - 0.5 * w
    places = (places - places[0]) / (places[-1] - places[0])
    return np.interp(levels, places, sorted_values)
