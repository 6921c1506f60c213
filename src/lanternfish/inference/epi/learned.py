"""What statistics are expected of parameters, learned: for noisy and costly simulators.

All that the optimum p ∝ b exp(eta . E[T | theta]) asks of a simulator is the function E[T | theta].
Noise hides it: averages of exp(eta . T) are not exp(eta . E T), and where noise is as wide as the
property, neither importance weights nor the moves of a population see what they follow. So a
network learns it by regression, mean m(theta) and noise v(theta) of each statistic at once, by

    sum_j [log v_j + (u_j - m_j)^2 / v_j] v_j^1/2,     E[u | theta] = m,  E[u^2 | theta] = m^2 + v

(Nix & Weigend 1994; the last factor, which is not differentiated, keeps it from leaving means alone
where noise is large: Seitzer et al. 2022). It sees a point and sines of it, for sharp edges (Tancik
et al. 2020). EPI runs on what it learned, which has no noise, costs little and has gradients,
whether the simulator has them or not. Simulations come in rounds, each from where the optimum of
the network before it lies (``learn``), so that it is exact where it has to be: over parameters that
it was trained on, errors of a regression average to zero. Whether the answer has the property is
judged by simulations, never by the network.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish.inference.epi.memory import Memory
from lanternfish.inference.epi.problem import Features, Problem

_WIDTH, _DEPTH, _WAVES, _FASTEST = 64, 3, 16, 1.5
_EDGE = 5.0  # of unbounded coordinates: farther out, statistics are those of the edge
_BATCH, _STEPS, _RATE, _CLIP = 512, 4_000, 3e-3, 10.0
_QUIET = 1e-4  # least noise, as a variance in units of the property's
_EVEN = 0.5  # power of v by which the fit is weighed
_VALID = 0.5  # probability of finite statistics, below which there are none
_ROUND = 8_192  # simulations in each round
_LEAST, _ROUNDS = 3, 12  # rounds
_SPREAD, _BY = 0.25, 0.5  # share of them that is spread, and by how much of a difference
_APART = (0.03, 0.05)  # mean u and u^2 of simulations from what is expected, where rounds end


class Learned(Problem):
    """A problem with a network in place of its simulator.

    The statistics of one parameter set are one "trial": the mean of u, of its square, and the log
    odds of finite ones.
    """

    net: eqx.nn.MLP
    waves: Array
    middle: Array
    width: Array

    def __init__(
        self, problem: Problem, net: eqx.nn.MLP, waves: Array, middle: Array, width: Array
    ) -> None:
        self.mean, self.sd, self.prior = problem.mean, problem.sd, problem.prior
        self.simulation, self.places, self.total = problem.simulation, problem.places, problem.total
        self.trials, self.base = 1, problem.base
        self.net, self.waves, self.middle, self.width = net, waves, middle, width

    def simulate(self, theta: Array, key: Array) -> Array:
        """What is expected of parameters (n, d), shape (n, 1, 2 r + 1)."""
        z = jax.vmap(self.prior.bijection.inverse)(theta)
        return jax.vmap(self.expected)(z)[:, None]

    def features(self, x: Array) -> Features:
        """T of what is expected."""
        u, square, odds = jnp.split(x[:, 0], [self.constraints, 2 * self.constraints], axis=1)
        return Features(u, square, odds[:, 0] > np.log(_VALID / (1 - _VALID)))

    def expected(self, z: Array) -> Array:
        """E u, E u^2 and the log odds of finite statistics, (2 r + 1,), of a point z (d,)."""
        mean, log_noise, odds = self.parts(z)
        return jnp.concatenate([mean, mean**2 + jnp.exp(log_noise), odds])

    def parts(self, z: Array) -> tuple[Array, Array, Array]:
        """E u, the log variance of u, each (r,), and the log odds, (1,)."""
        z = _EDGE * jnp.tanh(z / _EDGE)
        phase = self.waves @ z
        out = self.net(jnp.concatenate([z, jnp.sin(phase), jnp.cos(phase)]))
        mean, noise, odds = jnp.split(out, [self.constraints, 2 * self.constraints])
        log_noise = jnp.logaddexp(2 * jnp.log(self.width) + noise, jnp.log(_QUIET))
        return self.middle + self.width * mean, log_noise, odds


def blank(problem: Problem, found: Features, seed: int) -> Learned:
    """A network that has learned nothing but the middle and width of the first simulations."""
    r, dim, valid = problem.constraints, len(problem.prior), np.asarray(found.valid)
    u = np.asarray(found.u)[valid]
    one, two = jr.split(jr.key(seed % 2**32))
    net = eqx.nn.MLP(dim + 2 * _WAVES, 2 * r + 1, _WIDTH, _DEPTH, jax.nn.silu, key=one)
    waves = _FASTEST * np.sqrt(2 / max(dim, 2)) * jr.normal(two, (_WAVES, dim))
    middle, width = np.median(u, axis=0), u.std(axis=0) + 1e-3
    return Learned(problem, net, waves, jnp.asarray(middle), jnp.asarray(width))


def learn(
    problem: Problem,
    simulated: Callable[[Array], Memory],
    optimum: Callable[[Learned], Array | None],
    seed: int,
) -> tuple[Learned, Memory]:
    """Rounds of simulations and regression, until simulations at the optimum are as expected.

    Args:
        simulated: T of points z (d, n).
        optimum: points (d, n) at the optimum of a network; None where there is no way to it.
        seed: of the network, and of the points.

    Returns:
        The last network, and all simulations.
    """
    rng = np.random.default_rng(seed)
    prior = jnp.asarray(rng.standard_normal((len(problem.prior), _ROUND)), jnp.float32)
    known = simulated(prior)
    model = taught(blank(problem, known.features, seed), known, seed)
    for number in range(_ROUNDS):
        z = optimum(model)
        if z is None:  # nothing is there, it seems: it needs to know more of everywhere
            anew = simulated(jnp.asarray(rng.standard_normal(prior.shape), jnp.float32))
        else:
            anew = simulated(jnp.asarray(_about(np.asarray(z), rng), jnp.float32))
        done = z is not None and number + 1 >= _LEAST and _as_expected(model, anew)
        known = joined(known, anew)
        model = taught(model, known, seed + number + 1)
        if done:
            break
    return model, known


def joined(one: Memory, other: Memory) -> Memory:
    """All points of both."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), one, other)


