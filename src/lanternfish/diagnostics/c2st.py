"""Classifier two-sample test: can a network tell two sets of samples apart?

Both sets are standardised by the reference's mean and standard deviation; the classifier is a
perceptron with two hidden layers of 10 x dimension, rectified, fitted by Adam (rate 1e-3, batches
of 200, penalty 1e-4) until ten epochs bring nothing; the result is the share that it tells right
over five shuffled folds: 0.5 for sets of one law, 1 for sets that nothing confuses. All folds are
trained together, in one compiled program.

Reference: Lopez-Paz & Oquab (ICLR 2017); settings of Lueckmann et al. (AISTATS 2021), which are
those of scikit-learn's ``MLPClassifier``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array
from scipy.stats import norm

FOLDS = 5
_BATCH = 200
_RATE = 1e-3
_PENALTY = 1e-4
_PROGRESS = 1e-4  # of the loss, less is none
_PATIENCE = 10  # epochs without progress
_EPOCHS = 2_000


@dataclass(frozen=True)
class Accuracy:
    """How well two sets are told apart.

    Attributes:
        value: share told right, 0.5 for sets of one law.
        error: its standard error.
        chance: what it reaches in one of 20 cases where there is nothing to tell.
        p_value: chance of so much where there is nothing to tell.
    """

    value: float
    error: float
    chance: float
    p_value: float


def c2st(reference: np.ndarray, samples: np.ndarray, seed: int = 1) -> Accuracy:
    """Tell reference (n, d) and samples (n, d) apart.

    Raises:
        ValueError: if shapes differ, sets are too small, or the reference is constant somewhere.
    """
    if reference.shape != samples.shape or reference.ndim != 2:
        raise ValueError(f"Expected samples of shape {reference.shape}; got {samples.shape}.")
    if len(reference) < 10 * FOLDS:
        raise ValueError(
            f"Expected at least {10 * FOLDS} samples of each; got {len(reference)}: draw more."
        )
    sd = reference.std(axis=0, ddof=1)
    if not np.all(sd > 0):
        raise ValueError("Expected a reference that varies in each parameter; got a constant.")
    n, both = len(reference), np.concatenate([reference, samples])
    rows = jnp.asarray((both - reference.mean(axis=0)) / sd, jnp.float32)
    labels = jnp.repeat(jnp.arange(2.0), n)
    fold = np.random.default_rng(seed).permutation(np.arange(2 * n) % FOLDS)
    nets = _train(rows, labels, fold, seed)
    odds = np.asarray(jax.vmap(_log_odds, (0, None))(nets, rows))[fold, np.arange(2 * n)]
    value = float(np.mean((odds > 0) == (np.arange(2 * n) >= n)))
    spread = 0.5 / np.sqrt(2 * n)
    return Accuracy(
        value=value,
        error=float(np.sqrt(max(value * (1 - value), 1 / n) / (2 * n))),
        chance=float(0.5 + norm.ppf(0.95) * spread),
        p_value=float(norm.sf((value - 0.5) / spread)),
    )


class _State(NamedTuple):
    """One network in training."""

    net: Any
    moments: optax.OptState
    best: Array  # loss
    stale: Array  # epochs without progress


def _train(rows: Array, labels: Array, fold: np.ndarray, seed: int) -> list:
    """The networks of all folds, stacked; each has not seen its own fold."""
    sizes = [int(np.sum(fold != k)) for k in range(FOLDS)]
    most = -(-max(sizes) // _BATCH) * _BATCH
    seen = np.stack([np.resize(np.flatnonzero(fold != k), most) for k in range(FOLDS)])
    there = np.stack([np.arange(most) < size for size in sizes])
    d = rows.shape[1]
    keys = jr.split(jr.key(seed), FOLDS)
    nets = jax.vmap(partial(_fresh, (d, 10 * d, 10 * d, 1)))(keys)
    states = _State(
        nets, jax.vmap(_ADAM.init)(nets), jnp.full(FOLDS, jnp.inf), jnp.zeros(FOLDS, int)
    )
    for epoch in range(_EPOCHS):
        keys = jr.split(jr.key(seed + 1 + epoch), FOLDS)
        states = _epoch(states, keys, rows, labels, jnp.asarray(seen), jnp.asarray(there))
        if np.all(np.asarray(states.stale) > _PATIENCE):
            break
    return states.net


_ADAM = optax.adam(_RATE)


@jax.jit
def _epoch(states: _State, keys, rows, labels, seen, there) -> _State:
    return jax.vmap(_one_epoch, (0, 0, None, None, 0, 0))(states, keys, rows, labels, seen, there)


def _one_epoch(state: _State, key, rows, labels, seen, there) -> _State:
    """All minibatches in a new order; a network without progress stays as it is."""
    order = jr.permutation(key, len(seen))
    batches = (seen[order].reshape(-1, _BATCH), there[order].reshape(-1, _BATCH))

    def step(carry, batch):
        net, moments = carry
        chosen, real = batch
        loss, slope = jax.value_and_grad(_loss)(net, rows[chosen], labels[chosen], real)
        change, moments = _ADAM.update(slope, moments)
        return (optax.apply_updates(net, change), moments), loss

    (net, moments), losses = jax.lax.scan(step, (state.net, state.moments), batches)
    loss = losses.mean()
    stale = jnp.where(loss > state.best - _PROGRESS, state.stale + 1, 0)
    new = _State(net, moments, jnp.minimum(loss, state.best), stale)
    over = state.stale > _PATIENCE
    return jax.tree.map(lambda old, now: jnp.where(over, old, now), state, new)


def _loss(net, x, label, real) -> Array:
    odds = _log_odds(net, x)
    missed = optax.sigmoid_binary_cross_entropy(odds, label)
    size = jnp.maximum(real.sum(), 1)
    penalty = sum(jnp.sum(w**2) for w, _ in net)
    return jnp.sum(jnp.where(real, missed, 0.0)) / size + 0.5 * _PENALTY * penalty / size


def _log_odds(net, x: Array) -> Array:
    for weight, bias in net[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = net[-1]
    return (x @ weight + bias)[:, 0]


def _fresh(sizes: tuple[int, ...], key) -> list:
    """Weights and biases, uniform after Glorot & Bengio (2010)."""
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        key, first, second = jr.split(key, 3)
        bound = jnp.sqrt(6.0 / (fan_in + fan_out))
        weight = jr.uniform(first, (fan_in, fan_out), minval=-bound, maxval=bound)
        layers.append((weight, jr.uniform(second, (fan_out,), minval=-bound, maxval=bound)))
    return layers
