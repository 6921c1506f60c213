"""The compiled part of training: minibatches of stochastic gradient descent, and their losses.

A minibatch with pairs i and weights w_i changes the weights phi of a density by AdamW, along

    grad_phi  sum_i w_i loss_i / sum_i w_i

(``objectives``); a minibatch whose gradient is not finite changes nothing. Beside phi runs its
exponential average, which is what training hands back: it lies where single steps end up around
(Polyak & Juditsky 1992; Izmailov et al. 2018), and generalises like a small ensemble,

    phi_bar <- a phi_bar + (1 - a) phi,    a = min(averaging, (1 + t) / (10 + t)) at step t.

Minibatches come from the host, a few at a time, from wherever the pairs lie: memory or disk. So
the program's shapes depend on a model and a minibatch alone, and all rounds of a study share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish import flows
from lanternfish.core.compilation import fast_jit
from lanternfish.inference.objectives import Pairs, losses


class State(NamedTuple):
    """All that the next minibatch of a member depends on."""

    params: Array
    moments: Any
    average: Array
    step: Any


class Recipe(NamedTuple):
    """How a minibatch changes the weights."""

    clip: float
    decay: float
    averaging: float

    def optimiser(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.scale_by_adam(b2=0.99),
            optax.add_decayed_weights(self.decay),
        )


class Parts(NamedTuple):
    """A model in parts: what is trained, other arrays, and the rest.

    Arrays are arguments of the compiled program; what is trained is one vector there, for one
    update takes the place of many. Masked weights stand in it as plain ones, which start at 0 and
    stay there.
    """

    trained: Any
    arrays: Any
    structure: Any

    @classmethod
    def of(cls, model) -> Parts:
        trained, rest = _partition(flows.plain(model))
        return cls(trained, *eqx.partition(rest, eqx.is_array))

    @property
    def params(self) -> Array:
        """What is trained, as one vector."""
        leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(self.trained)]  # compiles nothing
        return jax.device_put(np.concatenate(leaves))

    def model(self, params: Array):
        """The model with these weights."""
        trained = ravel_pytree(self.trained)[1](params)
        return eqx.combine(trained, self.arrays, self.structure)

    def rebuilt(self, params: np.ndarray):
        """The same outside of programs, where it compiles nothing."""
        leaves, structure = jax.tree.flatten(self.trained)
        ends = np.cumsum([leaf.size for leaf in leaves])
        pieces = zip(np.split(params, ends[:-1]), leaves, strict=True)
        arrays = [jax.device_put(piece.reshape(leaf.shape)) for piece, leaf in pieces]
        return eqx.combine(structure.unflatten(arrays), self.arrays, self.structure)


def _partition(model):
    """What is trained, and the rest."""
    return eqx.partition(model, eqx.is_inexact_array, is_leaf=_is_frozen)


def _is_frozen(leaf) -> bool:
    return isinstance(leaf, paramax.NonTrainable)


class Members:
    """Models of one structure that learn from minibatches of their own, each as if alone."""

    def __init__(self, models: Sequence[eqx.Module], recipe: Recipe) -> None:
        self._parts = [Parts.of(model) for model in models]
        self._structure = jax.tree.structure(models[0])
        counts = jax.tree.leaves(flows.seen(_partition(models[0])[0]))
        self._seen = np.concatenate([np.ravel(a) for a in counts])
        self._recipe = recipe
        self._arrays = _stack([parts.arrays for parts in self._parts])

    def __len__(self) -> int:
        return len(self._parts)

    def start(self) -> State:
        """The state before the first minibatch, with a leading axis of members."""
        return _stack([_first_state(parts, self._recipe) for parts in self._parts])

    def descend(self, state: State, work: Work) -> tuple[State, Array]:
        """The state after minibatches, and for each member the sum of weight times loss."""
        parts = self._parts[0]
        given = parts.trained, parts.structure, self._recipe, self._seen

        def run(state: State, arrays, pairs: Pairs, working):
            each = work._replace(pairs=pairs, working=working)
            return _descend((given, arrays, each), state)

        return _of_each(run, state, self._arrays, work.pairs, work.working)

    def held_out(self, state: State, work: Work) -> Array:
        """Sum of weight times loss, (members,), over minibatches, for the averaged weights.

        By the program that learns, at rates of 0, so that no other is compiled.
        """
        still = jax.tree.map(_copy, state._replace(params=state.average))
        return self.descend(still, work._replace(rates=np.zeros_like(work.rates)))[1]

    def rebuild(self, params: np.ndarray) -> list[Any]:
        """The models with weights (members, p)."""
        plain = [parts.rebuilt(row) for parts, row in zip(self._parts, params, strict=True)]
        return [self._structure.unflatten(jax.tree.leaves(model)) for model in plain]


class Work(NamedTuple):
    """Minibatches for each member: arrays (members, steps, batch, ...).

    Attributes:
        pairs: of which the first ``steps`` minibatches count.
        rates: learning rate of each, (steps,).
        steps: how many there are to do.
        working: which members do them, (members,) of bool.
    """

    pairs: Pairs
    rates: Any
    steps: Any
    working: Any


def _stack(trees):
    put = lambda *leaves: jax.device_put(np.stack(leaves))  # noqa: E731  (compiles nothing)
    return jax.tree.map(put, *trees)


def _copy(a: Array) -> Array:
    return jax.device_put(np.array(a))  # compiles nothing


def _first_state(parts: Parts, recipe: Recipe) -> State:
    params = parts.params
    moments = jax.eval_shape(recipe.optimiser().init, params)  # they start at zero
    nothing = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), moments)
    return State(params, nothing, params, np.zeros((), np.int32))


def _of_each(program, *given):
    """What a program gives for arguments and results that have a leading axis of members.

    On a CPU, which one fills, one member after the other by the program of a single one, which is
    then compiled once for ensembles and for flows alone; elsewhere side by side.
    """
    count = len(jax.tree.leaves(given)[0])
    if count == 1 or jax.default_backend() != "cpu":
        return program(*given)
    given = jax.tree.map(np.asarray, given)
    row = lambda i: jax.tree.map(lambda a: a[i : i + 1].copy(), given)  # noqa: E731
    done = [program(*row(i)) for i in range(count)]
    return jax.tree.map(lambda *rows: jax.device_put(np.concatenate(rows)), *done)


def _side_by_side(function, each):
    """A function of a member over all of them, and of one alone as if there were no others."""
    if len(jax.tree.leaves(each)[0]) > 1:
        return jax.vmap(function)(each)
    alone = function(jax.tree.map(lambda a: a[0], each))
    return jax.tree.map(lambda a: a[None], alone)


@partial(fast_jit, donate="all-except-first")
def _descend(rest, state: State) -> tuple[State, Array]:
    (trained, structure, recipe, seen), arrays, work = rest

    def member(args):
        own, held, pairs, working = args
        mine = work._replace(pairs=pairs, steps=jnp.where(working, work.steps, 0))
        return _minibatches(Parts(trained, held, structure), recipe, seen, mine, own)

    return _side_by_side(member, (state, arrays, work.pairs, work.working))


def _minibatches(parts: Parts, recipe: Recipe, seen: Array, work: Work, state: State):
    def body(i, carry):
        state, total = carry
        batch = jax.tree.map(lambda a: a[i], work.pairs)
        state, loss = _step(parts, recipe, seen, work.rates[i], state, batch)
        return state, total + loss

    return jax.lax.fori_loop(0, work.steps, body, (state, jnp.zeros(())))


def _step(parts: Parts, recipe: Recipe, seen: Array, rate: Array, state: State, batch: Pairs):
    mean = jnp.maximum(jnp.sum(batch.weight), 1e-12)
    objective = lambda params: _total(parts, params, batch) / mean  # noqa: E731
    loss, slope = jax.value_and_grad(objective)(state.params)
    slope = lax.optimization_barrier(slope * seen)  # a vector, of which XLA would undo the joining
    change: Any
    change, moments = recipe.optimiser().update(slope, state.moments, state.params)
    fine = jnp.isfinite(loss) & jnp.isfinite(jnp.sum(slope))
    keep = lambda new, old: jnp.where(fine, new, old)  # noqa: E731
    params = keep(state.params - rate * change, state.params)
    share = jnp.minimum(recipe.averaging, (1.0 + state.step) / (10.0 + state.step))
    average = share * state.average + (1 - share) * params
    moments = jax.tree.map(keep, moments, state.moments)
    told = jnp.where(fine | (rate == 0), loss * mean, 0.0)
    return State(params, moments, average, state.step + 1), told


def _total(parts: Parts, params: Array, pairs: Pairs) -> Array:
    each = losses(paramax.unwrap(parts.model(params)), pairs)
    return jnp.sum(jnp.where(pairs.weight > 0, pairs.weight * each, 0.0))
