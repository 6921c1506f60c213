"""What one step of EPI minimises.

With q a pushforward and eta the natural parameter of the moment, a step aims at the distribution
p ∝ b exp((eta + kappa pull) . T), where the pull is the natural step of the running residual
(``dual``), and lowers two divergences from it:

    KL(p || q)  by importance weights w ∝ p / r of draws from r, a mixture of q and N(0, I)
    + a softened KL(q || p)  by samples of q that carry their gradient through the simulator

The first covers mass: what q lost, the broad draws and large weights bring back, and it balances
modes by counting. It hardly feels samples of q where p has nothing. The second does, and draws q
close to narrow ridges with little noise; but between two modes few samples with huge gradients
would decide about their balance, so that a sample counts the less, the deeper it lies below p's
middle:

    sum_i s_i d/dz [log q - log p](z_i) . dz_i/dphi,    s = exp(-depth / depth_0).

That is the gradient of an f-divergence still (w^2 f'' = s), which vanishes at q = p alone. Both
gradients are written so that their noise vanishes there, too: weights enter as w - 1/n, since the
score has mean zero (Roeder, Wu & Duvenaud 2017). Weights are truncated, so that where they say
nothing - in many dimensions - low-noise variational inference remains.

What deep samples do not count there is left to the first, which gives each of them 1/n of a score
and no more. So q leaks: one sample of a thousand lies between the modes, or far from the property,
and costs tens of nats. When q has settled, as many nats, ten at most, are the cost of such a sample
(``leaks``): by its score, which moves density away from it, not by its gradient, which would move
it to one of the modes. Where p is known, of a network, no gradients are followed, and deep samples
come to count as all others do.

Without gradients of the statistics, the second uses the score function with the log weight as
reward, whose variance vanishes at the optimum as well (Richter et al. 2020).

Where the simulator is noisy, E exp(eta . T) is not exp(eta . E T), so that weights aim at a p that
is too wide; the second divergence is linear in T and takes no harm. There the first keeps modes
together while the property tightens, fades (``cover``), and leaves the end to the second, whose
samples then all count alike.

Parameters without finite statistics have no density in p; samples of q there cost ``_DEAD`` nats.

In many dimensions weights say nothing, and the second divergence is all there is. There the volume
of parameters grows as a high power of a statistic, k log(f), and what balances it, a constant pull
inwards, leaves a statistic narrower than a property may ask. A pull outwards that grows with the
distance, eta_2 u^2 with eta_2 > 0, has no well: samples end on one side or the other. But (Hubbard
1959)

    exp(eta_2 u^2) = E exp(c sqrt(2 eta_2) u),    c ~ N(0, 1),

so that a pull c sqrt(2 eta_2), constant for each sample, widens as much to first order, and with c
held to N(0, 1), has a well for every c. For c there is what the density's noise tells, independent
and nearly normal: the log lengths of its two halves, which layers see, then its coordinates. The
answer is then a mixture of maxima of entropy, not one, and has less.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.flows import Pushforward, Steered, log_length, standard_normal
from lanternfish.inference.epi.dual import Spread, natural, natural_of_driven, spread, tilted
from lanternfish.inference.epi.problem import OUTSIDE, Features, Problem, natural_log

_DEAD = 10.0  # nats
_DEPTH = 3.0  # nats, beside the spread of log weights
TRUNCATED = 10.0  # largest importance weight, in units of the mean weight
_ADVANTAGE = 10.0  # nats; largest reward of the score function
_JUMP = 1e3  # largest norm of a sample's gradient, in units of the median
KAPPA = 2.0  # strength of the penalty, in natural steps: e-folds that it tightens by itself
_STIFF = 6.0  # the same in many dimensions
NARROW = 0.15  # variance in many dimensions below which natural steps are those of this variance
_TAUT = 4.0  # length of a natural step up to which the penalty then grows, sqrt(nats)
NEVER = -1e30

_fixed = jax.lax.stop_gradient


class Draws(NamedTuple):
    """What a step is made from: noise for q, broad points, and a key for the simulator."""

    noise: Array
    broad: Array
    key: Array


class Balance(NamedTuple):
    """Factors of the two divergences: of the one by weights, and of the one from q's side.

    ``centred``: of the mean score, which is taken off the weights. ``leaks``: of what deep samples
    cost, which hardly count from q's side otherwise. ``shallow``: how much less a sample counts
    there, the deeper it is; as the cover is where left out.
    """

    cover: Array
    side: Array
    centred: float = 1.0
    leaks: Array | float = 0.0
    shallow: Array | None = None


class Told(NamedTuple):
    """What a step finds out."""

    spread: Spread
    entropy: Array
    effective: Array  # share of the draws that the importance weights are worth
    dead: Array  # share of q without finite statistics


def objective(
    flow: Pushforward | Steered,
    problem: Problem,
    aimed: Array,
    draws: Draws,
    balance: Balance,
    path: bool,
) -> tuple[Array, Told]:
    """Surrogate whose gradient is that of both divergences, and what was found on the way.

    Args:
        aimed: natural parameter of p, (2, r); see ``aim``.
        path: whether gradients go through the simulator; else by the score function.
    """
    n = draws.noise.shape[1]
    z, log_det = flow.forward(draws.noise)
    theta, log_b = problem.parameters(z)
    broad, broad_b = problem.parameters(draws.broad)
    points = _fixed(jnp.concatenate([z, draws.broad], 1))
    everywhere = _fixed(jnp.concatenate([theta, broad]))
    found, pull = _features(problem, everywhere, draws.key, path)
    mine = jax.tree.map(lambda a: a[:n], found)

    scores = flow.log_prob(points)
    log_p = natural_log(found, aimed) + _fixed(jnp.concatenate([log_b, broad_b]))
    weights, effective = _weights(log_p, _fixed(scores), points, found.valid, n)
    weights = balance.cover * weights.at[:n].add(-balance.centred / n)
    each = jnp.full(n, 1 / n)
    weights = weights.at[:n].add(-penalty(mine.valid, each))
    log_weight = log_p[:n] - _fixed(scores[:n])
    shallow = balance.cover if balance.shallow is None else balance.shallow
    counted = shares(log_weight, mine.valid, shallow)
    share = balance.side * counted / n
    weights = weights.at[:n].add(balance.leaks * leaks(log_weight, mine.valid, counted, each))
    loss = 0.0
    if pull is not None:
        log_q = standard_normal(draws.noise) - log_det
        loss = jnp.sum(share * (log_q - log_b - jnp.sum(pull(aimed, n) * theta, 1)))
        weights = weights.at[:n].add(share)  # takes the score's part of log q out again
    else:
        weights = weights.at[:n].add(rewards(mine.valid, log_weight, share))
    told = Told(
        spread(mine.u, mine.square, mine.valid.astype(jnp.float32)),
        jnp.mean(_fixed(log_b - scores[:n])),
        effective,
        1 - jnp.mean(mine.valid),
    )
    return loss - jnp.sum(_fixed(weights) * scores), told


def objective_of_many(
    flow: Pushforward | Steered, problem: Problem, aimed: Array, draws: Draws
) -> tuple[Array, Told]:
    """The divergence from q's side alone, where dimensions are so many that weights say nothing.

    Its gradient goes through the draws, which takes no inverse of the density: half the time.

    Args:
        aimed: natural parameter of p, (2, r); see ``aim``.
    """
    n = draws.noise.shape[1]
    z, log_det = flow.forward(draws.noise)
    theta, log_b = problem.parameters(z)
    mine, pull = _features(problem, _fixed(theta), draws.key, True)
    assert pull is not None
    driven = pull(aimed, n, drives(draws.noise, problem.constraints))
    loss = jnp.mean(-log_det - log_b - jnp.sum(driven * theta, 1))
    cost = penalty(mine.valid, jnp.full(n, 1 / n))
    dead = jax.lax.cond(
        jnp.all(mine.valid),
        lambda points: jnp.zeros(()),
        lambda points: jnp.sum(cost * flow.log_prob(points)),
        _fixed(z),
    )
    log_q = _fixed(standard_normal(draws.noise) - log_det)
    alive = mine.valid.astype(jnp.float32)
    told = Told(
        spread(mine.u, mine.square, alive), jnp.mean(_fixed(log_b) - log_q), jnp.ones(()),
        1 - jnp.mean(alive),
    )  # fmt: skip
    return loss + dead, told


def _features(problem: Problem, theta: Array, key: Array, path: bool):
    """Features of all points, and a function that pulls forces on T back to parameters.

    The function takes eta (2, r), how many of the points feel it, and of each what widens its
    statistics (n, r), where not the distance does.
    """

    def features(theta):
        found = problem.features(problem.simulate(theta, key))
        return (found.u, found.square), found.valid

    if not path:
        (u, square), valid = features(theta)
        return Features(u, square, valid), None
    (u, square), vjp, valid = jax.vjp(features, theta, has_aux=True)

    def pull(eta: Array, n: int, drive: Array | None = None) -> Array:
        mine = (valid & (jnp.arange(len(theta)) < n))[:, None]
        inwards, widening = jnp.minimum(eta[1], 0.0), jnp.maximum(eta[1], 0.0)
        if drive is None:
            along = eta[0]
            inwards = inwards + jnp.where(jnp.abs(u) < OUTSIDE, widening, 0.0)
        else:
            along = eta[0] + jnp.sqrt(2 * widening) * drive
        return _tamed(vjp((mine * along, mine * inwards))[0][:n])

    return Features(u, square, valid), pull


def drives(noise: Array, count: int) -> Array:
    """Independent, nearly normal functions of noise (d, n), shape (n, count)."""
    half = len(noise) // 2
    lengths = [log_length(part, -0.5 / len(part)) for part in (noise[:half], noise[half:])]
    return jnp.stack([*lengths, *noise[: max(count - 2, 0)]][:count], axis=1)


def _tamed(gradient: Array) -> Array:
    """Rows without a finite gradient as 0, and rows far above the median shortened."""
    finite = jnp.all(jnp.isfinite(gradient), axis=1, keepdims=True)
    gradient = jnp.where(finite, gradient, 0.0)
    norm = jnp.linalg.norm(gradient, axis=1, keepdims=True)
    most = _JUMP * jnp.median(norm) + 1e-12
    return gradient * jnp.minimum(1.0, most / jnp.maximum(norm, 1e-30))


def aim(eta: Array, metric: Spread, many: bool = False) -> Array:
    """The natural parameter that a step aims at, (2, r): eta and the pull of the penalty.

    The pull is the natural step of the residual that the batches before this one had.

    Args:
        many: whether dimensions are many.
    """
    if many:
        a, b, _ = natural_of_driven(metric, eta[1], most=1.0, least=NARROW, near=_TAUT)
        return tilted(eta, (a, b), metric.mean, _STIFF, driven=True)
    a, b, _ = natural(metric)
    return tilted(eta, (a, b), metric.mean, KAPPA)


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


def shares(log_weight: Array, valid: Array, shallow: Array) -> Array:
    """How much each sample counts in the divergence from q's side, 0 to 1, (n,); all at 0.

    Depths of noisy statistics are noise in part, and counting by it would be another bias.
    """
    alive = jnp.where(valid, log_weight, jnp.nan)
    middle = jnp.nanmedian(alive)
    scale = _DEPTH + jnp.nanmean(jnp.abs(alive - middle))
    depth = jnp.maximum(middle - alive, 0.0)
    return _fixed(jnp.where(valid, jnp.exp(-shallow * depth / scale), 0.0))


def leaks(log_weight: Array, valid: Array, counted: Array, weight: Array) -> Array:
    """Coefficients of the scores by which deep samples, as between two modes, become fewer.

    Args:
        weight: of each sample in an expectation over q, summing to 1.
    """
    middle = jnp.nanmedian(jnp.where(valid, log_weight, jnp.nan))
    cost = (1 - counted) * jnp.clip(log_weight - middle, -_ADVANTAGE, 0.0)
    cost = jnp.where(valid, cost, 0.0)
    return _fixed(weight * (cost - weight @ cost))


def penalty(valid: Array, weight: Array) -> Array:
    """Cost of samples without finite statistics, as a coefficient of their score.

    Args:
        weight: of each sample in an expectation over q, summing to 1.
    """
    cost = _DEAD * (1.0 - valid)
    return weight * (cost - weight @ cost)


def rewards(valid: Array, log_weight: Array, weight: Array) -> Array:
    """Coefficients of the scores that replace gradients through the simulator.

    Args:
        log_weight: log p - log q of each sample.
        weight: of each sample in an expectation over q.
    """
    alive = weight * valid
    reward = jnp.where(valid, log_weight, 0.0)
    mean = jnp.sum(alive * reward) / jnp.maximum(jnp.sum(alive), 1e-12)
    return alive * jnp.clip(reward - mean, -_ADVANTAGE, _ADVANTAGE)
