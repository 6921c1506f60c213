"""One compiled training loop.

A conditional density q is fitted to pairs (z_i, c_i) with weights w_i:

    minimise  sum_i w_i loss_i / sum_i w_i

where the loss of a pair is - log q(z_i | c_i) or the atomic one (see ``objectives``).

One epoch - shuffle, all minibatches (``lax.fori_loop``), validation, the decision about early
stopping - is one compiled program whose state goes in and comes out. The host only reads the
losses, shows them and keeps a checkpoint, so that an interrupted training goes on exactly.

AdamW with a warm-up of one epoch; whenever the validation loss has not improved for a while, the
loop goes back to the best weights and halves the learning rate, and after ``cuts`` such cuts it
stops. No epoch count has to be guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from lanternfish.inference.objectives import Pairs, losses

_WIDE = 512  # numbers of a condition above which it is raw data
Curves = dict[str, list[float]]

_NEVER = 1e30  # validation loss before the first epoch
_BATCH = 200  # pairs in a minibatch, and fewer where they are few: for so many minibatches an epoch
_FEWEST_BATCH, _BATCHES = 50, 20


@dataclass(frozen=True)
class Training:
    """Settings of the loop; the defaults need no tuning.

    Args:
        batch: pairs in a minibatch; from 50 to 200, by how many pairs there are, where left out.
        rate: first learning rate.
        clip: largest norm of a minibatch's gradient.
        decay: decoupled weight decay.
        patience: epochs without a better validation loss before the rate is cut.
        cuts: how often the rate is cut (by 4) before training ends.
        held_out: share of the pairs kept for validation.
        max_epochs: end at the latest then.
    """

    batch: int | None = None
    rate: float = 3e-3
    clip: float = 5.0
    decay: float = 1e-4
    patience: int = 5
    cuts: int = 2
    held_out: float = 0.1
    max_epochs: int = 1_000

    def __post_init__(self) -> None:
        for name in ("batch", "patience", "max_epochs"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected {name} above 0; got {getattr(self, name)}.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"Expected held_out between 0 and 1; got {self.held_out}.")

    def for_pairs(self, n: int) -> Training:
        """The settings with the batch decided."""
        batch = self.batch or int(np.clip(n // _BATCHES, _FEWEST_BATCH, _BATCH))
        return replace(self, batch=batch)


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
) -> tuple[Any, Curves]:
    """Fit ``model``, which has ``log_prob(z, c)``, to the pairs: ``train_together`` of one."""
    fitted = train_together(
        [model], pairs, settings, seeds=[seed], checkpoint=checkpoint, tell=tell
    )
    return fitted[0][0], fitted[1][0]


def train_together(
    models: Sequence[eqx.Module],
    pairs: Pairs,
    settings: Training,
    *,
    seeds: Sequence[int],
    checkpoint: Folder | None = None,
    tell: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[list[Any], list[Curves]]:
    """Fit models of one structure to the pairs, each as if it were alone, in one program.

    All hold out the same pairs, chosen by the first seed; each has its own order of minibatches.

    Args:
        checkpoint: a folder to keep the state in; if it holds one, training goes on from there and
            ends with the same bits as an uninterrupted one.
        tell: called after each epoch.

    Returns:
        The models with the weights of their best validation losses, and for each the curves
        ``train`` and ``validation`` with ``best_epoch``.

    Raises:
        ValueError: if there are fewer than ten pairs.
        FloatingPointError: if a loss is not finite even after the rate was cut.
    """
    loop = _Loop(models, pairs, settings, seeds)
    state, curves = loop.start()
    if checkpoint is not None and checkpoint.exists("training.json"):
        state, curves = _read(checkpoint, state)
    started = saved = time.monotonic()
    first = int(np.max(state.epoch))
    while np.any(_works_on(state, settings)):
        before, state = np.asarray(state.epoch), loop.epoch(state)
        _record(curves, state, np.asarray(state.epoch) > before)
        now = time.monotonic()
        tell(_describe(state, settings, (now - started) / (int(np.max(state.epoch)) - first)))
        if checkpoint is not None and now - saved > 10:
            _write(checkpoint, state, curves)
            saved = now
    if checkpoint is not None:
        _write(checkpoint, state, curves)
    best = np.asarray(state.best_loss)
    if not np.all(np.isfinite(best)) or np.any(best >= _NEVER):
        raise FloatingPointError(
            "Expected a finite training loss; got none in any epoch: look for extreme values in "
            "the statistics, or lower the rate, such as NPE(training=Training(rate=1e-4))."
        )
    for curve in curves:
        curve["best_epoch"] = [float(np.nanargmin(curve["validation"]))]
    return loop.rebuild(state.best), curves


class _Loop:
    """The compiled epoch and the data that it works on."""

    def __init__(self, models, pairs: Pairs, settings: Training, seeds: Sequence[int]) -> None:
        if len(pairs.z) < 10:
            raise ValueError(
                f"Expected at least 10 valid simulations to train on; got {len(pairs.z)}: raise "
                "the number of simulations."
            )
        self.settings = settings.for_pairs(len(pairs.z))
        self.models = [_Parts.of(model) for model in models]
        held, kept = split(len(pairs.z), settings.held_out, seeds[0])
        self.data = _Data(padded(pairs, kept), padded(pairs, held), jnp.asarray(len(kept)))
        arrays = [parts.arrays for parts in self.models]
        self.each = _stack(arrays), jnp.stack([jr.key(seed % 2**32) for seed in seeds])

    def start(self) -> tuple[State, list[Curves]]:
        states = [_first_state(parts, self.settings) for parts in self.models]
        return _stack(states), [{"train": [], "validation": []} for _ in states]

    def epoch(self, state: State) -> State:
        parts = self.models[0]
        given = parts.trained, parts.structure, self.data, self.settings
        return _epochs((given, self.each), state)

    def rebuild(self, params: Array) -> list[Any]:
        return [
            parts.model(parts.unravel(row)) for parts, row in zip(self.models, params, strict=True)
        ]


class _Parts(NamedTuple):
    """A model in parts: what is trained, other arrays, and the rest.

    Arrays are arguments of the compiled epoch, so that rounds share it; what is trained is one
    vector there, for one update takes the place of many.
    """

    trained: Any
    arrays: Any
    structure: Any

    @classmethod
    def of(cls, model) -> _Parts:
        trained, rest = eqx.partition(model, eqx.is_inexact_array, is_leaf=_is_frozen)
        return cls(trained, *eqx.partition(rest, _is_array))

    def unravel(self, params: Array):
        return ravel_pytree(self.trained)[1](params)

    def model(self, trained):
        return eqx.combine(trained, self.arrays, self.structure)


def _is_frozen(leaf) -> bool:
    return isinstance(leaf, paramax.NonTrainable)


def _is_array(leaf) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def _stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


class _Data(NamedTuple):
    """Pairs padded to a power of two, so that rounds of similar size share one compilation."""

    train: Pairs
    held: Pairs
    n_train: Array


def split(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to hold out and rows to train on, of n."""
    order = np.random.default_rng(seed).permutation(n)
    cut = max(1, round(share * n))
    return order[:cut], order[cut:]


