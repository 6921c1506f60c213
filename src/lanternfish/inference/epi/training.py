"""One compiled loop: the density and the natural parameter of the moment, together.

Each step moves q towards p_eta (``objective``), and eta by a small natural step towards the
property (``dual``). It starts at eta = 0 with q close to the base measure, the largest entropy
there is; the property bites no faster than q follows, for eta slows down while importance weights
say that q is behind. So every mode is there before the first constraint is.

Two phases; a density that was fitted to a population at the property (``population``, ``start``)
begins in the second. *Tighten*, at a constant rate, until the moments are those of the property;
*polish*, while the rates of q and eta decay together to zero and q becomes the average of its last
steps; what it leaks between modes and ripples comes to count (``objective``), and in the last
quarter weights alone decide - unless statistics are noisy, or weights are worth too little: then
they fade instead. Both ends are decided by what is measured, none by a count that
has to be guessed. An epoch of steps is one compiled program, state in and state out; members, each
from its own seed, go through it together. A member that diverges goes back to where the epoch
began, at half its rate.

A range of properties is learned in the same loop, one of them in each step (``span``).

Where p is known, of a network that learned the statistics, eta is that of a population there. It is
steered, by a small part of a Newton step in each epoch, to where the moments of the density itself
are those that slack allows (``slack``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish import flows
from lanternfish.core import Folder
from lanternfish.inference import checkpoints
from lanternfish.inference.epi.dual import Spread, natural, natural_of_driven, tilted
from lanternfish.inference.epi.memory import Memory, Recorder, blank, recalled
from lanternfish.inference.epi.objective import (
    NARROW,
    Balance,
    Draws,
    aim,
    objective,
    objective_of_many,
)
from lanternfish.inference.epi.problem import Problem
from lanternfish.inference.epi.slack import Slack, steered
from lanternfish.inference.epi.span import Span

EPOCH = 100  # steps
SECONDS = 10.0  # between checkpoints
_TIGHTEN = 1e-2  # of a natural step in each step of the loop
_MEMORY, _FRESH = 0.05, 0.2  # weight of the newest batch in running moments; in many dimensions
_PACE = (0.4, 0.7, 0.1)  # effective share at which eta stands, at which it runs, and least pace
_AT_REST = 0.2  # length of the residual, sqrt(nats), at which tightening ends
_NEAR = 0.7  # variances in many dimensions, below which, or above 1 / which, it does not end
_LAST = 0.75  # share of polishing after which weights alone decide: they balance modes
_FADED = 0.25  # share of polishing over which weights fade where they say too little
_LEAST = {"batch": 8, "tighten": EPOCH, "polish": EPOCH, "fit": 20, "round": 64}
MANY = 32  # dimensions beyond which importance weights and populations do not work
_STRIDE = 256  # dimensions above which a natural step may be longer; from half, so may rest
_DRAWN_IN = 2_048  # draws that tell how long points are in many dimensions
_STEERED, _STEERED_BY = (0.2, 0.95), 16_384  # shares of polishing that steer eta; by draws
_COUNTED = (0.3, 0.8)  # shares of polishing over which leaks come to count
_MORE = 4  # times as many samples in each step, where a network takes the simulator's place
_AVERAGE = 0.01  # weight of the newest weights in their average


@dataclass(frozen=True)
class Loop:
    """Settings of the loop; the defaults need no tuning.

    Args:
        batch: samples of q in each step; a quarter as many broad ones come with them. Of what is
            remembered of costly simulators, a step takes twice as many.
        rate: learning rate of q.
        tighten: steps after which the first phase ends at the latest.
        polish: steps of the second phase.
        fit: steps that fit a density to the population, where there is one.
        round: parameter sets simulated for each hundred steps, where the simulator is not in JAX,
            or costly; of one in JAX four times as many where training goes on after a judgement.
        clip: largest norm of a gradient.
    """

    batch: int = 128
    rate: float = 2e-3
    tighten: int = 6_000
    polish: int = 6_000
    fit: int = 1_500
    round: int = 512
    clip: float = 10.0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} of at least {least}; got {getattr(self, name)}.")
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected {name} above 0; got {getattr(self, name)}.")


class State(NamedTuple):
    """All that the next epoch of a member depends on.

    What belongs to a property, ``eta`` to ``length``, has a leading axis over knots.
    """

    params: Array
    average: Array
    moments: Any
    eta: Array
    spread: Spread
    effective: Array
    entropy: Array
    dead: Array
    length: Array
    step: Array
    polish: Array  # step at which the second phase began; -1 before
    rate: Array  # of q, halved where it diverged
    failures: Array


class Fixed(eqx.Module):
    """What an epoch is given and does not change.

    ``slack``: that of a known optimum, whose eta is only steered, by the moments of the density.
    """

    problem: Problem
    flow: flows.Pushforward
    span: Span
    loop: Loop = eqx.field(static=True)
    path: bool = eqx.field(static=True)
    noisy: bool = eqx.field(static=True)
    slack: Slack | None = eqx.field(static=True, default=None)

    def density(self, params: Array) -> flows.Pushforward:
        """The pushforward of a vector of weights."""
        trained, rest = eqx.partition(self.flow, eqx.is_inexact_array)
        return eqx.combine(ravel_pytree(trained)[1](params), rest)

    @property
    def held(self) -> bool:
        """Whether eta is known: no step of the loop moves it, but for steering between epochs."""
        return self.slack is not None

    @property
    def many(self) -> bool:
        """Whether there are so many dimensions that importance weights say nothing."""
        return self.flow.dim > MANY and self.path

    @property
    def draws_a_step(self) -> int:
        """Parameter sets that a step simulates: of q and, where weights are of use, broad ones."""
        return self.loop.batch + (0 if self.many else _broad(self.loop.batch))


def first_state(flow: flows.Pushforward, loop: Loop, start: Spread, span: Span) -> State:
    """Before the first step: q as it was built, eta = 0."""
    params = ravel_pytree(eqx.filter(flow, eqx.is_inexact_array))[0]
    zero = jnp.zeros(())
    whole = jnp.zeros((), jnp.int32)
    moments = _optimiser(loop).init(params)
    grid = jnp.asarray(span.grid(), jnp.float32)
    each = jax.vmap(lambda c: span.from_middle(start, span.away(c)))(grid)
    eta = jnp.zeros((len(grid), 2, len(start.mean)))
    none = jnp.zeros(len(grid))
    return State(
        params, params, moments, eta, each, none + 1, none, none, none + 1e3, whole, whole - 1,
        zero + loop.rate, whole,
    )  # fmt: skip


def begun(state: State, flow: flows.Pushforward, eta: Array, found: Spread) -> State:
    """The same state at the start of the second phase, from a density that is nearly there."""
    params = ravel_pytree(eqx.filter(flow, eqx.is_inexact_array))[0]
    one = jax.tree.map(lambda part: jnp.asarray(part, jnp.float32)[None], found)
    return state._replace(
        params=params, average=params, eta=jnp.asarray(eta, jnp.float32)[None], spread=one,
        polish=state.step + 0,
    )  # fmt: skip


def again(state: State, share: float = 0.5) -> State:
    """The same state at the start of another second phase, at a share of the rate."""
    rate = jnp.asarray(share * state.rate)
    return state._replace(params=state.average, polish=state.step + 0, rate=rate)


def over(state: State, loop: Loop) -> np.ndarray:
    """Which members are done, (members,) of bool."""
    polish, step = np.asarray(state.polish), np.asarray(state.step)
    return (polish >= 0) & (step >= polish + loop.polish)


def train(
    fixed: Fixed,
    state: State,
    keys: Array,
    checkpoint: Folder | None,
    tell: Callable[[State, list[dict]], None],
    recorder: Recorder | None = None,
) -> tuple[State, list[dict]]:
    """Epochs until all members (along the first axis of the state) are done.

    Args:
        checkpoint: a folder to keep the state in; if it holds one, training goes on from there and
            ends with the same bits as an uninterrupted one.
        tell: called after each epoch with the state and the curves.
        recorder: simulates for the loop, where the simulator is not part of the program.

    Returns:
        The last state and the curves: one dictionary of lists for each epoch.
    """
    curves: list[dict] = []
    memory = None if recorder is None else blank(fixed.problem, recorder.size)
    if checkpoint is not None and checkpoints.kept(checkpoint):
        (state, memory), curves = _read(checkpoint, (state, memory))
    saved = time.monotonic()
    while not over(state, fixed.loop).all():
        if recorder is not None and memory is not None:
            densities = [fixed.density(params) for params in state.params]
            number = int(np.max(state.step)) // EPOCH
            memory = recorder.round(memory, densities, number)
        state = _epoch(fixed, state, keys, memory)
        curves.append(_told(state))
        if checkpoint is not None and time.monotonic() - saved > SECONDS:
            _write(checkpoint, state, memory, curves)
            saved = time.monotonic()
        tell(state, curves)
    if checkpoint is not None:
        _write(checkpoint, state, memory, curves)
    return state, curves


def _optimiser(loop: Loop) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(loop.clip), optax.scale_by_adam(b2=0.99))


@eqx.filter_jit
def _epoch(fixed: Fixed, states: State, keys: Array, memory: Memory | None) -> State:
    def member(args):
        state, key = args
        loop = fixed.loop
        done = (state.polish >= 0) & (state.step >= state.polish + loop.polish)
        return jax.lax.cond(done, lambda s: s, partial(_steps, fixed, key, memory), state)

    return jax.lax.map(member, (states, keys))


def _steps(fixed: Fixed, key: Array, memory: Memory | None, state: State) -> State:
    """One epoch of a member, and what it decides."""
    after = jax.lax.fori_loop(0, EPOCH, lambda i, s: _step(fixed, key, memory, s), state)
    after = _steered(fixed, key, after)
    finite = jnp.all(jnp.isfinite(after.params)) & jnp.all(jnp.isfinite(after.eta))
    blank = state._replace(
        moments=jax.tree.map(jnp.zeros_like, state.moments),
        step=after.step,
        rate=state.rate / 2,
        failures=state.failures + 1,
    )
    after = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, blank)
    at_rest = _AT_REST * max(1.0, 2 * fixed.flow.dim / _STRIDE)
    apart = jnp.max(jnp.abs(jnp.log(after.spread.variance)), axis=1)
    near = apart < -np.log(_NEAR) if fixed.many else True
    rested = jnp.all((after.length < at_rest) & (after.effective > _PACE[0]) & near)
    begin = (after.polish < 0) & (rested | (after.step >= fixed.loop.tighten))
    after = after._replace(polish=jnp.where(begin, after.step, after.polish))
    return _drawn_in(fixed, key, after) if fixed.many and not fixed.span.dim else after


def _steered(fixed: Fixed, key: Array, state: State) -> State:
    """eta nearer to where this density, not only the optimum of eta, has the moments it should."""
    slack = fixed.slack
    if slack is None:
        return state
    share = (state.step - state.polish) / fixed.loop.polish
    among = (state.polish >= 0) & (share > _STEERED[0]) & (share < _STEERED[1])
    one, two = jr.split(jr.fold_in(key, state.step))
    noise = jr.normal(one, (fixed.flow.dim, _STEERED_BY))

    def steer(eta: Array) -> Array:
        z = fixed.density(state.params).forward(noise)[0]
        found = fixed.problem.features(fixed.problem.simulate(fixed.problem.parameters(z)[0], two))
        moments = jnp.concatenate([found.u, found.square], axis=1)
        return steered(eta[0], slack, moments, found.valid)[None]

    return state._replace(eta=jax.lax.cond(among, steer, lambda eta: eta, state.eta))


def _drawn_in(fixed: Fixed, key: Array, state: State) -> State:
    """What escapes is drawn in, from the start of polishing until its last part."""
    noise = jr.normal(jr.fold_in(key, state.step), (fixed.flow.dim, _DRAWN_IN))
    began = (state.polish >= 0) & (state.step - state.polish < _LAST * fixed.loop.polish)

    def drawn_in(vectors: tuple[Array, Array]) -> tuple[Array, Array]:
        reach = fixed.density(vectors[0]).drawn_in(noise).layers.reach
        changed = (eqx.tree_at(lambda q: q.layers.reach, fixed.density(v), reach) for v in vectors)
        one, other = (ravel_pytree(eqx.filter(q, eqx.is_inexact_array))[0] for q in changed)
        return one, other

    both = state.params, state.average
    params, average = jax.lax.cond(began, drawn_in, lambda vectors: vectors, both)
    return state._replace(params=params, average=average)


def _step(fixed: Fixed, key: Array, memory: Memory | None, state: State) -> State:
    loop, problem = fixed.loop, fixed.problem
    share = jnp.where(state.polish < 0, 0.0, (state.step - state.polish) / loop.polish)
    decay = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(share, 0, 1)))
    warm = jnp.minimum(1.0, (state.step + 1) / 50)
    now = jr.fold_in(key, state.step)
    span = fixed.span
    c = span.draw(jr.fold_in(now, 1))
    hats, away = span.weights(c), span.away(c)
    here = jax.tree.map(lambda leaf: jnp.tensordot(hats, leaf, 1), _of_knots(state))
    towards = here.eta if fixed.held else aim(here.eta, here.spread, fixed.many)
    aimed = span.to_middle(towards, away)
    balance = _balance(fixed, memory is not None, here.effective, share)

    def loss(params):
        whole = fixed.density(params)
        flow = whole.steered(c) if span.dim else whole
        if memory is not None:
            return recalled(whole, aimed, memory, now, balance, 2 * loop.batch)
        draws = _draws(now, problem, loop.batch * (_MORE if fixed.held else 1))
        if fixed.many:
            return objective_of_many(flow, problem, aimed, draws)
        return objective(flow, problem, aimed, draws, balance, fixed.path)

    slope, told = jax.grad(loss, has_aux=True)(state.params)
    change: Any
    change, moments = _optimiser(loop).update(slope, state.moments)
    params = state.params - state.rate * warm * decay * change
    found = (span.from_middle(told.spread, away), told.effective, told.entropy, told.dead)
    before = state.spread, state.effective, state.entropy, state.dead
    near = _nearer(before, found, span, hats, _FRESH if fixed.many else _MEMORY)
    spread, effective, entropy, dead = near
    most = max(1.0, (fixed.flow.dim / _STRIDE) ** 0.5)
    if fixed.many:
        step = partial(natural_of_driven, most=most, least=NARROW, near=1.0)
        a, b, length = jax.vmap(step)(spread, state.eta[:, 1])
    else:
        a, b, length = jax.vmap(lambda knot: natural(knot, most))(spread)
    low, high, least = _PACE
    pace = jnp.clip((effective - low) / (high - low), least, 1.0)
    pace = jnp.maximum(pace, 1.0 - balance.cover)  # without weights, their worth says nothing
    slow = decay**0.25 if fixed.many else decay  # as q settles, narrower, eta still follows it
    size = (1 - fixed.held) * _TIGHTEN * pace * slow * jnp.minimum(1.0, span.pace * hats)
    eta = jax.vmap(partial(tilted, driven=fixed.many))(state.eta, (a, b), spread.mean, size)
    keep = jnp.where(state.polish < 0, 1.0, _AVERAGE)  # before, the average is the newest
    return state._replace(
        params=params,
        average=state.average + keep * (params - state.average),
        moments=moments,
        eta=eta,
        spread=spread,
        effective=effective,
        entropy=entropy,
        dead=dead,
        length=length,
        step=state.step + 1,
    )


def _balance(fixed: Fixed, remembered: bool, effective: Array, share: Array) -> Balance:
    """Which divergences a step follows, by the worth of weights and the share of polishing."""
    leaks = jnp.clip((share - _COUNTED[0]) / (_COUNTED[1] - _COUNTED[0]), 0, 1)
    if fixed.held:
        return Balance(jnp.ones(()), jnp.ones(()), 0.0, shallow=1.0 - leaks)
    faded = 1.0 - jnp.clip(share / _FADED, 0, 1)
    if fixed.noisy:
        return Balance(faded, jnp.ones(()))
    alone = (share > _LAST) & (effective > _PACE[0])
    trusted = jnp.clip(2 * effective / _PACE[0] - 1, 0, 1)
    cover = jnp.ones(()) if remembered else jnp.maximum(faded, trusted)
    return Balance(cover, 1.0 - alone, leaks=leaks * trusted)  # deep samples of a poor fit are none


class _Knots(NamedTuple):
    """What is interpolated between knots."""

    eta: Array
    spread: Spread
    effective: Array


def _of_knots(state: State) -> _Knots:
    return _Knots(state.eta, state.spread, state.effective)


def _nearer(old, new, span: Span, hats: Array, memory: float):
    """Running moments of the knots, nearer to those of the newest batch by each one's share."""
    rate = jnp.minimum(1.0, span.pace * hats) * memory

    def move(before: Array, now: Array) -> Array:
        share = rate.reshape(-1, *(1 for _ in now.shape))
        return before + share * (now[None] - before)

    return jax.tree.map(move, old, new)


