"""How much was learned of the parameters: held-out density beyond the prior's, in nats a pair.

    learned = mean_i [ log q(z_i | c_i) - log p(z_i) ]    over pairs that training held out,

which estimates the mutual information of parameters and statistics from below. Of log density
ratios of mean g the variance is about 2 g, so that from n pairs less than 8 / n is not told from
nothing (two standard errors); and the epoch is chosen that does best on these very pairs, which may
bring what fitting a mean for each of d parameters to them would, d / n.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from jaxtyping import Array

from lanternfish.core import Prior
from lanternfish.core.compilation import fast_jit
from lanternfish.inference.chains import log_prior
from lanternfish.inference.npe_posterior import Constant
from lanternfish.inference.objectives import Pairs

_LITTLE = 0.02  # nats


def learned(prior: Prior, pairs: Pairs, held: np.ndarray, loss: float) -> float:
    """Nats by which pairs that were held out are likelier than under the prior.

    Args:
        held: which pairs these are, (m,).
        loss: mean negative log density of them.
    """
    before = -np.asarray(_log_priors(Constant(prior), np.float32(pairs.z[held])), np.float64)
    return float(np.average(before, weights=np.asarray(pairs.weight)[held])) - loss


def too_little(nats: float, pairs: Pairs, held: int) -> str | None:
    """One sentence where what was learned, on ``held`` pairs, is not told from nothing."""
    simulations, parameters = pairs.z.shape
    if nats > max(_LITTLE, (8 + parameters) / held):
        return None
    return (
        f"Expected a first round that learns of the parameters; got {max(nats, 0):.2g} nats beyond "
        f"the prior on {held:,} held-out simulations, no more than chance: raise the number of "
        f"simulations, {simulations:,} valid ones now, or give statistics that depend on the "
        "parameters."
    )


@partial(fast_jit, brief=True)
def _log_priors(constant: Constant, z: Array) -> Array:
    return jax.vmap(lambda row: log_prior(constant.prior, row))(z)