def padded(pairs: Pairs, rows: np.ndarray) -> Pairs:
    """The rows, with rows of weight 0 behind them up to the next power of two."""
    size = 1 << max(8, int(len(rows) - 1).bit_length())
    filled = np.concatenate([rows, np.full(size - len(rows), rows[0])])
    weight = np.where(np.arange(size) < len(rows), pairs.weight[filled], 0.0)
    rows_of = jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[filled], jnp.float32), pairs)
    return rows_of._replace(weight=jnp.asarray(weight, jnp.float32))


def _optimiser(settings: Training) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(settings.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(settings.decay),
    )


def _first_state(parts: _Parts, settings: Training) -> State:
    zero, none = jnp.zeros((), jnp.int32), jnp.asarray(_NEVER, jnp.float32)
    params = ravel_pytree(parts.trained)[0]
    moments = _optimiser(settings).init(params)
    return State(params, moments, params, none, zero, zero, zero, none, none)


def _works_on(state: State, settings: Training):
    return (state.cuts <= settings.cuts) & (state.epoch < settings.max_epochs)


@eqx.filter_jit(donate="all-except-first")
def _epochs(given, states: State) -> State:
    """One epoch of each member that is not done: states to the next states."""
    (trained, structure, data, settings), each = given

    def member(args):
        state, arrays, key = args
        epoch = partial(_epoch, _Parts(trained, arrays, structure), data, settings, key)
        return jax.lax.cond(_works_on(state, settings), epoch, lambda state: state, state)

    return jax.lax.map(member, (states, *each))