def _broad(batch: int) -> int:
    return max(2, batch // 4)


def _draws(key: Array, problem: Problem, batch: int) -> Draws:
    one, two, three = jr.split(key, 3)
    dim = len(problem.prior)
    return Draws(jr.normal(one, (dim, batch)), jr.normal(two, (dim, _broad(batch))), three)


def _told(state: State) -> dict:
    """One point of the curves, for each member; of knots, the mean or the worst."""
    s = jax.tree.map(np.asarray, state)
    return {
        "step": s.step.tolist(),
        "entropy": s.entropy.mean(axis=1).tolist(),
        "mean": _worst(s.spread.mean, 0.0).tolist(),
        "variance": _worst(s.spread.variance, 1.0).tolist(),
        "effective": s.effective.min(axis=1).tolist(),
        "length": s.length.max(axis=1).tolist(),
        "polishing": (s.polish >= 0).tolist(),
    }


def _worst(values: np.ndarray, met: float) -> np.ndarray:
    """Of values (members, knots, r) those farthest from where they should be, (members, r)."""
    where = np.abs(values - met).argmax(axis=1)
    return np.take_along_axis(values, where[:, None], axis=1)[:, 0]


def _write(folder: Folder, state: State, memory: Memory | None, curves: list[dict]) -> None:
    checkpoints.write(folder, (state, memory), int(np.max(state.step)), {"curves": curves})


def _read(folder: Folder, like) -> tuple[Any, list[dict]]:
    arrays, note = checkpoints.read(folder, like)
    return jax.tree.map(jnp.asarray, arrays), note["curves"]
