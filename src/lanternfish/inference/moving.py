"""Kernels that move parameters in the prior's unbounded space, so that none leaves its bounds.

    q(z) = (1 - b) sum_j p_j N(z; z_j, S_j) + b p(z)

with a share b of draws of the prior, so that no weight p / q exceeds 1 / b, centres z_j drawn by
weight p_j, and

    S_j = c Cov(z)      of all centres, with the c out of 2, 1, 1/2, ... 1/64 that makes each centre
                        likeliest given the others,
    S_j = 2 Cov(z)      (Beaumont et al. 2009, Biometrika 96:983),
    S_j = sum_{i in kNN(j)} p_i (z_i - z_j)(z_i - z_j)' / sum p_i      of the nearest k
                        (Filippi et al. 2013, Stat. Appl. Genet. Mol. Biol. 12:87).

The first has the least Kullback-Leibler divergence from the law of the centres to q: twice the
covariance is far too wide where that law is not much narrower than the prior, the more so the more
parameters there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, ndtri

from lanternfish.core import Prior
from lanternfish.core.seeds import mix, stream
from lanternfish.inference.unbounded import from_unbounded, log_prior

_LEAST = 1e-6  # of the mean variance, added so that a direction without spread keeps some
_BLOCK = 256  # rows at a time
_SCALES = 2.0 ** np.arange(1, -7, -1)
PRIOR = 0.1  # share of draws of the prior
_JUDGED = 400  # centres whose likelihood decides


@dataclass(frozen=True)
class Moving:
    """A mixture of normal laws around weighted centres.

    Attributes:
        prior: whose unbounded space it lives in.
        centres: (m, d).
        share: of each, (m,), of sum 1.
        roots: lower Cholesky roots of S_j, (m, d, d), or one for all, (1, d, d).
    """

    prior: Prior
    centres: np.ndarray
    share: np.ndarray
    roots: np.ndarray

    @classmethod
    def fitted(cls, prior: Prior, centres: np.ndarray, weight: np.ndarray) -> Moving:
        """One kernel for all centres, of the size that makes each likeliest given the others."""
        share = weight / weight.sum()
        root = _root(_covariance(centres, share))
        scaled, d = solve_triangular(root, centres.T, lower=True).T, centres.shape[1]
        judged = np.unique(np.linspace(0, len(centres) - 1, _JUDGED).round().astype(int))
        square = cdist(scaled[judged], scaled, "sqeuclidean")
        square[np.arange(len(judged)), judged] = np.inf
        found = []
        for scale in _SCALES:
            kernels = -0.5 * square / scale - 0.5 * d * np.log(scale)
            likelihood = np.asarray(logsumexp(kernels, b=share, axis=1))
            found.append(share[judged] @ (likelihood - np.log1p(-share[judged])))
        best = _SCALES[int(np.argmax(found))]
        return cls(prior, centres, share, np.sqrt(best) * root[None])

    @classmethod
    def twice_covariance(cls, prior: Prior, centres: np.ndarray, weight: np.ndarray) -> Moving:
        """One kernel for all centres."""
        share = weight / weight.sum()
        return cls(prior, centres, share, _root(2 * _covariance(centres, share))[None])

    @classmethod
    def nearest(cls, prior: Prior, centres: np.ndarray, weight: np.ndarray, k: int) -> Moving:
        """A kernel for each centre, of the k centres around it; near by the whole covariance."""
        share = weight / weight.sum()
        whole = cls.twice_covariance(prior, centres, weight).roots[0]
        scaled = solve_triangular(whole, centres.T, lower=True).T
        order = np.argsort(cdist(scaled, scaled), axis=1, kind="stable")[:, : k + 1]
        roots = []
        for j, rows in enumerate(order):
            away, p = centres[rows] - centres[j], share[rows] / share[rows].sum()
            roots.append(_root((p[:, None] * away).T @ away))
        return cls(prior, centres, share, np.stack(roots))

    def __call__(self, seeds: np.ndarray) -> np.ndarray:
        """Parameters (n, d) of the seeds (n,): row i depends on ``seeds[i]`` alone."""
        d = self.centres.shape[1]
        words = [mix(mix(seeds) ^ np.uint64(stream(0, f"move {k}"))) for k in range(d + 2)]
        places = (np.stack(words) >> np.uint64(11)) * 2.0**-53 + 2.0**-54
        chosen = np.searchsorted(np.cumsum(self.share), places[0], side="right")
        chosen = np.minimum(chosen, len(self.share) - 1)
        noise, root = ndtri(places[1 : d + 1]), self.roots[chosen % len(self.roots)]
        z = self.centres[chosen].copy()
        for k in range(d):  # sums in one order, whatever the number of rows
            z += root[:, :, k] * noise[k][:, None]
        moved, fresh = from_unbounded(self.prior, z), self.prior.sample_at(seeds)
        return np.where((places[d + 1] < PRIOR)[:, None], fresh, moved)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """log q at points (n, d), (n,)."""
        blocks = [z[i : i + _BLOCK] for i in range(0, len(z), _BLOCK)]
        moved = np.concatenate([np.zeros(0), *(self._log_density(block) for block in blocks)])
        return np.logaddexp(moved + np.log1p(-PRIOR), log_prior(self.prior, z) + np.log(PRIOR))

    def _log_density(self, z: np.ndarray) -> np.ndarray:
        d = z.shape[1]
        if len(self.roots) == 1:
            root = self.roots[0]
            a, b = (solve_triangular(root, rows.T, lower=True).T for rows in (z, self.centres))
            square = cdist(a, b, "sqeuclidean")
        else:
            inverse = np.linalg.inv(self.roots)  # whitens around each centre
            m, origin = len(inverse), np.einsum("mde,me->md", inverse, self.centres)
            white = (inverse.reshape(m * d, d) @ z.T).reshape(m, d, len(z))
            square = np.sum((white - origin[:, :, None]) ** 2, axis=1).T
        size = np.sum(np.log(np.diagonal(self.roots, axis1=1, axis2=2)), axis=1)
        kernels = -0.5 * square - size - 0.5 * d * np.log(2 * np.pi)
        return np.asarray(logsumexp(kernels, b=self.share, axis=1))


def _covariance(z: np.ndarray, share: np.ndarray) -> np.ndarray:
    away = z - share @ z
    return (share[:, None] * away).T @ away


def _root(covariance: np.ndarray) -> np.ndarray:
    """Cholesky root; a little is added along all directions, for those without spread."""
    d = len(covariance)
    least = _LEAST * np.trace(covariance) / d + 1e-12
    return np.linalg.cholesky(covariance + least * np.eye(d))