def _about(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many of the points (d, n) as make a round, the last of them somewhat spread."""
    chosen, a, b = (z[:, rng.integers(z.shape[1], size=_ROUND)] for _ in range(3))
    spread = np.arange(_ROUND) >= _ROUND - round(_SPREAD * _ROUND)
    return chosen + spread * _BY * (a - b)


def _as_expected(model: Learned, anew: Memory) -> bool:
    """Whether simulations of points at the optimum have the moments that the network expects."""
    own = slice(_ROUND - round(_SPREAD * _ROUND))
    expected = jax.vmap(model.expected)(anew.z[own])
    found = np.mean(np.c_[anew.features.u, anew.features.square][own], axis=0)
    wanted = np.asarray(jnp.mean(expected, axis=0))[: len(found)]
    return bool(np.max(np.abs(found - wanted) / np.repeat(_APART, len(found) // 2)) < 1)


def taught(model: Learned, known: Memory, seed: int) -> Learned:
    """The network after regression on all that is known."""
    return _taught(model, known, jr.key(seed % 2**32))


@eqx.filter_jit
def _taught(model: Learned, known: Memory, key: Array) -> Learned:
    trained, rest = eqx.partition(model.net, eqx.is_inexact_array)
    start, build = ravel_pytree(trained)
    optimiser = optax.chain(
        optax.clip_by_global_norm(_CLIP),
        optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS)),
    )

    def loss(params, rows):
        net = eqx.combine(build(params), rest)
        now = eqx.tree_at(lambda m: m.net, model, net)
        mean, log_noise, odds = jax.vmap(now.parts)(known.z[rows])
        valid = known.features.valid[rows]
        away = known.features.u[rows] - mean
        even = jax.lax.stop_gradient(jnp.exp(_EVEN * log_noise))
        even = even / jnp.mean(even, axis=0)
        each = 0.5 * jnp.sum(even * (log_noise + away**2 * jnp.exp(-log_noise)), axis=1)
        told = optax.sigmoid_binary_cross_entropy(odds[:, 0], valid.astype(jnp.float32))
        return jnp.mean(jnp.where(valid, each, 0.0) + told)

    def step(i, carry):
        params, moments = carry
        rows = jr.randint(jr.fold_in(key, i), (_BATCH,), 0, len(known.z))
        change, moments = optimiser.update(jax.grad(loss)(params, rows), moments)
        return optax.apply_updates(params, change), moments

    params = jax.lax.fori_loop(0, _STEPS, step, (start, optimiser.init(start)))[0]
    return eqx.tree_at(lambda m: m.net, model, eqx.combine(build(params), rest))
