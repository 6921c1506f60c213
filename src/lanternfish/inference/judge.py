"""Whether a round made the posterior better: held-out pairs decide, which neither had learned from.

The pairs are those of the newest round that its training held out: the older posterior has never
seen them. What counts is the difference of the two losses, pair by pair:

    gain = mean_i [ loss_old(z_i, c_i) - loss_new(z_i, c_i) ],    with its standard error, in nats.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import paramax
from jaxtyping import Array

from lanternfish.core.compilation import fast_jit
from lanternfish.inference.objectives import Pairs, losses
from lanternfish.inference.training import in_chunks

_SURE = 2.0  # standard errors that tell a difference from chance
_SMALL = 0.02  # nats: less is no progress
_FEWEST = 10  # pairs below which nothing is judged


class Gain(NamedTuple):
    """How much likelier the newer posterior makes what it has not seen, in nats a pair."""

    mean: float
    error: float

    @property
    def worse(self) -> bool:
        """Whether the older posterior is the better one, beyond chance."""
        return self.mean < -_SURE * self.error

    @property
    def small(self) -> bool:
        """Whether there was no progress beyond chance worth the name."""
        return self.mean < max(_SURE * self.error, _SMALL)


def gain(older, newer, pairs: Pairs, rows: np.ndarray) -> Gain | None:
    """Compare two flows on the rows of pairs that neither learned from; None if too few."""
    rows = rows[np.isfinite(np.asarray(pairs.c)[rows]).all(axis=1)]
    if len(rows) < _FEWEST:
        return None
    before, after = (losses_of(flow, pairs, rows) for flow in (older, newer))
    return of_losses(before, after, np.asarray(pairs.weight)[rows])


def losses_of(flow, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
    """The losses of a flow on some rows of pairs, (len(rows),)."""
    parts = [np.asarray(_losses(flow, chunk)) for chunk in in_chunks(pairs, rows)]
    return np.concatenate(parts)[: len(rows)]


def of_losses(before: np.ndarray, after: np.ndarray, weight: np.ndarray) -> Gain:
    """The gain of losses (n,) with weights (n,); losses that are not finite count as 50 nats."""
    before, after, weight = (np.asarray(a, np.float64) for a in (before, after, weight))
    before, after = (np.nan_to_num(a, nan=50.0, posinf=50.0) for a in (before, after))
    share = weight / weight.sum()
    difference = before - after
    mean = float(share @ difference)
    return Gain(mean, float(np.sqrt(np.sum(share**2 * (difference - mean) ** 2))))


@partial(fast_jit, brief=True)
def _losses(flow, pairs: Pairs) -> Array:
    return losses(paramax.unwrap(flow), pairs)