def _epoch(parts: _Parts, data: _Data, settings: Training, key: Array, state: State) -> State:
    optimiser, batch = _optimiser(settings), settings.batch or _BATCH

    def total(trained, pairs: Pairs) -> Array:
        model = paramax.unwrap(parts.model(trained))
        each = losses(model, pairs)
        return jnp.sum(jnp.where(pairs.weight > 0, pairs.weight * each, 0.0))

    def step(params, moments, pairs, rate):
        mean = jnp.maximum(jnp.sum(pairs.weight), 1e-12)
        loss, slope = jax.value_and_grad(lambda p: total(p, pairs) / mean)(parts.unravel(params))
        change, moments = optimiser.update(ravel_pytree(slope)[0], moments, params)
        return params - rate * change, moments, loss

    rate = settings.rate * 0.25 ** state.cuts.astype(jnp.float32)
    places = jr.uniform(jr.fold_in(key, state.epoch), data.train.weight.shape)
    real = jnp.arange(len(places)) < data.n_train
    order = jnp.argsort(jnp.where(real, places, 2.0))
    batches = jnp.maximum(data.n_train // batch, 1)

    def body(i, carry):
        params, moments, sums = carry
        rows = jax.lax.dynamic_slice(order, (i * batch,), (batch,))
        pairs = jax.tree.map(lambda a: a[rows], data.train)
        first = jnp.where(state.epoch == 0, (i + 1) / batches, 1.0)
        params, moments, loss = step(params, moments, pairs, rate * first)
        return params, moments, sums + loss

    carry = (state.params, state.moments, jnp.zeros(()))
    params, moments, sums = jax.lax.fori_loop(0, batches, body, carry)
    held = _in_chunks(total, parts.unravel(params), data.held)
    held = held / jnp.maximum(jnp.sum(data.held.weight), 1e-12)
    return _decide(state, params, moments, sums / batches, held, settings)


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


def _record(curves: list[Curves], state: State, worked: np.ndarray) -> None:
    for i in np.flatnonzero(worked):
        curves[i]["train"].append(float(state.train_loss[i]))
        curves[i]["validation"].append(float(state.loss[i]))


def _describe(state: State, settings: Training, seconds_an_epoch: float) -> Epoch:
    """Progress. The end is not known beforehand: as if no epoch got better from here on."""
    waits = (settings.cuts - np.asarray(state.cuts) + 1) * settings.patience
    ahead = np.minimum(waits - np.asarray(state.waited), settings.max_epochs - state.epoch)
    left = max(0, int(np.max(np.where(_works_on(state, settings), ahead, 0))))
    number = int(np.max(state.epoch))
    return Epoch(
        number=number,
        train=float(np.mean(state.train_loss)),
        validation=float(np.mean(state.loss)),
        best=float(np.mean(state.best_loss)),
        share=number / (number + left),
        seconds_left=left * seconds_an_epoch,
    )


def _write(folder: Folder, state: State, curves) -> None:
    leaves = {str(i): np.atleast_1d(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    name = f"training-{int(np.max(state.epoch)):06d}.safetensors"
    before = [n for n in folder.names() if n.startswith("training-") and n != name]
    folder.write_weights(name, leaves)
    folder.write_json("training.json", {"state": name, "curves": curves})
    for old in before:
        folder.remove(old)


def _read(folder: Folder, like: State) -> tuple[State, list[Curves]]:
    kept = folder.read_json("training.json")
    leaves = folder.read_weights(kept["state"])
    shapes, structure = jax.tree.flatten(like)
    read = [jnp.asarray(leaves[str(i)]).reshape(leaf.shape) for i, leaf in enumerate(shapes)]
    return jax.tree.unflatten(structure, read), kept["curves"]
