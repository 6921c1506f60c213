"""One compiled training loop.

Maximum likelihood of a conditional density q over pairs (z_i, c_i) with weights w_i:

    minimise  - sum_i w_i log q(z_i | c_i) / sum_i w_i

One epoch - shuffle, all minibatches (``lax.fori_loop``), validation, the decision about early
stopping - is one compiled program whose state goes in and comes out. The host only reads the
losses, shows them and keeps a checkpoint, so that an interrupted training goes on exactly.

AdamW with a warm-up of one epoch; whenever the validation loss has not improved for a while, the
loop goes back to the best weights and halves the learning rate, and after ``cuts`` such cuts it
stops. No epoch count has to be guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import paramax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish.core import Folder

_WIDE = 512  # numbers of a condition above which it is raw data
_NEVER = 1e30  # validation loss before the first epoch


@dataclass(frozen=True)
class Training:
    """Settings of the loop; the defaults need no tuning.

    Args:
        batch: pairs in a minibatch.
        rate: first learning rate.
        clip: largest norm of a minibatch's gradient.
        decay: decoupled weight decay.
        patience: epochs without a better validation loss before the rate is cut.
        cuts: how often the rate is cut (by 4) before training ends.
        held_out: share of the pairs kept for validation.
        max_epochs: end at the latest then.
    """

    batch: int = 200
    rate: float = 1e-3
    clip: float = 5.0
    decay: float = 1e-4
    patience: int = 8
    cuts: int = 3
    held_out: float = 0.1
    max_epochs: int = 1_000

    def __post_init__(self) -> None:
        for name in ("batch", "patience", "max_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected {name} above 0; got {getattr(self, name)}.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"Expected held_out between 0 and 1; got {self.held_out}.")


class Pairs(NamedTuple):
    """Training pairs: z (n, d), c (n, k), weight (n,)."""

    z: Any
    c: Any
    weight: Any


class State(NamedTuple):
    """All that the next epoch depends on."""

    params: Array
    moments: Any
    best: Array
    best_loss: Array
    waited: Array
    cuts: Array
    epoch: Array
    train_loss: Array
    loss: Array


@dataclass(frozen=True)
class Epoch:
    """What is told after each epoch."""

    number: int
    train: float
    validation: float
    best: float
    share: float
    seconds_left: float | None


def train(
    model: eqx.Module,
    pairs: Pairs,
    settings: Training,
    *,
    seed: int,
    checkpoint: Folder | None = None,
    tell: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[Any, dict[str, list[float]]]:
    """Fit ``model``, which has ``log_prob(z, c)``, to the pairs.

    Args:
        checkpoint: a folder to keep the state in; if it holds one, training goes on from there and
            ends with the same bits as an uninterrupted one.
        tell: called after each epoch.

    Returns:
        The model with the weights of the best validation loss, and the curves ``train`` and
        ``validation`` with ``best_epoch``.

    Raises:
        ValueError: if there are fewer than ten pairs.
        FloatingPointError: if the loss is not finite even after the rate was cut.
    """
    loop = _Loop(model, pairs, settings, seed)
    state, curves = loop.start()
    if checkpoint is not None and checkpoint.exists("training.json"):
        state, curves = _read(checkpoint, state)
    started = saved = time.monotonic()
    first = int(state.epoch)
    while int(state.cuts) <= settings.cuts and int(state.epoch) < settings.max_epochs:
        state = loop.epoch(state)
        _record(curves, state)
        now = time.monotonic()
        tell(_describe(state, settings, (now - started) / (int(state.epoch) - first)))
        if checkpoint is not None and now - saved > 10:
            _write(checkpoint, state, curves)
            saved = now
    if checkpoint is not None:
        _write(checkpoint, state, curves)
    if not np.isfinite(float(state.best_loss)) or float(state.best_loss) >= _NEVER:
        raise FloatingPointError(
            "Expected a finite training loss; got none in any epoch: look for extreme values in "
            "the statistics, or lower the rate, such as NPE(training=Training(rate=1e-4))."
        )
    curves["best_epoch"] = [float(np.nanargmin(curves["validation"]))]
    return loop.rebuild(state.best), curves


class _Loop:
    """The compiled epoch and the data that it works on."""

    def __init__(self, model, pairs: Pairs, settings: Training, seed: int) -> None:
        if len(pairs.z) < 10:
            raise ValueError(
                f"Expected at least 10 valid simulations to train on; got {len(pairs.z)}: raise "
                "the number of simulations."
            )
        self.parts = _Parts.of(model)
        key = jr.key(seed % 2**32)
        held, kept = _split(len(pairs.z), settings.held_out, seed)
        data = _Data(_pad(pairs, kept), _pad(pairs, held), jnp.asarray(len(kept)), key)
        self.given = self.parts, data, settings

    def start(self) -> tuple[State, dict[str, list[float]]]:
        zero, none = jnp.zeros((), jnp.int32), jnp.asarray(_NEVER, jnp.float32)
        params = self.parts.flat()[0]
        moments = _optimiser(self.given[2]).init(params)
        # separate buffers, because the compiled epoch takes over those of the state it is given
        state = State(params, moments, params, none, zero, zero, zero, none, none)
        return jax.tree.map(jnp.array, state), {"train": [], "validation": []}

    def epoch(self, state: State) -> State:
        return _epoch(self.given, state)

    def rebuild(self, params: Array):
        return self.parts.model(self.parts.flat()[1](params))


class _Parts(NamedTuple):
    """A model in parts: what is trained, and what is not.

    All of them are arguments of the compiled epoch, so that rounds and members share it; what is
    trained is one vector there, for one update takes the place of many.
    """

    trained: Any
    frozen: Any

    @classmethod
    def of(cls, model) -> _Parts:
        return cls(*eqx.partition(model, eqx.is_inexact_array, is_leaf=_is_frozen))

    def flat(self) -> tuple[Array, Callable[[Array], Any]]:
        return ravel_pytree(self.trained)

    def model(self, trained):
        return eqx.combine(trained, self.frozen, is_leaf=_is_frozen)


def _is_frozen(leaf) -> bool:
    return isinstance(leaf, paramax.NonTrainable)


class _Data(NamedTuple):
    """Pairs padded to a power of two, so that rounds of similar size share one compilation."""

    train: Pairs
    held: Pairs
    n_train: Array
    key: Array


def _split(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(n)
    cut = max(1, round(share * n))
    return order[:cut], order[cut:]


def _pad(pairs: Pairs, rows: np.ndarray) -> Pairs:
    """The rows, with rows of weight 0 behind them up to the next power of two."""
    size = 1 << max(8, int(len(rows) - 1).bit_length())
    filled = np.concatenate([rows, np.full(size - len(rows), rows[0])])
    weight = np.where(np.arange(size) < len(rows), pairs.weight[filled], 0.0)
    z, c = pairs.z[filled], pairs.c[filled]
    return Pairs(*(jnp.asarray(a, jnp.float32) for a in (z, c, weight)))


def _optimiser(settings: Training) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(settings.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(settings.decay),
    )


@eqx.filter_jit(donate="all-except-first")
def _epoch(given: tuple[_Parts, _Data, Training], state: State) -> State:
    """One epoch: state to the next state."""
    parts, data, settings = given
    unravel, optimiser = parts.flat()[1], _optimiser(settings)

    def total(trained, pairs: Pairs) -> Array:
        model = paramax.unwrap(parts.model(trained))
        losses = -jax.vmap(model.log_prob)(pairs.z, pairs.c)
        return jnp.sum(jnp.where(pairs.weight > 0, pairs.weight * losses, 0.0))

    def step(params, moments, pairs, rate):
        mean = jnp.maximum(jnp.sum(pairs.weight), 1e-12)
        loss, slope = jax.value_and_grad(lambda p: total(p, pairs) / mean)(unravel(params))
        change, moments = optimiser.update(ravel_pytree(slope)[0], moments, params)
        return params - rate * change, moments, loss

    rate = settings.rate * 0.25 ** state.cuts.astype(jnp.float32)
    places = jr.uniform(jr.fold_in(data.key, state.epoch), data.train.weight.shape)
    real = jnp.arange(len(places)) < data.n_train
    order = jnp.argsort(jnp.where(real, places, 2.0))
    batches = jnp.maximum(data.n_train // settings.batch, 1)

    def body(i, carry):
        params, moments, losses = carry
        rows = jax.lax.dynamic_slice(order, (i * settings.batch,), (settings.batch,))
        batch = Pairs(*(a[rows] for a in data.train))
        first = jnp.where(state.epoch == 0, (i + 1) / batches, 1.0)
        params, moments, loss = step(params, moments, batch, rate * first)
        return params, moments, losses + loss

    carry = (state.params, state.moments, jnp.zeros(()))
    params, moments, losses = jax.lax.fori_loop(0, batches, body, carry)
    held = _in_chunks(total, unravel(params), data.held)
    held = held / jnp.maximum(jnp.sum(data.held.weight), 1e-12)
    return _decide(state, params, moments, losses / batches, held, settings)


def _in_chunks(total, params, pairs: Pairs) -> Array:
    """Sum of ``total`` over chunks, to bound the memory of validation."""
    size = 4096 if pairs.c.shape[1] <= _WIDE else 256  # both divide the padded number of pairs
    size = min(size, len(pairs.weight))
    chunks = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), pairs)
    return jnp.sum(jax.lax.map(lambda part: total(params, part), chunks))


def _decide(state: State, params, moments, train_loss, held, settings: Training) -> State:
    """Keep the best weights; cut the rate and go back to them when there was no progress."""
    held = jnp.where(jnp.isfinite(held), held, _NEVER)
    better = held < state.best_loss
    best = jnp.where(better, params, state.best)
    waited = jnp.where(better, 0, state.waited + 1)
    cut = (waited >= settings.patience) | (held >= _NEVER)
    return State(
        params=jnp.where(cut, best, params),
        moments=jax.tree.map(lambda m: jnp.where(cut, jnp.zeros_like(m), m), moments),
        best=best,
        best_loss=jnp.minimum(held, state.best_loss),
        waited=jnp.where(cut, 0, waited),
        cuts=state.cuts + cut,
        epoch=state.epoch + 1,
        train_loss=jnp.asarray(train_loss, jnp.float32),
        loss=held,
    )


def _record(curves: dict[str, list[float]], state: State) -> None:
    curves["train"].append(float(state.train_loss))
    curves["validation"].append(float(state.loss))


def _describe(state: State, settings: Training, seconds_an_epoch: float) -> Epoch:
    """Progress. The end is not known beforehand: as if no epoch got better from here on."""
    ahead = (settings.cuts - int(state.cuts) + 1) * settings.patience - int(state.waited)
    ahead = max(0, min(ahead, settings.max_epochs - int(state.epoch)))
    number = int(state.epoch)
    return Epoch(
        number=number,
        train=float(state.train_loss),
        validation=float(state.loss),
        best=float(state.best_loss),
        share=number / (number + ahead),
        seconds_left=ahead * seconds_an_epoch,
    )


def _write(folder: Folder, state: State, curves) -> None:
    leaves = {str(i): np.atleast_1d(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    name = f"training-{int(state.epoch):06d}.safetensors"
    before = [n for n in folder.names() if n.startswith("training-") and n != name]
    folder.write_weights(name, leaves)
    folder.write_json("training.json", {"state": name, "curves": curves})
    for old in before:
        folder.remove(old)


def _read(folder: Folder, like: State) -> tuple[State, dict[str, list[float]]]:
    kept = folder.read_json("training.json")
    leaves = folder.read_weights(kept["state"])
    shapes, structure = jax.tree.flatten(like)
    read = [jnp.asarray(leaves[str(i)]).reshape(leaf.shape) for i, leaf in enumerate(shapes)]
    return jax.tree.unflatten(structure, read), kept["curves"]
