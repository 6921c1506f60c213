"""What one step of EPI minimises.

With q a pushforward, eta the natural parameter of the moment, and p ∝ b exp(eta . T) the
distribution that it stands for, a step lowers the augmented Lagrangian and both divergences:

    L = KL(q || p)  +  kappa/2 |E_q T - [0 ; 1]|^2  in the natural metric (``dual``)
        +  KL(p || q)  by importance weights w ∝ p / r of draws from r, a mixture of q and N(0, I)

The first two by samples of q that carry their gradient through the simulator. The gradient of the
penalty is a product of a residual and the slope of this batch. As published, the residual is that
of the other half of the batch, so that the product is unbiased; here it is the running residual of
the batches before, which is as independent and has a tenth of the noise. One backward pass serves
all constraints. KL(q || p) alone may lose a mode and never find it again: what it
loses, the broad draws and the large weights of the third term bring back. Weights are truncated,
and what is cut goes to the draws of q in equal parts; there the third term cancels the score part
of the first, so that the gradient's noise vanishes as q reaches p (Roeder, Wu & Duvenaud 2017), and
where weights say nothing - in many dimensions - low-noise variational inference remains.

Without gradients of the statistics, the first two terms use the score function with the log weight
as reward, whose variance vanishes at the optimum, too (Richter et al. 2020).

Parameters without finite statistics have no density in p; samples of q there cost ``_DEAD`` nats.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.flows import Pushforward, standard_normal
from lanternfish.inference.epi.dual import Spread, natural, spread
from lanternfish.inference.epi.problem import Features, Problem, natural_log

_DEAD = 10.0  # nats
TRUNCATED = 10.0  # largest importance weight, in units of the mean weight
_ADVANTAGE = 10.0  # nats; largest reward of the score function
_JUMP = 30.0  # largest norm of a sample's gradient, in units of the median
KAPPA = 2.0  # strength of the penalty, in natural steps: e-folds that it tightens by itself
NEVER = -1e30

_fixed = jax.lax.stop_gradient


class Draws(NamedTuple):
    """What a step is made from: noise for q, broad points, and a key for the simulator."""

    noise: Array
    broad: Array
    key: Array


class Told(NamedTuple):
    """What a step finds out."""

    spread: Spread
    entropy: Array
    effective: Array  # share of the draws that the importance weights are worth
    dead: Array  # share of q without finite statistics


def objective(
    flow: Pushforward, problem: Problem, eta: Array, metric: Spread, draws: Draws, path: bool
) -> tuple[Array, Told]:
    """Surrogate whose gradient is that of L, and what was found on the way.

    Args:
        path: whether gradients go through the simulator; else by the score function.
    """
    n = draws.noise.shape[1]
    z, log_det = flow.forward(draws.noise)
    log_q = standard_normal(draws.noise) - log_det
    theta, log_b = problem.parameters(z)
    broad, broad_b = problem.parameters(draws.broad)
    points = _fixed(jnp.concatenate([z, draws.broad], 1))
    parameters = _fixed(jnp.concatenate([theta, broad]))
    found, pull = _features(problem, parameters, draws.key, path)
    mine = jax.tree.map(lambda a: a[:n], found)
    forces = forces_of(mine, eta, metric)

    scores = flow.log_prob(points)
    log_p = natural_log(found, eta) + _fixed(jnp.concatenate([log_b, broad_b]))
    weights, effective = _weights(log_p, _fixed(scores), points, found.valid, n)
    weights = weights - jnp.pad(_penalty(mine.valid), (0, len(weights) - n))
    if pull is not None:
        gradient = pull(forces, n)
        loss = jnp.mean(log_q - log_b) - jnp.sum(gradient * theta) / n
    else:
        log_weight = log_p[:n] - _fixed(scores[:n])
        reward = rewards(mine, forces, log_weight, eta, jnp.full(n, 1 / n))
        weights = weights + jnp.pad(reward, (0, len(weights) - n))
        loss = 0.0
    told = Told(
        spread(mine.u, mine.square, mine.valid.astype(jnp.float32)),
        jnp.mean(_fixed(log_b - log_q)),
        effective,
        1 - jnp.mean(mine.valid),
    )
    return loss - jnp.sum(_fixed(weights) * scores), told


def covering(
    flow: Pushforward, problem: Problem, eta: Array, metric: Spread, draws: Draws
) -> tuple[Array, Told]:
    """Surrogate whose gradient is that of KL(p || q) alone, and what was found on the way."""
    n = draws.noise.shape[1]
    z, log_det = flow.forward(draws.noise)
    points = _fixed(jnp.concatenate([z, draws.broad], 1))
    theta, log_b = problem.parameters(points)
    found, _ = _features(problem, _fixed(theta), draws.key, False)
    mine = jax.tree.map(lambda a: a[:n], found)
    a, b, _ = natural(metric, metric)
    aimed = eta + KAPPA * jnp.stack([a - 2 * metric.mean * b, b])
    scores = flow.log_prob(points)
    log_p = natural_log(found, aimed) + _fixed(log_b)
    weights, effective = _weights(log_p, _fixed(scores), points, found.valid, n)
    weights = weights - jnp.pad(_penalty(mine.valid), (0, len(weights) - n))
    told = Told(
        spread(mine.u, mine.square, mine.valid.astype(jnp.float32)),
        jnp.mean(_fixed(log_b - scores)[:n]),
        effective,
        1 - jnp.mean(mine.valid),
    )
    weights = weights.at[:n].add(-1 / n)
    return -jnp.sum(_fixed(weights) * scores), told


def _features(problem: Problem, theta: Array, key: Array, path: bool):
    """Features of all points, and a function that pulls forces on T back to parameters."""

    def features(theta):
        found = problem.features(problem.simulate(theta, key))
        return (found.u, found.square), found.valid

    if not path:
        (u, square), valid = features(theta)
        return Features(u, square, valid), None
    (u, square), vjp, valid = jax.vjp(features, theta, has_aux=True)

    def pull(forces, n):
        rest = len(theta) - n
        padded = [jnp.pad(force, ((0, rest), (0, 0))) for force in forces]
        return _tamed(vjp((padded[0], padded[1]))[0][:n])

    return Features(u, square, valid), pull


def _tamed(gradient: Array) -> Array:
    """Rows without a finite gradient as 0, and rows far above the median shortened."""
    finite = jnp.all(jnp.isfinite(gradient), axis=1, keepdims=True)
    gradient = jnp.where(finite, gradient, 0.0)
    norm = jnp.linalg.norm(gradient, axis=1, keepdims=True)
    most = _JUMP * jnp.median(norm) + 1e-12
    return gradient * jnp.minimum(1.0, most / jnp.maximum(norm, 1e-30))


def forces_of(mine: Features, eta: Array, metric: Spread) -> tuple[Array, Array]:
    """d(reward)/du and d(reward)/d(u^2) of each sample, (n, r): eta and the penalty's pull.

    The pull is the natural step of the residual that the batches before this one had.
    """
    a, b, _ = natural(metric, metric)
    live = mine.valid[:, None].astype(jnp.float32)
    pull = KAPPA * jnp.stack([a - 2 * metric.mean * b, b])
    return live * (eta[0] + pull[0]), live * (eta[1] + pull[1])


def _weights(log_p: Array, log_q: Array, points: Array, valid: Array, n: int):
    """Truncated importance weights of all points, summing to 1, and their effective share."""
    total = len(log_p)
    mixture = jnp.logaddexp(
        np.log(n / total) + log_q, np.log((total - n) / total) + standard_normal(points)
    )
    ratio = jnp.where(valid, log_p - mixture, NEVER)
    weights = jax.nn.softmax(jnp.where(jnp.isfinite(ratio), ratio, NEVER))
    effective = 1 / (total * jnp.sum(weights**2))
    held = jnp.minimum(weights, TRUNCATED / total)
    mine = valid[:n] / jnp.maximum(jnp.sum(valid[:n]), 1)
    return held.at[:n].add((1 - jnp.sum(held)) * mine), effective


def _penalty(valid: Array) -> Array:
    """Cost of samples without finite statistics, as a coefficient of their score."""
    cost = _DEAD * (1.0 - valid)
    return (cost - jnp.mean(cost)) / len(valid)


def rewards(mine: Features, forces, log_weight: Array, eta: Array, weight: Array) -> Array:
    """Coefficients of the scores that replace gradients through the simulator.

    Args:
        log_weight: log p - log q of each sample.
        weight: of each sample in an expectation over q, summing to 1.
    """
    extra = jnp.sum((forces[0] - eta[0]) * mine.u + (forces[1] - eta[1]) * mine.square, axis=1)
    alive = weight * mine.valid
    reward = jnp.where(mine.valid, log_weight + extra, 0.0)
    mean = jnp.sum(alive * reward) / jnp.maximum(jnp.sum(alive), 1e-12)
    return alive * jnp.clip(reward - mean, -_ADVANTAGE, _ADVANTAGE)
