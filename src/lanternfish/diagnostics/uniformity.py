"""Are these ranks uniform? The distribution function of ranks, and the band that holds all of it.

Of N ranks out of 0 ... L, the count below a threshold t is binomial where they are uniform. At
thresholds t_1 < ... < t_K with z_k = t_k / (L + 1), the band of level gamma is

    { c_k : P(Bin(N, z_k) <= c_k) >= gamma / 2  and  P(Bin(N, z_k) >= c_k) >= gamma / 2 },

and what counts is whether all counts lie in it at once. As counts are a Markov chain,

    c_{k+1} | c_k  ~  c_k + Bin(N - c_k, (z_{k+1} - z_k) / (1 - z_k)),

that chance is a product of matrices, without simulation. gamma is made so small that uniform ranks
leave the band with a chance of at most the false-alarm rate; the p-value of some counts is the
chance of leaving the widest band that they themselves do not lie inside of.

Reference: Säilynoja, Bürkner & Vehtari (2022), Statistics and Computing 32:32, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.stats import binom

_THRESHOLDS = 20
_STEPS = 30  # halvings in the search of gamma


@dataclass(frozen=True)
class Uniformity:
    """What N uniform ranks out of 0 ... L look like.

    Attributes:
        n: N.
        draws: L.
    """

    n: int
    draws: int

    @cached_property
    def thresholds(self) -> np.ndarray:
        """Ranks below which is counted, (K,), about evenly spread."""
        inner = np.arange(1, _THRESHOLDS) / _THRESHOLDS
        return np.unique(np.clip(np.round(inner * (self.draws + 1)), 1, self.draws)).astype(int)

    @cached_property
    def levels(self) -> np.ndarray:
        """Share of uniform ranks below each threshold, (K,)."""
        return self.thresholds / (self.draws + 1)

    def counts(self, ranks: np.ndarray) -> np.ndarray:
        """How many ranks (n,) lie below each threshold, (K,)."""
        return np.searchsorted(np.sort(ranks), self.thresholds, side="left")

    def p_value(self, ranks: np.ndarray) -> float:
        """Chance that uniform ranks stray as far as these (n,) do, at some threshold."""
        least = float(self._tails[np.arange(len(self.levels)), self.counts(ranks)].min())
        return self._leaves(least, strictly=True)

    def band(self, false_alarm: float) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest share of ranks below each threshold, (K,) each."""
        inside = self._tails >= _level(self, false_alarm) / 2
        first = inside.argmax(axis=1)
        last = self.n - inside[:, ::-1].argmax(axis=1)
        return first / self.n, last / self.n

    @cached_property
    def _tails(self) -> np.ndarray:
        """The smaller of both tails of each count at each threshold, (K, N + 1)."""
        counts, z = np.arange(self.n + 1), self.levels[:, None]
        return np.minimum(binom.cdf(counts, self.n, z), binom.sf(counts - 1, self.n, z))

    def _leaves(self, level: float, strictly: bool = False) -> float:
        """Chance that uniform ranks leave the band: some tail below level / 2.

        With ``strictly``, ``level`` is a tail itself, and tails that are equal to it leave too.
        """
        least = level * (1 + 1e-9) if strictly else level / 2
        inside = self._tails >= least
        chance = np.zeros(self.n + 1)
        chance[0] = 1.0
        for step, allowed in zip(_steps(self.n, tuple(self.levels)), inside, strict=True):
            chance = np.where(allowed, chance @ step, 0.0)
        return float(np.clip(1 - chance.sum(), 0, 1))


@lru_cache(maxsize=16)
def _level(uniform: Uniformity, false_alarm: float) -> float:
    """The level of each threshold that uniform ranks leave at some one with that chance."""
    low, high = 0.0, false_alarm
    for _ in range(_STEPS):
        middle = (low + high) / 2
        inside = uniform._leaves(middle) <= false_alarm
        low, high = (middle, high) if inside else (low, middle)
    return low


@lru_cache(maxsize=4)
def _steps(n: int, levels: tuple[float, ...]) -> np.ndarray:
    """Chances of each count at a threshold, given the one before, (K, N + 1, N + 1)."""
    before = np.concatenate([[0.0], levels[:-1]])
    shares = (np.asarray(levels) - before) / (1 - before)
    now, then = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    return np.stack([binom.pmf(then - now, n - now, share) for share in shares])
