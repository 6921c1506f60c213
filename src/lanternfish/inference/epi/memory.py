"""EPI for simulators that only answer: Python, compiled code, anything without gradients.

Simulations come in rounds, drawn from r = 3/4 q + 1/4 N(0, I) in unbounded space, and a few rounds
are remembered with T and log r. Steps of the loop learn from what is remembered, without new
simulations: with weights v ∝ q / r for what q expects, and w ∝ p / r for what it should be, a step
follows

    - sum_i (w_i - v_i + v_i s_i (R_i - mean R)) grad log q(z_i),    R = log p - log q,

the gradients of KL(p || q) and, by the score function, of the softened KL(q || p), as in
``objective``; points far below p cost nats by their score here, too (``leaks``). As what is
remembered gets stale, the weights say so, and eta waits.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.core import Simulations
from lanternfish.core.seeds import stream
from lanternfish.flows import Pushforward, standard_normal
from lanternfish.inference.epi.dual import spread
from lanternfish.inference.epi.objective import (
    NEVER,
    TRUNCATED,
    Balance,
    Told,
    leaks,
    penalty,
    rewards,
    shares,
)
from lanternfish.inference.epi.problem import Features, Problem, natural_log
from lanternfish.inference.rounds import Study
from lanternfish.simulation import open_store, simulate

_ROUNDS = 4  # remembered
_LAST_ROUNDS = 32  # of a density that is trained
_GIVEN, _BEYOND = 50_000, 100_000  # numbers of rounds at given points, and of those, begin here
_BROAD = 0.25


class Memory(NamedTuple):
    """Points z (n, d), T of them, log b and log r (n,); log r is huge where there is none yet."""

    z: Array
    features: Features
    log_b: Array
    log_r: Array


def blank(problem: Problem, size: int) -> Memory:
    """A memory without anything in it."""
    n, r = size * _ROUNDS, problem.constraints
    none = Features(jnp.zeros((n, r)), jnp.zeros((n, r)), jnp.zeros(n, bool))
    return Memory(jnp.zeros((n, len(problem.prior))), none, jnp.zeros(n), jnp.full(n, -NEVER))


class Recorder:
    """Simulates rounds for the loop and remembers the last few."""

    def __init__(self, study: Study, problem: Problem, size: int, first: int) -> None:
        self.study, self.problem, self.size, self.first = study, problem, size, first
        self._made: dict[int, Simulations] = {}

    def simulations(self, rounds: int) -> Simulations:
        """Those of all rounds, also of rounds that were made before an interruption."""
        total = Simulations.empty(self.study.model.parameters, self.study.model.statistics)
        last = sorted(number for number in self._made if number >= _GIVEN)
        for number in (*range(rounds), *last):
            place = self._place(number)
            if number not in self._made and place is not None:
                self._made[number] = open_store(place).load()
            total = total + self._made[number]
        return total

    def round(self, memory: Memory, densities: list[Pushforward], number: int) -> Memory:
        """The memory with another round in place of its oldest."""
        return jax.tree.map(_behind, memory, self._simulated(densities, number))

    def points(self, density: Pushforward, number: int) -> Memory:
        """Many rounds of a density that is trained, the ``number``-th of those that are."""
        first = _BEYOND + number * _LAST_ROUNDS
        parts = [self._simulated([density], first + i) for i in range(_LAST_ROUNDS)]
        return jax.tree.map(lambda *each: jnp.concatenate(each), *parts)

    def at(self, z: Array, number: int) -> Memory:
        """Simulations of points (d, n), the ``number``-th that are given; log r is not known."""
        parts = [z[:, i : i + self.size] for i in range(0, z.shape[1], self.size)]
        first = _GIVEN + number * len(parts)
        each = []
        for i, part in enumerate(parts):
            theta, log_b = _placed(self.problem, part)
            proposed = part.T, theta, log_b, jnp.zeros(len(theta))
            each.append(self._remembered(proposed, first + i))
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *each)

    def _simulated(self, densities: list[Pushforward], number: int) -> Memory:
        key = jr.key(stream(self.study.seed, f"round {number}") % 2**32)
        return self._remembered(_proposed(densities, self.problem, key, self.size), number)

    def _remembered(self, proposed: tuple[Array, Array, Array, Array], number: int) -> Memory:
        z, theta, log_b, log_r = (np.asarray(a) for a in proposed)
        prior, trials = self.study.model.prior, self.problem.trials
        theta = np.clip(theta.astype(np.float64), prior.low, prior.high)
        sims = simulate(
            self.study.model, theta=np.repeat(theta, trials, axis=0), seed=self.study.seed,
            first=self.first + number * self.size * trials, executor=self.study.executor,
            store=self._place(number), progress=False,
        )  # fmt: skip
        self._made[number] = sims
        x = sims.x.array[:, list(self.problem.places)].reshape(len(theta), trials, -1)
        found = self.problem.features(jnp.asarray(x, jnp.float32))
        return Memory(jnp.asarray(z), found, jnp.asarray(log_b), jnp.asarray(log_r))

    def _place(self, number: int):
        folder = self.study.folder
        return None if folder is None else folder / "simulations" / f"round-{number:04d}"


def _behind(old: Array, new: Array) -> Array:
    """New points at the end, and as many of the oldest gone."""
    return jnp.concatenate([old[len(new) :], jnp.asarray(new, old.dtype)])


@eqx.filter_jit
def _placed(problem: Problem, z: Array):
    return problem.parameters(z)


@eqx.filter_jit
def _proposed(densities: list[Pushforward], problem: Problem, key: Array, n: int):
    noise = jr.normal(key, (len(problem.prior), n))
    broad = max(1, round(_BROAD * n))
    edges = np.linspace(broad, n, len(densities) + 1).astype(int)
    parts = [noise[:, :broad]]
    for flow, a, b in zip(densities, edges[:-1], edges[1:], strict=True):
        parts.append(flow.forward(noise[:, a:b])[0])
    z = jnp.concatenate(parts, axis=1)
    theta, log_b = problem.parameters(z)
    logs = jnp.stack([flow.log_prob(z) for flow in densities])
    mine = jax.nn.logsumexp(logs, axis=0) - np.log(len(densities))
    log_r = jnp.logaddexp(np.log(broad / n) + standard_normal(z), np.log(1 - broad / n) + mine)
    return z.T, theta, log_b, log_r


def recalled(
    flow: Pushforward, aimed: Array, memory: Memory, key: Array, balance: Balance, batch: int
) -> tuple[Array, Told]:  # fmt: skip
    """Surrogate whose gradient is the sum above, over a random part of the memory."""
    rows = jr.randint(key, (batch,), 0, len(memory.log_r))
    found = Features(*(part[rows] for part in memory.features))
    points, log_b, log_r = memory.z[rows].T, memory.log_b[rows], memory.log_r[rows]
    scores = flow.log_prob(points)
    log_q = jax.lax.stop_gradient(scores)
    log_p = natural_log(found, aimed) + log_b
    there = log_r < -NEVER / 2
    v = _normalised(log_q - log_r, there)
    w = _normalised(log_p - log_r, there & found.valid)
    effective = 1 / (jnp.sum(w**2) * jnp.maximum(jnp.sum(there), 1))
    v, w = (jnp.minimum(a, TRUNCATED / batch) for a in (v, w))
    v = v / jnp.sum(v)
    w = w + (1 - jnp.sum(w)) * v
    log_weight = log_p - log_q
    alive = there & found.valid
    counted = shares(log_weight, alive, balance.cover)
    change = (
        balance.cover * (w - v)
        + rewards(found.valid, log_weight, balance.side * v * counted)
        + balance.leaks * leaks(log_weight, alive, counted, v)
        - penalty(found.valid, v)
    )
    told = Told(
        spread(found.u, found.square, v * found.valid),
        v @ (log_b - log_q),
        effective,
        v @ (1.0 - found.valid),
    )
    return -jnp.sum(jax.lax.stop_gradient(change) * scores), told


def _normalised(log_ratio: Array, use: Array) -> Array:
    return jax.nn.softmax(jnp.where(use & jnp.isfinite(log_ratio), log_ratio, NEVER))
