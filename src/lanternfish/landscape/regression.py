"""A small network that predicts one number from parameters, for the gradients of what it learns.

    f(u) = w_3 . tanh(W_2 tanh(W_1 u + b_1) + b_2) + b_3,    u = (theta - mean) / sd,

trained on standardised values by Adam with weight decay, a fifth of the rows held out. Several
members learn from bootstrap samples of the rows; their mean predicts, their spread is its error.
The weights with the least loss on the rows held out are kept. One compiled loop trains all members.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array

_BATCH = 128
_STEPS = 3_000
_LOOK = 50  # steps between two looks at the rows held out
_RATE, _DECAY = 3e-3, 1e-3


class Network(NamedTuple):
    """Weights of one member, or of several along the first axis."""

    weights: tuple[Array, Array, Array]
    biases: tuple[Array, Array, Array]

    def __call__(self, u: Array) -> Array:
        hidden = jnp.tanh(self.weights[0] @ u + self.biases[0])
        hidden = jnp.tanh(self.weights[1] @ hidden + self.biases[1])
        return jnp.dot(self.weights[2], hidden) + self.biases[2]


class Fitted(NamedTuple):
    """What was learned.

    Attributes:
        members: networks along the first axis, in units of ``unit``.
        held_out: share of the variance of the rows held out that each member explains, (members,).
    """

    members: Network
    held_out: np.ndarray

    def gradients(self, u: np.ndarray) -> np.ndarray:
        """Gradients of every member at points u (n, d), shape (members, n, d)."""
        return np.asarray(_gradients(self.members, jnp.asarray(u, jnp.float32)), np.float64)

    def predict(self, u: np.ndarray) -> np.ndarray:
        """Predictions of every member, (members, n), standardised."""
        return np.asarray(_predictions(self.members, jnp.asarray(u, jnp.float32)), np.float64)


@eqx.filter_jit
def _gradients(members: Network, u: Array) -> Array:
    return jax.vmap(lambda net: jax.vmap(jax.grad(lambda row: net(row)))(u))(members)


@eqx.filter_jit
def _predictions(members: Network, u: Array) -> Array:
    return jax.vmap(lambda net: jax.vmap(net)(u))(members)


def _start(key: Array, d: int, width: int) -> Network:
    keys = jr.split(key, 3)
    weights = (
        jr.normal(keys[0], (width, d)) / np.sqrt(d),
        jr.normal(keys[1], (width, width)) / np.sqrt(width),
        jr.normal(keys[2], (width,)) / np.sqrt(width),
    )
    return Network(weights, (jnp.zeros(width), jnp.zeros(width), jnp.zeros(())))


@eqx.filter_jit
def _train(u: Array, y: Array, kept: Array, keys: Array, width: int) -> tuple[Network, Array]:
    """Members, one for each key; ``kept`` (members, rows) says what each may learn from."""
    optimiser = optax.adamw(optax.cosine_decay_schedule(_RATE, _STEPS), weight_decay=_DECAY)
    held = ~jnp.any(kept > 0, axis=0)

    def loss(net: Network, rows: Array) -> Array:
        return jnp.mean((jax.vmap(net)(u[rows]) - y[rows]) ** 2)

    def unseen(net: Network) -> Array:
        wrong = (jax.vmap(net)(u) - y) ** 2
        return jnp.sum(jnp.where(held, wrong, 0)) / jnp.sum(held)

    def member(key: Array, chance: Array):
        start_key, rows_key = jr.split(key)
        net = _start(start_key, u.shape[1], width)
        rows = jr.choice(rows_key, len(u), (_STEPS // _LOOK, _LOOK, _BATCH), p=chance)

        def step(carry, rows):
            net, state = carry
            slope = jax.grad(loss)(net, rows)
            updates, state = optimiser.update(slope, state, net)
            moved: Any = optax.apply_updates(net, updates)
            return (moved, state), None

        def look(carry, rows):
            net, state, best, least = carry
            (net, state), _ = jax.lax.scan(step, (net, state), rows)
            now = unseen(net)
            better = now < least
            best = jax.tree.map(lambda a, b: jnp.where(better, a, b), net, best)
            return (net, state, best, jnp.minimum(now, least)), None

        first = (net, optimiser.init(net), net, jnp.asarray(jnp.inf))
        _, _, best, least = jax.lax.scan(look, first, rows)[0]
        return best, least

    return jax.vmap(member)(keys, kept)


def fit(u: np.ndarray, y: np.ndarray, *, members: int, width: int, seed: int) -> Fitted:
    """Learn standardised values y (n,) from points u (n, d)."""
    rng = np.random.default_rng(seed)
    n = len(u)
    held = rng.random(n) < 0.2
    held[rng.permutation(n)[:2]] = [True, False]
    learned = np.flatnonzero(~held)
    kept = np.zeros((members, n))
    for row in kept:
        row[learned] = rng.multinomial(len(learned), np.full(len(learned), 1 / len(learned)))
    kept = kept / kept.sum(axis=1, keepdims=True)
    never = (kept == 0).all(axis=0) & ~held
    kept[:, never] = 1e-9  # a row that no bootstrap drew is still none that was held out
    keys = jr.split(jr.key(seed % 2**32), members)
    arrays = [jnp.asarray(a, jnp.float32) for a in (u, y, kept)]
    nets, least = _train(*arrays, keys, width)
    variance = float(np.var(y[held])) or 1.0
    return Fitted(nets, 1 - np.asarray(least, np.float64) / variance)
