"""Where simulations are valid: a classifier over parameters, and the region that it allows.

A network c(z) learns the log odds that a simulation at z gives finite statistics,

    minimise  - E [ valid log s(c(z)) + (1 - valid) log s(-c(z)) ],    s the logistic function,

over all simulations of all rounds: the chance of validity depends on the parameters alone, so it
does not matter what proposed them. The region is { z : c(z) > eta }, with eta such that a share
``epsilon`` of valid simulations that the classifier has not seen falls outside. The posterior given
a measured x has no mass where simulations are never valid, so restricting to the region loses at
most about epsilon (restricted priors: Deistler, Macke & Goncalves, PNAS 2022).
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import Folder
from lanternfish.flows.networks import ResidualNetwork
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.training import Epoch, Training, train

_FEWEST = 50  # valid, and invalid, simulations below which no region is learned
_KEPT = 0.2  # share of the simulations that the classifier does not see


class Validity(eqx.Module):
    """Log odds of validity at points z (d,) of the prior's unbounded space."""

    network: ResidualNetwork
    prior_log_odds: Array
    threshold: Array

    def __init__(self, rng: np.random.Generator, dim: int, width: int = 64, depth: int = 2) -> None:
        self.network = ResidualNetwork(rng, dim, 1, width, depth)
        self.prior_log_odds = jnp.zeros(())
        self.threshold = jnp.asarray(-jnp.inf)

    def log_odds(self, z: Array) -> Array:
        return self.network(z)[0] + self.prior_log_odds

    def log_chance(self, z: Array) -> Array:
        """log P(valid | z)."""
        return jax.nn.log_sigmoid(self.log_odds(z))

    def log_prob(self, valid: Array, z: Array) -> Array:
        """Log likelihood of what became of one simulation; ``valid`` of shape (1,), 0 or 1."""
        sign = 2 * valid[0] - 1
        return jax.nn.log_sigmoid(sign * self.log_odds(z))

    def allows(self, z: Array) -> Array:
        """Whether the region holds z."""
        return self.log_odds(z) > self.threshold


def learn_validity(
    z: np.ndarray, valid: np.ndarray, weight: np.ndarray, *, seed: int, epsilon: float = 0.01,
    checkpoint: Folder | None = None, tell: Callable[[Epoch], None] = lambda epoch: None,
) -> Validity | None:  # fmt: skip
    """The classifier and its region, or None where there is too little to learn from.

    Args:
        z: parameters in unbounded space, (n, d).
        valid: what became of each, (n,) of bool.
        weight: importance weights (n,); rows of weight 0 are not looked at.
        epsilon: share of the valid simulations that may fall outside of the region.
        checkpoint, tell: see ``training.train``.
    """
    looked = weight > 0
    z, valid, weight = z[looked], valid[looked], weight[looked]
    if min(valid.sum(), (~valid).sum()) < _FEWEST:
        return None
    kept = np.random.default_rng(seed).random(len(z)) < _KEPT
    start = Validity(np.random.default_rng(seed), z.shape[1])
    share = np.average(valid, weights=weight)
    start = eqx.tree_at(lambda v: v.prior_log_odds, start, jnp.float32(np.log(share / (1 - share))))
    pairs = Pairs(valid[~kept, None].astype(np.float32), z[~kept], weight[~kept])
    settings = Training(batch=256, rate=3e-3, decay=1e-3)
    fitted, _ = train(start, pairs, settings, seed=seed, checkpoint=checkpoint, tell=tell)
    unseen = kept & valid
    odds = np.asarray(jax.jit(jax.vmap(fitted.log_odds))(jnp.asarray(z[unseen], jnp.float32)))
    # the smallest of n values loses 1 / (n + 1) of them on average, so few rows give a wide region
    lost = np.floor(epsilon * (len(odds) + 1)) / max(len(odds), 1)
    threshold = jnp.float32(np.quantile(odds, lost, method="lower") - 1e-4)
    return eqx.tree_at(lambda v: v.threshold, fitted, threshold)
