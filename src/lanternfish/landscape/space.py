"""The space of ascents: each parameter in units of its spread, inside the prior's bounds.

    y = theta / s,    s: the standard deviation of each parameter over posterior samples,

so that one unit is one posterior standard deviation whatever the parameter's unit. Densities stay
those of theta: no Jacobian enters, and a maximum over y is a maximum over theta. Float32 cannot
evaluate every density at the bounds themselves, so points stay a ten-thousandth of s away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lanternfish.core import Column, Posterior, Table
from lanternfish.core.seeds import stream
from lanternfish.core.table import as_table

BLOCK = 256  # rows evaluated together: one shape, so that a density is compiled once
_MARGIN = 1e-4  # of s, between points and a bound
_FLOAT32 = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Space:
    """A posterior in units of its own spread.

    Attributes:
        posterior: whose density is climbed.
        samples: of the posterior, a table (n, d), from which the spread was taken.
        spread: standard deviation of each parameter, shape (d,), in its unit.
    """

    posterior: Posterior
    samples: Table
    spread: np.ndarray

    @classmethod
    def of(cls, posterior: Posterior, n: int, seed: int) -> Space:
        """The space of a posterior, by ``n`` of its samples."""
        if not isinstance(posterior, Posterior):
            raise TypeError(f"Expected a Posterior; got {type(posterior).__name__}.")
        samples = posterior.at_hand(n, seed=stream(seed, "landscape samples"))
        spread = samples.array.std(axis=0)
        least = 4 * _FLOAT32 * np.abs(samples.array).max(axis=0) + np.finfo(np.float32).tiny
        return cls(posterior, samples, np.maximum(spread, least))

    @property
    def parameters(self) -> tuple[Column, ...]:
        return self.posterior.parameters

    @property
    def low(self) -> np.ndarray:
        """Least values of y, shape (d,)."""
        low = self.posterior.prior.low
        return (low + self._margin(low)) / self.spread

    @property
    def high(self) -> np.ndarray:
        """Largest values of y, shape (d,)."""
        high = self.posterior.prior.high
        return (high - self._margin(high)) / self.spread

    def _margin(self, bounds: np.ndarray) -> np.ndarray:
        return margin(bounds, self.spread)

    def to_y(self, theta: np.ndarray) -> np.ndarray:
        """Points (n, d) in units of the spread, held inside the bounds."""
        return np.clip(theta / self.spread, self.low, self.high)

    def to_theta(self, y: np.ndarray) -> np.ndarray:
        """Points (n, d) in the parameters' units."""
        return np.clip(y * self.spread, self.posterior.prior.low, self.posterior.prior.high)

    def density(self, y: np.ndarray) -> np.ndarray:
        """Log density of theta, shape (n,); minus infinity where it is not a number."""
        found = _in_blocks(self.posterior.log_prob, self.to_theta(y))
        return np.where(np.isnan(found), -np.inf, found)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """``posterior.log_prob`` of points (n, d), by a shape that is compiled already."""
        return _in_blocks(self.posterior.log_prob, theta)

    def gradient(self, y: np.ndarray) -> np.ndarray:
        """Gradient of the log density with respect to y, shape (n, d); 0 where not finite."""
        found = _in_blocks(self.posterior.gradient, self.to_theta(y)) * self.spread
        return np.where(np.isfinite(found), found, 0.0)

    def on_bound(self, y: np.ndarray) -> np.ndarray:
        """Coordinates that lie at an end, shape of y, of bool."""
        near = 0.5 * _MARGIN
        return (y <= self.low + near) | (y >= self.high - near)


def margin(bounds: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How far inside bounds (d,) points stay, in the parameters' units; 0 where there is none."""
    finite = np.where(np.isfinite(bounds), bounds, 0.0)
    room = np.maximum(_MARGIN * spread, 4 * _FLOAT32 * np.abs(finite))
    return np.where(np.isfinite(bounds), room, 0.0)


def as_one_point(theta, columns: tuple[Column, ...], what: str) -> np.ndarray:
    """One point, shape (d,), from a table of one row, a mapping of names or an array (d,)."""
    array = as_table(theta, columns, what).array
    if len(array) != 1:
        raise ValueError(f"Expected {what} as one point; got {len(array)} rows: choose one.")
    return np.array(array[0])


def _in_blocks(function, rows: np.ndarray) -> np.ndarray:
    """A function of rows, called with ``BLOCK`` of them at a time."""
    n = len(rows)
    padded = np.resize(rows, (-(-n // BLOCK) * BLOCK, rows.shape[1]))
    found = [function(padded[at : at + BLOCK]) for at in range(0, n, BLOCK)]
    return np.concatenate(found)[:n].astype(np.float64)
