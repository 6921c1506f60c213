"""Smooth densities of samples on the unit interval and square.

Histograms smoothed with a Gaussian. Its width is the geometric mean of Silverman's rule (1986,
equation 3.31), which blurs several modes into one, and of the plug-in of Botev, Grotowski & Kroese
(2010, algorithm 1), which keeps them apart but leaves contours ragged. At the end of a prior the
smoothing is reflected, so that no mass leaks over a bound.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.fft import dct
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.optimize import brentq

from lanternfish.core import Prior
from lanternfish.plot.scales import Scale

BINS = 240
_GRID = 512  # bins in which the width is sought
_PRIOR_DRAWS = 20_000


def centres(bins: int = BINS) -> np.ndarray:
    """Middles of the bins of [0, 1]."""
    return (np.arange(bins) + 0.5) / bins


def marginal(unit: np.ndarray, reflect: bool = True, bins: int = BINS) -> np.ndarray:
    """Density at the middles of the bins, shape (bins,), of places (n,) on an axis."""
    counts = _histogram(unit, bins)
    mode = "reflect" if reflect else "constant"
    return gaussian_filter1d(counts, width(unit) * bins, mode=mode) * bins / max(len(unit), 1)


def joint(
    places: tuple[np.ndarray, np.ndarray],
    widths: tuple[float, float],
    reflect: tuple[bool, bool],
    bins: int,
) -> np.ndarray:
    """Density on the square, shape (bins, bins): rows along the second place, columns the first.

    Args:
        places: along the two axes, (n,) each.
        widths: of the smoothing along each axis if it were alone, from ``width``.
        reflect: whether an axis ends at bounds.
        bins: along each axis.
    """
    first, second = places
    inside = (first >= 0) & (first <= 1) & (second >= 0) & (second <= 1)
    flat = _bin(second[inside], bins) * bins + _bin(first[inside], bins)
    counts = np.bincount(flat, minlength=bins * bins).astype(float).reshape(bins, bins)
    wider = 1.25 * max(len(first), 1) ** (1 / 5 - 1 / 6)  # n^(-1/6) in two dimensions; calmer lines
    sigmas = [max(w * wider * bins, 0.9) for w in widths[::-1]]
    modes: Any = ["reflect" if r else "constant" for r in reflect[::-1]]
    return gaussian_filter(counts, sigmas, mode=modes)


def width(unit: np.ndarray) -> float:
    """Width of the smoothing of places (n,) on an axis, as a share of the axis."""
    if len(unit) < 2:
        return 0.01
    low, high = np.quantile(unit, [0.25, 0.75])
    spread = float(np.std(unit))
    spread = min(spread, (high - low) / 1.349 or spread, 0.3)
    silverman = 0.9 * spread * len(unit) ** -0.2
    plug_in = float(np.clip(_plug_in(unit), 0.2 * silverman, silverman))
    return max(float(np.sqrt(plug_in * silverman)), 1 / BINS)


def mass_levels(density: np.ndarray, masses: tuple[float, ...]) -> list[float]:
    """Heights above which the density holds these shares of its mass."""
    ordered = np.sort(density.ravel())[::-1]
    held = np.cumsum(ordered)
    if not held[-1] > 0:
        return [0.0 for _ in masses]
    return [float(ordered[np.searchsorted(held, mass * held[-1])]) for mass in masses]


def prior_marginal(prior: Prior, name: str, scale: Scale) -> np.ndarray:
    """The prior's density along an axis, shape (BINS,): exact for a law of one parameter."""
    law = prior.named_laws.get(name)
    if law is None:
        return marginal(scale.to_unit(prior.sample(_PRIOR_DRAWS)[name]), scale.closed)
    values = scale.to_values(centres())
    density = np.exp(np.asarray(law.log_prob(jnp.asarray(values, jnp.float32)), np.float64))
    return density * scale.slope(centres())


def _bin(unit: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((unit * bins).astype(np.int64), bins - 1)


def _histogram(unit: np.ndarray, bins: int) -> np.ndarray:
    inside = unit[(unit >= 0) & (unit <= 1)]
    return np.bincount(_bin(inside, bins), minlength=bins).astype(float)


def _plug_in(unit: np.ndarray) -> float:
    """Width sqrt(t) with t = 0.28 n^(-2/5) gamma^[5](t); infinite where there is no such t."""
    counts = _histogram(unit, _GRID)
    n = counts.sum()
    if np.count_nonzero(counts) < 3:
        return np.inf
    power = (np.asarray(dct(counts / n))[1:] / 2) ** 2
    squares = np.arange(1, _GRID, dtype=float) ** 2

    def roughness(order: int, t: float) -> float:
        """Squared norm of the derivative of this order of the density smoothed with t."""
        terms = squares**order * power * np.exp(-squares * np.pi**2 * t)
        return 2 * np.pi ** (2 * order) * float(terms.sum())

    def excess(t: float) -> float:
        norm = roughness(7, t)
        for order in range(6, 1, -1):
            moment = np.prod(np.arange(1, 2 * order, 2)) / np.sqrt(2 * np.pi)
            factor = (1 + 0.5 ** (order + 0.5)) / 3
            norm = roughness(order, (2 * factor * moment / (n * norm)) ** (2 / (3 + 2 * order)))
        return t - (2 * n * np.sqrt(np.pi) * norm) ** (-2 / 5)

    with np.errstate(all="ignore"):
        ends = excess(1e-9), excess(0.1)
        if not (np.isfinite(ends).all() and ends[0] < 0 < ends[1]):
            return np.inf
        return float(np.sqrt(np.float64(brentq(excess, 1e-9, 0.1))))  # type: ignore[arg-type]
