"""Pairs for rounds that simulate from the last posterior itself (APT, SNPE-C).

See ``objectives`` for the loss. Pairs of all rounds are trained on together: an atom may come from
any of them (Greenberg, Nonnenmacher & Macke 2019). Bounded parameters need no correction for
leakage, as the density lives in the prior's unbounded space.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import Prior
from lanternfish.inference.chains import log_prior
from lanternfish.inference.npe_posterior import Constant
from lanternfish.inference.objectives import Atoms, Pairs

_BLOCK = 8_192


def with_atoms(prior: Prior, pairs: Pairs, from_prior: np.ndarray) -> Pairs:
    """The pairs for the atomic loss; ``from_prior`` (n,) says which were drawn from the prior."""
    n = len(pairs.z)
    z = np.resize(np.asarray(pairs.z, np.float32), (-(-n // _BLOCK) * _BLOCK, len(prior)))
    blocks = [
        _log_priors(Constant(prior), jnp.asarray(block))
        for block in z.reshape(-1, _BLOCK, len(prior))
    ]
    logs = np.concatenate([np.asarray(block) for block in blocks])[:n]
    return pairs._replace(atoms=Atoms(logs, np.asarray(from_prior, np.float32)))


@eqx.filter_jit
def _log_priors(constant: Constant, z: Array) -> Array:
    return jax.vmap(lambda row: log_prior(constant.prior, row))(z)
