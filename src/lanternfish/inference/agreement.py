"""How much densities that were trained apart disagree, in nats.

The mutual information between a draw of their mixture and the member m that drew it,

    E_q [ sum_m r_m log(M r_m) ],    r_m = q_m / sum_k q_k,

is 0 where all M members say the same, and log M where no draw of one could be another's
(Lakshminarayanan, Pritzel & Blundell 2017, section 2.4, ask the same of classifiers).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import xlogy

from lanternfish.core import Posterior


def nats(logs: np.ndarray) -> float:
    """The disagreement, from log densities of members at draws of their mixture, (n, M)."""
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return float(np.mean(np.sum(xlogy(shares, shares * logs.shape[1]), axis=1)))


def disagreement(members: Sequence[Posterior], n: int = 1_000, seed: int = 0) -> float:
    """That of posteriors of one prior, from ``n`` draws in all, as many of each."""
    each = -(-n // len(members))
    draws = np.concatenate([m.sample(each, seed=seed + i).array for i, m in enumerate(members)])
    return nats(np.stack([np.asarray(m.log_prob(draws), np.float64) for m in members], axis=1))
