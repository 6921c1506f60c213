"""Which parameters gave which statistics: likelihoods up to a function of x, learned and compared.

Of pairs (theta_i, x_i), i = 1..n, and any l(x, theta), the contrast is

    C[l] = mean_i [ l(x_i, theta_i) - log mean_j exp l(x_i, theta_j) ],

how much better than chance l finds the theta of an x among those of all pairs. It is largest, over
all l, at l = log p(x | theta) + any function of x, whatever proposed theta, and never above the
information that x holds of theta (InfoNCE: van den Oord, Li & Vinyals 2018; as likelihood ratios:
Durkan, Murray & Papamakarios 2020). So it fits what has no known normaliser over x, and compares
that with densities that have one.

Fitted is an exponential family (``flows.ExponentialFamily``), by L-BFGS from the linear Gaussian
model, on pairs whose theta lie near the posterior. It has so few parameters that it needs few
simulations, where it holds: where it does not, its contrast on held-out pairs says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from scipy.optimize import minimize
from scipy.special import logsumexp

from lanternfish import flows

_ROWS = 32_768  # the latest pairs, at most, that are learned from
_FEWEST = 500
_GROUP = 8_192  # pairs that each x is told from, at most
_CACHED = 32  # rows of a block
_BENDS = 40
_STEPS, _MEMORY = 200, 30  # of L-BFGS
_ROWS_A_COEFFICIENT = 5
_RIDGE = 1e-6
_LEAST = 1e-2  # noise of a statistic that parameters tell exactly, in units of its spread
_COMPARED = 512  # held-out pairs, and parameter sets, at most
_REACH = 6.0  # squared length of u an expected one of the posterior, a dimension
_BLOCK = 2_048  # rows of a first fit; padding, so that rounds share programs


class _Pairs(NamedTuple):
    """Local parameters u (n, d), statistics y (n, k) in units of noise, and which are real (n,)."""

    u: np.ndarray
    y: np.ndarray
    real: np.ndarray


class _Free(NamedTuple):
    """What is fitted: how far the family is from the linear Gaussian one, in standard units."""

    natural: Any
    linear: Any
    square: Any
    heights: Any
    projections: Any
    offsets: Any


class Region:
    """Where a posterior lies, by its draws: u = W (theta - c) has mean 0 and covariance 1 there."""

    def __init__(self, draws: np.ndarray) -> None:
        self.centre = draws.mean(axis=0)
        covariance = np.atleast_2d(np.cov(draws.T))
        scale = np.sqrt(np.diag(covariance)) + 1e-300
        correlation = covariance / np.outer(scale, scale) + _RIDGE * np.eye(len(scale))
        self.whiten = np.linalg.inv(np.linalg.cholesky(correlation)) / scale
        self.reach = _REACH * (len(scale) + 1)

    def local(self, theta: np.ndarray) -> np.ndarray:
        """u (n, d) of parameters."""
        return (theta - self.centre) @ self.whiten.T

    def holds(self, theta: np.ndarray) -> np.ndarray:
        """Which parameters are near, (n,) of bool."""
        return np.sum(self.local(theta) ** 2, axis=1) < self.reach


def exponential(
    theta: np.ndarray,
    away: np.ndarray,
    region: Region,
    *,
    seed: int,
    steps: int,
    promising: Callable[[flows.ExponentialFamily], bool] = lambda family: True,
) -> flows.ExponentialFamily | None:
    """The exponential family under which pairs of a region contrast best, if there is one.

    None where pairs are too few, or the family that fits some of them is not ``promising``.

    Args:
        theta: parameters inside the region, (n, d); the latest come last.
        away: their statistics less the measured ones, (n, k).
        seed: of the first projections and of the order of pairs.
        steps: of the fit of all pairs, which begins at a fit of some.
        promising: whether a fit of some is worth going on from.
    """
    n, d, k = len(theta), theta.shape[1], away.shape[1]
    if n < max(_FEWEST, _ROWS_A_COEFFICIENT * d * (k + (d + 1) // 2)):
        return None
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.arange(max(0, n - _ROWS), n))
    u, away = region.local(theta[rows]), away[rows]
    design = np.c_[np.ones(len(u)), u]
    fit, *_ = np.linalg.lstsq(design, away, rcond=None)
    left = away - design @ fit
    scale = left.std(axis=0) + _LEAST * away.std(axis=0) + 1e-300
    correlation = (left / scale).T @ (left / scale) / len(left) + _RIDGE * np.eye(k)
    noise = np.linalg.inv(np.linalg.cholesky(correlation)) / scale  # y = noise @ away
    slopes = noise @ fit[1:].T  # of y, (k, d): the natural parameters of the linear model
    start = _Free(
        natural=slopes,
        linear=slopes.T @ noise @ fit[0],
        square=slopes.T @ slopes,
        heights=np.zeros(_BENDS),
        projections=rng.normal(0, 1.3 / np.sqrt(d), (_BENDS, d)),
        offsets=rng.normal(0, 0.5, _BENDS),
    )
    y = away @ noise.T
    found = _fitted(start, start, u[:_BLOCK], y[:_BLOCK], _STEPS)
    if not promising(_family(found, noise, region)):
        return None
    return _family(_fitted(start, found, u, y, steps), noise, region)


def _family(found: _Free, noise: np.ndarray, region: Region) -> flows.ExponentialFamily:
    square = 0.5 * (found.square + found.square.T)
    arrays = (
        region.centre, region.whiten, noise.T @ found.natural, found.linear, square,
        found.heights, found.projections, found.offsets, region.reach,
    )  # fmt: skip
    return flows.ExponentialFamily(*(jnp.asarray(a, jnp.float32) for a in arrays))


def _padded(u: np.ndarray, y: np.ndarray) -> _Pairs:
    """Pairs spread evenly over groups of one size, each with rows that are not real behind."""
    groups = -(-len(u) // _GROUP)
    block = _GROUP if groups > 1 else _BLOCK
    size = groups * (-(-len(u) // (groups * block)) * block)
    places = np.arange(size).reshape(-1, groups).T.ravel()  # rows dealt out to groups in turn
    fill = lambda a: np.resize(a, (size, a.shape[1])).astype(np.float32)[places]  # noqa: E731
    return _Pairs(fill(u), fill(y), places < len(u))


def _fitted(linear: _Free, start: _Free, u: np.ndarray, y: np.ndarray, steps: int) -> _Free:
    """The family of the greatest contrast, less what its distance from a linear one costs.

    A step takes as long as there are pairs of pairs.
    """
    single = lambda free: jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), free)  # noqa: E731
    data, linear = jax.tree.map(jnp.asarray, _padded(u, y)), single(linear)
    first, rebuild = ravel_pytree(single(start))

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _loss(rebuild(jnp.asarray(vector, jnp.float32)), linear, data)
        return float(value), np.asarray(ravel_pytree(slope)[0], np.float64)

    best = minimize(
        objective, np.asarray(first, np.float64), jac=True, method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": _MEMORY, "ftol": 1e-9},
    )  # fmt: skip
    found = rebuild(jnp.asarray(best.x, jnp.float32))
    return jax.tree.map(lambda a: np.asarray(a, np.float64), found)


@jax.jit
@jax.value_and_grad
def _loss(free: _Free, linear: _Free, pairs: _Pairs) -> Array:
    bent = jax.nn.softplus(pairs.u @ free.projections.T + free.offsets)
    squares = 0.5 * jnp.sum(pairs.u * (pairs.u @ free.square.T), axis=1)
    normaliser = pairs.u @ free.linear + squares + bent @ free.heights
    eta = pairs.u @ free.natural.T
    own = jnp.sum(pairs.y * eta, axis=1) - normaliser
    n = jnp.sum(pairs.real)
    away = sum(jnp.sum((a - b) ** 2) for a, b in zip(free[:3], linear[:3], strict=True))
    cost = 0.1 * (away + jnp.sum(free.projections**2)) + jnp.sum(free.heights**2)
    groups = lambda a: a.reshape(-1, min(len(a), _GROUP), *a.shape[1:])  # noqa: E731
    each = jax.tree.map(groups, (eta, normaliser, pairs.y, pairs.real))
    totals = jnp.sum(jax.lax.map(lambda group: _totals(*group), each))
    return (totals - jnp.sum(jnp.where(pairs.real, own, 0.0)) + cost) / n


@jax.custom_vjp
def _totals(eta: Array, normaliser: Array, y: Array, real: Array) -> Array:
    """sum_i log sum_j exp(y_i . eta_j - A_j), over real rows i and j."""
    return _totals_and_slopes(eta, normaliser, y, real)[0]


def _totals_and_slopes(eta: Array, normaliser: Array, y: Array, real: Array):
    """The sum, and its slopes in eta (n, k) and A (n,), by blocks that fit into a core's cache."""
    drop = jnp.where(real, normaliser, jnp.inf)

    def block(carry, rows):
        total, weights = carry
        some, mask = rows
        logs = some @ eta.T - drop
        top = jnp.max(logs, axis=1, keepdims=True)
        each = jnp.exp(logs - top)
        sums = jnp.sum(each, axis=1, keepdims=True)
        with_one = jnp.where(mask[:, None], jnp.c_[some, jnp.ones(len(some))], 0.0) / sums
        total += jnp.sum(jnp.where(mask, jnp.log(sums[:, 0]) + top[:, 0], 0.0))
        return (total, weights + each.T @ with_one), None

    cut = lambda a: a.reshape(-1, _CACHED, *a.shape[1:])  # noqa: E731
    first = (jnp.zeros(()), jnp.zeros((len(y), y.shape[1] + 1)))
    (total, weights), _ = jax.lax.scan(block, first, (cut(y), cut(real)))
    return total, (weights[:, :-1], -weights[:, -1])


def _forward(*arrays):
    total, slopes = _totals_and_slopes(*arrays)
    return total, (slopes, arrays[2:])


def _backward(kept, slope):
    (eta, normaliser), rest = kept
    return slope * eta, slope * normaliser, *jax.tree.map(lambda a: None, rest)


_totals.defvjp(_forward, _backward)


def contrast(density: eqx.Module, theta: np.ndarray, x: np.ndarray) -> float:
    """How much better than chance held-out pairs are told, in nats: of the last 512 at most.

    Args:
        density: its ``log_prob`` of one x (k,) and one theta (d,) is l(x, theta).
        theta, x: pairs in the units that the density takes, (n, d) and (n, k).
    """
    points, values = (jnp.asarray(a[-_COMPARED:], jnp.float32) for a in (theta, x))
    every = np.asarray(_every(density, points, values), np.float64)
    total = np.asarray(logsumexp(every, axis=1))
    return float(np.mean(np.diag(every) - total) + np.log(len(every)))


@eqx.filter_jit
def _every(density, theta: Array, x: Array) -> Array:
    """l(x_i, theta_j), (n, n)."""
    of = lambda a: jax.vmap(lambda b: density.log_prob(a, b))(theta)  # noqa: E731
    return jax.lax.map(of, x)
