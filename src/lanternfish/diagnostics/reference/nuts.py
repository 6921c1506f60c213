"""The no-U-turn sampler (BlackJAX) in the prior's unbounded space.

    log p(z | data) = log L(T(z)) + log p(T(z)) + log |dT / dz|

with T the prior's bijection, so that bounds need no care. Step size and mass matrix are adapted in
windows during warm-up; all chains run together in one compiled program.

References: Hoffman & Gelman (2014), JMLR 15:1593; Cabezas et al. (2024), arXiv:2402.10797
(BlackJAX).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lanternfish.core import Prior
from lanternfish.core.seeds import check_seed
from lanternfish.diagnostics.reference.samples import Reference, check_counts, needed, of_chains


def nuts(
    prior: Prior,
    log_likelihood: Callable,
    *,
    n: int = 1_000,
    chains: int = 4,
    warmup: int = 1_000,
    seed: int = 0,
) -> Reference:
    """Samples of the posterior of a model whose likelihood is a differentiable JAX function.

    Args:
        prior: of the parameters; every law needs a density.
        log_likelihood: ``log_likelihood(theta)`` of a mapping of scalars by parameter name.
        n: draws of each chain, kept after warm-up.
        chains: that run side by side, from draws of the prior.
        warmup: steps of each chain for adaptation, thrown away.
        seed: of the chains.

    Raises:
        ValueError: if a law has no density, counts are none, or the likelihood is not a finite
            number at the starts.
        ImportError: if BlackJAX is not there.
    """
    blackjax = needed("blackjax", "which runs NUTS")
    check_counts(n=n, chains=chains, warmup=warmup)
    if not prior.has_density:
        raise ValueError("Expected a prior with a density; got a law without one.")
    bijection, names = prior.bijection, prior.names

    def log_density(z):
        theta, slope = bijection.transform_and_log_det(z)
        likelihood = log_likelihood(dict(zip(names, theta, strict=True)))
        return likelihood + prior.log_density(theta) + slope

    starts = jax.vmap(bijection.inverse)(jnp.asarray(prior.sample(chains, seed=seed).array))
    _check_starts(log_density, starts)

    def chain(key, z):
        first, second = jr.split(key)
        adapt = blackjax.window_adaptation(blackjax.nuts, log_density)
        (state, parameters), _ = adapt.run(first, z, num_steps=warmup)
        step = blackjax.nuts(log_density, **parameters).step

        def move(state, key):
            state, info = step(key, state)
            return state, (state.position, info.is_divergent)

        return jax.lax.scan(move, state, jr.split(second, n))[1]

    keys = jr.split(jr.key(check_seed(seed)), chains)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library, on its own code
        z, divergent = jax.jit(jax.vmap(chain))(keys, starts)
    theta = jax.vmap(jax.vmap(bijection.transform))(z)
    held = np.clip(np.asarray(theta, np.float64), prior.low, prior.high)
    return of_chains(held, prior.columns, int(np.sum(divergent)))


def _check_starts(log_density, starts) -> None:
    values = np.asarray(jax.vmap(log_density)(starts))
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            f"Expected a log likelihood that is one finite number in the prior; got {values}: let "
            "it return a scalar, and write it with stable functions such as jax.nn.log_sigmoid."
        )
