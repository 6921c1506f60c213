"""Statistics as a likelihood learns them: scaled, and with their atoms spread out.

A density cannot sit on a point, but statistics do: counts, floors, values for "none". A column in
which values repeat becomes randomised normal scores,

    s = Phi^-1( F(x-) + u (F(x) - F(x-)) ),    u uniform on (0, 1),

with F the distribution function of the simulated values: an atom of mass p becomes an interval of
mass p, and what is learned there adds up to the atom's probability,

    P(x | theta) = integral of q(s | theta) ds over the interval
                 = (F(x) - F(x-)) E_u[ q(s | theta) / phi(s) ],

phi the normal density, the mean over u taken at a few fixed points (the transform: Rueschendorf
2009, Journal of Statistical Planning and Inference 139). Other
columns are scaled robustly. Neither changes what the likelihood says about theta.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from lanternfish import flows

_REPEATS = 0.9  # fewer different values than this share of the rows: a column with atoms
_POINTS = 4  # of an observation on an atom


class Scores(NamedTuple):
    """Statistics (n, k) in the units of a likelihood, and the observation's points (p, k)."""

    rows: np.ndarray
    observed: np.ndarray


def as_scores(x: np.ndarray, observed: np.ndarray, seed: int) -> Scores:
    """Scaled statistics.

    Args:
        x: simulated statistics, (n, k).
        observed: measured ones, (k,).
        seed: of the randomised scores.
    """
    from scipy.stats import qmc  # slow to import

    squash = jax.vmap(flows.robust_scaling(x))
    both = np.concatenate([x, observed[None]])
    scaled = np.array(squash(jnp.asarray(both, jnp.float32)), np.float64)
    rows, points = scaled[:-1], np.repeat(scaled[-1:], _POINTS, axis=0)
    places = qmc.Sobol(len(observed), scramble=True, rng=np.random.default_rng(0)).random(_POINTS)
    rng = np.random.default_rng(seed)
    for j in np.flatnonzero(has_atoms(x)):
        ordered = np.sort(x[:, j])
        rows[:, j] = _scores(ordered, x[:, j], rng.random(len(x)))
        points[:, j] = _scores(ordered, np.repeat(observed[j], _POINTS), places[:, j])
    moving = np.ptp(points, axis=0).any()
    return Scores(rows, points if moving else points[:1])


def has_atoms(x: np.ndarray) -> np.ndarray:
    """Whether values of each column repeat, (k,) of bool."""
    return np.array([len(np.unique(column)) < _REPEATS * len(column) for column in x.T])


def _scores(ordered: np.ndarray, x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Normal scores of values x among ordered ones, at places u of their atoms.

    A value that was never simulated gets an interval of one row's mass around its place.
    """
    n = len(ordered)
    low, high = (np.searchsorted(ordered, x, side=side) for side in ("left", "right"))
    new = low == high
    low, high = low - 0.5 * new, high + 0.5 * new
    return ndtri(np.clip((low + u * (high - low)) / n, 0.5 / n, 1 - 0.5 / n))
