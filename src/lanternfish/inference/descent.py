"""The compiled part of training: minibatches of stochastic gradient descent, and held-out losses.

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
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish.inference.objectives import Pairs, losses


class State(NamedTuple):
    """All that the next minibatch of a member depends on."""

    params: Array
    moments: Any
    average: Array
    step: Array


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
    update takes the place of many.
    """

    trained: Any
    arrays: Any
    structure: Any

    @classmethod
    def of(cls, model) -> Parts:
        trained, rest = eqx.partition(model, eqx.is_inexact_array, is_leaf=_is_frozen)
        return cls(trained, *eqx.partition(rest, eqx.is_array))

    @property
    def params(self) -> Array:
        """What is trained, as one vector."""
        return ravel_pytree(self.trained)[0]

    def model(self, params: Array):
        """The model with these weights."""
        trained = ravel_pytree(self.trained)[1](params)
        return eqx.combine(trained, self.arrays, self.structure)


def _is_frozen(leaf) -> bool:
    return isinstance(leaf, paramax.NonTrainable)


class Members:
    """Models of one structure that learn from minibatches of their own, each as if alone."""

    def __init__(self, models: Sequence[eqx.Module], recipe: Recipe) -> None:
        self._parts = [Parts.of(model) for model in models]
        self._recipe = recipe
        self._arrays = _stack([parts.arrays for parts in self._parts])

    def __len__(self) -> int:
        return len(self._parts)

    def start(self) -> State:
        """The state before the first minibatch, with a leading axis of members."""
        return _stack([_first_state(parts, self._recipe) for parts in self._parts])

    def descend(self, state: State, work: Work) -> tuple[State, Array]:
        """The state after minibatches, and the sum of their losses for each member."""
        parts = self._parts[0]
        given = parts.trained, parts.structure, self._recipe

        def run(state: State, arrays, pairs: Pairs, working):
            each = work._replace(pairs=pairs, working=working)
            return _descend((given, arrays, each), state)

        return _of_each(run, state, self._arrays, work.pairs, work.working)

    def held_out(self, averages: Array, pairs: Pairs) -> Array:
        """Sum of weight times loss over pairs, for weights (members, p); shape (members,)."""
        given = self._parts[0].trained, self._parts[0].structure
        run = lambda arrays, averages: _held_out(given, arrays, averages, pairs)  # noqa: E731
        return _of_each(run, self._arrays, averages)

    def rebuild(self, params: Array) -> list[Any]:
        """The models with weights (members, p)."""
        return [parts.model(row) for parts, row in zip(self._parts, params, strict=True)]


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
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *trees)  # compiles nothing


def _first_state(parts: Parts, recipe: Recipe) -> State:
    params = parts.params
    return State(params, recipe.optimiser().init(params), params, jnp.zeros((), jnp.int32))


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
    return jax.tree.map(lambda *rows: jnp.asarray(np.concatenate(rows)), *done)


def _side_by_side(function, each):
    """A function of a member over all of them, and of one alone as if there were no others."""
    if len(jax.tree.leaves(each)[0]) > 1:
        return jax.vmap(function)(each)
    alone = function(jax.tree.map(lambda a: a[0], each))
    return jax.tree.map(lambda a: a[None], alone)


@eqx.filter_jit(donate="all-except-first")
def _descend(rest, state: State) -> tuple[State, Array]:
    (trained, structure, recipe), arrays, work = rest

    def member(args):
        own, held, pairs, working = args
        mine = work._replace(pairs=pairs, steps=jnp.where(working, work.steps, 0))
        return _minibatches(Parts(trained, held, structure), recipe, mine, own)

    return _side_by_side(member, (state, arrays, work.pairs, work.working))


def _minibatches(parts: Parts, recipe: Recipe, work: Work, state: State):
    def body(i, carry):
        state, total = carry
        batch = jax.tree.map(lambda a: a[i], work.pairs)
        state, loss = _step(parts, recipe, work.rates[i], state, batch)
        return state, total + loss

    return jax.lax.fori_loop(0, work.steps, body, (state, jnp.zeros(())))


def _step(parts: Parts, recipe: Recipe, rate: Array, state: State, batch: Pairs):
    mean = jnp.maximum(jnp.sum(batch.weight), 1e-12)
    objective = lambda params: _total(parts, params, batch) / mean  # noqa: E731
    loss, slope = jax.value_and_grad(objective)(state.params)
    change: Any
    change, moments = recipe.optimiser().update(slope, state.moments, state.params)
    fine = jnp.isfinite(loss) & jnp.isfinite(jnp.sum(slope))
    keep = lambda new, old: jnp.where(fine, new, old)  # noqa: E731
    params = keep(state.params - rate * change, state.params)
    share = jnp.minimum(recipe.averaging, (1.0 + state.step) / (10.0 + state.step))
    average = share * state.average + (1 - share) * params
    moments = jax.tree.map(keep, moments, state.moments)
    return State(params, moments, average, state.step + 1), jnp.where(fine, loss, 0.0)


def _total(parts: Parts, params: Array, pairs: Pairs) -> Array:
    each = losses(paramax.unwrap(parts.model(params)), pairs)
    return jnp.sum(jnp.where(pairs.weight > 0, pairs.weight * each, 0.0))


@eqx.filter_jit
def _held_out(given, arrays, averages: Array, pairs: Pairs) -> Array:
    trained, structure = given
    total = lambda args: _total(Parts(trained, args[0], structure), args[1], pairs)  # noqa: E731
    return _side_by_side(total, (arrays, averages))
