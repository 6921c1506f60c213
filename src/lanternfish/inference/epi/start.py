"""A density fitted to a population by maximum likelihood: the loop begins near its end."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish.flows import Pushforward

_BATCH = 256
_RATE = 4e-3
_CLIP = 10.0
_SHARE = 0.1  # held out
_LOOKS = 20  # at what is held out


def fitted(flow: Pushforward, z: np.ndarray, seed: int, steps: int) -> Pushforward:
    """The flow, trained on points z (d, n); of its states, the best one on held-out points."""
    order = np.random.default_rng(seed).permutation(z.shape[1])
    held = max(1, round(_SHARE * len(order)))
    points = jnp.asarray(z[:, order], jnp.float32)
    return _trained(flow, points[:, held:], points[:, :held], jr.key(seed % 2**32), steps)


@eqx.filter_jit
def _trained(flow: Pushforward, points: Array, held: Array, key: Array, steps: int) -> Pushforward:
    trained, rest = eqx.partition(flow, eqx.is_inexact_array)
    start, build = ravel_pytree(trained)
    schedule = optax.cosine_decay_schedule(_RATE, steps)
    optimiser = optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(schedule))

    def loss(params, batch):
        return -jnp.mean(eqx.combine(build(params), rest).log_prob(batch))

    def step(i, carry):
        params, moments = carry
        rows = jr.randint(jr.fold_in(key, i), (_BATCH,), 0, points.shape[1])
        slope = jax.grad(loss)(params, points[:, rows])
        change, moments = optimiser.update(slope, moments)
        return optax.apply_updates(params, change), moments

    def look(carry, number):
        (params, moments), best, least = carry
        each = steps // _LOOKS
        first = number * each
        params, moments = jax.lax.fori_loop(first, first + each, step, (params, moments))
        found = loss(params, held)
        best = jnp.where(found < least, params, best)
        return ((params, moments), best, jnp.minimum(found, least)), None

    carry = (start, optimiser.init(start)), start, jnp.asarray(jnp.inf)
    best = jax.lax.scan(look, carry, jnp.arange(_LOOKS))[0][1]
    return eqx.combine(build(best), rest)
