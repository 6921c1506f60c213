"""One training loop, for densities and classifiers, in memory or from disk.

A conditional density q is fitted to pairs (z_i, c_i) with weights w_i:

    minimise  sum_i w_i loss_i / sum_i w_i

where the loss of a pair is - log q(z_i | c_i) or the atomic one (see ``objectives``).

The host draws the order of the pairs and hands minibatches to a compiled program (``descent``);
after each epoch it reads the held-out loss of the averaged weights, shows it and keeps a
checkpoint, so that an interrupted training goes on exactly. The learning rate falls along half a
cosine over as many epochs as suit the number of pairs, and training ends early when the held-out
loss of the average has not improved for a fifth of them. Nothing has to be guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import Folder
from lanternfish.inference import checkpoints
from lanternfish.inference.descent import Members, Recipe, State, Work
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.order import Order

Curves = dict[str, list[float]]

_NEVER = 1e30  # held-out loss before the first epoch
_BATCH, _SMALL_BATCH, _FEW = 192, 96, 20_000  # pairs in a minibatch; fewer where they are so few
_EPOCHS, _FEWEST_EPOCHS, _MOST_EPOCHS = 35, 3, 100  # at 10,000 pairs, at least and at most
_WARM = 100  # minibatches over which the rate rises
_BYTES = 32e6  # of minibatches that the compiled program gets at a time
_STEPS = 64  # of them, at most
HELD_OUT = 20_000  # pairs that are held out, at most
_SAVED = 10.0  # s between checkpoints


@dataclass(frozen=True)
class Training:
    """Settings of the loop; the defaults need no tuning.

    Args:
        batch: pairs in a minibatch; 192, or 96 of fewer than 20,000 pairs, where left out: whole
            multiples of what a processor computes at a time.
        rate: highest learning rate.
        clip: largest norm of a minibatch's gradient.
        decay: decoupled weight decay.
        epochs: over which the rate falls to nothing; by how many pairs there are, where left out:
            35 for 10,000, fewer for more as the square root, more for fewer in proportion, from 3
            to 100.
        patience: epochs without a better held-out loss that end training; a fifth of all epochs,
            and at least 5, where left out.
        held_out: share of the pairs kept for validation, at most 20,000 of them.
        averaging: of the weights, from one minibatch to the next.
    """

    batch: int | None = None
    rate: float = 1e-2
    clip: float = 5.0
    decay: float = 1e-4
    epochs: int | None = None
    patience: int | None = None
    held_out: float = 0.1
    averaging: float = 0.995

    def __post_init__(self) -> None:
        for name in ("batch", "patience", "epochs"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected {name} above 0; got {getattr(self, name)}.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"Expected held_out between 0 and 1; got {self.held_out}.")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"Expected averaging from 0 to below 1; got {self.averaging}.")

    def for_pairs(self, n: int) -> Training:
        """The settings with batch, epochs and patience decided for n pairs."""
        batch = self.batch or (_SMALL_BATCH if n < _FEW else _BATCH)
        times = 10_000 / max(n, 1)
        fitting = round(_EPOCHS * (times if times > 1 else times**0.5))
        epochs = self.epochs or int(np.clip(fitting, _FEWEST_EPOCHS, _MOST_EPOCHS))
        return replace(
            self, batch=batch, epochs=epochs, patience=self.patience or max(5, epochs // 5)
        )


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
    held: np.ndarray | None = None,
    checkpoint: Folder | None = None,
    tell: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[list[Any], list[Curves]]:
    """Fit models of one structure to the pairs, each as if it were alone, in one program.

    All hold out the same pairs; each has its own order of minibatches.

    Args:
        pairs: arrays in memory, or mapped from files (``numpy.memmap``).
        held: which pairs are held out, (n,) of bool; chosen by the first seed where left out.
        checkpoint: a folder to keep the state in; if it holds one, training goes on from there and
            ends with the same bits as an uninterrupted one.
        tell: called after each epoch.

    Returns:
        The models with the averaged weights of their best held-out losses, and for each the curves
        ``train`` and ``validation`` with ``best_epoch``.

    Raises:
        ValueError: if there are fewer than ten pairs.
        FloatingPointError: if no held-out loss is finite.
    """
    loop = _Loop(models, pairs, settings, seeds, held)
    progress = loop.start()
    if checkpoint is not None and checkpoints.kept(checkpoint):
        progress = _read(checkpoint, progress)
    started = saved = time.monotonic()
    first = progress.epoch
    while np.any(loop.works(progress)):
        progress = loop.epoch(progress)
        now = time.monotonic()
        tell(_describe(progress, loop, (now - started) / (progress.epoch - first)))
        if checkpoint is not None and now - saved > _SAVED:
            _write(checkpoint, progress)
            saved = now
    if checkpoint is not None:
        _write(checkpoint, progress)
    if np.any(progress.best_loss >= _NEVER):
        raise FloatingPointError(
            "Expected a finite training loss; got none in any epoch: look for extreme values in "
            "the statistics, or lower the rate, such as NPE(training=Training(rate=1e-4))."
        )
    for curve in progress.curves:
        curve["best_epoch"] = [float(np.nanargmin(curve["validation"]))]
    return loop.members.rebuild(progress.best), progress.curves


class _Progress(NamedTuple):
    """How far training came; what has a leading axis has it over members."""

    state: State
    best: np.ndarray
    best_loss: np.ndarray
    waited: np.ndarray
    epoch: int
    curves: list[Curves]


class _Loop:
    """The members, the pairs that they learn from, and the order of minibatches."""

    def __init__(self, models, pairs: Pairs, settings: Training, seeds, held) -> None:
        n = len(pairs.z)
        if n < 10:
            raise ValueError(
                f"Expected at least 10 valid simulations to train on; got {n}: raise "
                "the number of simulations."
            )
        self.settings = settings.for_pairs(n)
        self.members = Members(models, Recipe(settings.clip, settings.decay, settings.averaging))
        if held is None:
            self.held, kept = split(n, settings.held_out, seeds[0])
        else:
            self.held, kept = np.flatnonzero(held)[:HELD_OUT], np.flatnonzero(~held)
        self.pairs = pairs
        self.batches = max(len(kept) // self._batch, 1)
        self.orders = [Order(kept, seed) for seed in seeds]
        a_batch = 4 * self._batch * sum(np.size(a[0]) for a in jax.tree.leaves(pairs))
        self.steps = int(np.clip(_BYTES / (a_batch * len(self.members)), 1, _STEPS))

    @property
    def _batch(self) -> int:
        return self.settings.batch or _BATCH

    @property
    def epochs(self) -> int:
        return self.settings.epochs or _EPOCHS

    def start(self) -> _Progress:
        state, m = self.members.start(), len(self.members)
        curves: list[Curves] = [{"train": [], "validation": []} for _ in range(m)]
        never = np.full(m, _NEVER)
        return _Progress(state, np.array(state.params), never, np.zeros(m, int), 0, curves)

    def works(self, progress: _Progress) -> np.ndarray:
        """Which members still learn, (members,) of bool."""
        patience = self.settings.patience or self.epochs
        return (progress.waited < patience) & (progress.epoch < self.epochs)

    def epoch(self, progress: _Progress) -> _Progress:
        working = self.works(progress)
        orders = [order.epoch(progress.epoch, self.batches, self._batch) for order in self.orders]
        state, told = progress.state, _Mean(len(self.members))
        for work in self._work(orders, progress.epoch, working):
            state, loss = self.members.descend(state, work)
            told.add(loss, work)
        held = _Mean(len(self.members))
        for work in self._work([self._held] * len(self.members), progress.epoch, working):
            held.add(self.members.held_out(state, work), work)
        return _decide(progress, state, working, told.value, held.value)

    @cached_property
    def _held(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows that are held out in minibatches (k, batch), and which of them count."""
        k = -(-len(self.held) // self._batch)
        real = np.arange(k * self._batch) < len(self.held)
        rows = np.resize(self.held, k * self._batch)
        return rows.reshape(k, -1), real.reshape(k, -1)

    def _work(self, orders, epoch: int, working):
        """The minibatches of an order for each member, a few at a time, padded to one shape."""
        batches = len(orders[0][0])
        for at in range(0, batches, self.steps):
            count = min(self.steps, batches - at)
            pad = np.r_[np.arange(at, at + count), np.full(self.steps - count, at)]
            each = [_rows(self.pairs, rows[pad], real[pad]) for rows, real in orders]
            pairs = jax.tree.map(lambda *a: np.stack(a), *each)
            rates = self._rates(epoch * self.batches + pad)
            yield Work(pairs, rates, np.int32(count), working)

    def _rates(self, step: np.ndarray) -> np.ndarray:
        total = self.epochs * self.batches
        warm = np.minimum(1.0, (step + 1) / min(_WARM, max(total // 10, 1)))
        fall = 0.5 * (1 + np.cos(np.pi * step / total))
        return np.asarray(self.settings.rate * warm * fall, np.float32)


class _Mean:
    """Mean loss of each member over minibatches, weighted."""

    def __init__(self, members: int) -> None:
        self._total, self._weight = np.zeros(members), np.zeros(members)

    def add(self, loss: Array, work: Work) -> None:
        """The sum of weight times loss of each member over some minibatches."""
        self._total += np.asarray(loss, np.float64)
        self._weight += work.pairs.weight[:, : work.steps].sum(axis=(1, 2))

    @property
    def value(self) -> np.ndarray:
        return self._total / np.maximum(self._weight, 1e-12)


def split(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to hold out and rows to train on, of n."""
    order = np.random.default_rng(seed).permutation(n)
    cut = min(max(1, round(share * n)), HELD_OUT)
    return order[:cut], order[cut:]


def in_chunks(pairs: Pairs, rows: np.ndarray):
    """The rows of pairs, in chunks of one shape; rows of weight 0 stand behind the last."""
    width = sum(np.size(a[0]) for a in jax.tree.leaves(pairs))
    size = 1024 if width <= 512 else 128
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        real = np.arange(size) < len(part)
        yield _rows(pairs, np.resize(part, size), real)


def _rows(pairs: Pairs, rows: np.ndarray, real: np.ndarray) -> Pairs:
    """Rows (...) of pairs, as float32; those that are not real have weight 0."""
    flat = rows.ravel()
    take = lambda a: np.asarray(a[flat], np.float32).reshape(*rows.shape, *a.shape[1:])  # noqa: E731
    found = jax.tree.map(take, pairs)
    return found._replace(weight=np.where(real, found.weight, np.float32(0)))


def _decide(progress: _Progress, state: State, working, losses, held) -> _Progress:
    """Keep the best averages, and count how long there was no better one."""
    held = np.where(np.isfinite(held), held, _NEVER)
    better = working & (held < progress.best_loss)
    for i in np.flatnonzero(working):
        progress.curves[i]["train"].append(float(losses[i]))
        progress.curves[i]["validation"].append(float(held[i]))
    return progress._replace(
        state=state,
        best=np.where(better[:, None], np.asarray(state.average), progress.best),
        best_loss=np.where(better, held, progress.best_loss),
        waited=np.where(working, np.where(better, 0, progress.waited + 1), progress.waited),
        epoch=progress.epoch + 1,
    )


def _describe(progress: _Progress, loop: _Loop, seconds_an_epoch: float) -> Epoch:
    works = bool(np.any(loop.works(progress)))
    left = loop.epochs - progress.epoch if works else 0
    last = [(c["train"][-1], c["validation"][-1]) for c in progress.curves]
    return Epoch(
        number=progress.epoch,
        train=float(np.mean([a for a, _ in last])),
        validation=float(np.mean([b for _, b in last])),
        best=float(np.mean(progress.best_loss)),
        share=progress.epoch / (progress.epoch + left),
        seconds_left=left * seconds_an_epoch,
    )


def _arrays(progress: _Progress) -> tuple:
    return progress.state, progress.best, progress.best_loss, progress.waited


def _write(folder: Folder, progress: _Progress) -> None:
    note = {"epoch": progress.epoch, "curves": progress.curves}
    checkpoints.write(folder, _arrays(progress), progress.epoch, note)


def _read(folder: Folder, like: _Progress) -> _Progress:
    (state, best, best_loss, waited), note = checkpoints.read(folder, _arrays(like))
    state = jax.tree.map(jnp.asarray, state)
    return _Progress(state, best, best_loss, waited, note["epoch"], note["curves"])
