"""What training minimises: the loss of a pair (z_i, c_i) under a conditional density q.

Maximum likelihood, for pairs whose z come from the prior, or from the prior within a region:

    loss_i = - log q(z_i | c_i).

Atomic, for z that come from any proposals (automatic posterior transformation, SNPE-C; Greenberg,
Nonnenmacher & Macke 2019): which of M atoms, z_i and M - 1 others, gave c_i?

    loss_i = - log [ r(z_i | c_i) / sum_m r(z_m | c_i) ],    r(z | c) = q(z | c) / p(z).

Its minimum is the posterior too, up to a factor that depends on c alone; pairs that do come from
the prior fix that factor, by the first loss added to theirs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lanternfish import flows

ATOMS = 10


class Atoms(NamedTuple):
    """What the atomic loss knows of each pair beside z and c.

    Attributes:
        log_prior: log p(z) in the space of z, shape (n,).
        from_prior: 1 where z is a draw from the prior, else 0, shape (n,).
    """

    log_prior: Any
    from_prior: Any


class Pairs(NamedTuple):
    """Training pairs: z (n, d), c (n, k), weight (n,); with atoms, the atomic loss is theirs."""

    z: Any
    c: Any
    weight: Any
    atoms: Atoms | None = None


def losses(model, pairs: Pairs) -> Array:
    """The loss of each pair, shape (n,); rows of weight 0 behind the others are never atoms."""
    if pairs.atoms is None:
        return -_log_probs(model, pairs.z, pairs.c)
    n = len(pairs.weight)
    real = jnp.maximum(jnp.max(jnp.where(pairs.weight > 0, jnp.arange(n), 0)) + 1, 1)
    steps = jnp.arange(min(ATOMS, n))
    places = (jnp.arange(n)[:, None] + steps) % real
    logs = jax.lax.map(lambda z: _log_probs(model, z, pairs.c), pairs.z[places.T]).T
    ratios = logs - pairs.atoms.log_prior[places]
    atomic = jax.nn.logsumexp(jnp.where(steps < real, ratios, -jnp.inf), axis=1) - ratios[:, 0]
    return atomic - pairs.atoms.from_prior * logs[:, 0]


def _log_probs(model, z: Array, c: Array) -> Array:
    """log q(z_i | c_i) of rows, shape (n,): of all together, where the model can."""
    if isinstance(model, flows.ConditionalFlow | flows.Ensemble):
        return model.log_probs(z, c)
    return jax.vmap(model.log_prob)(z, c)
