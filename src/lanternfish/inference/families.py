"""Exponential families of statistics, fitted to their first two moments.

Of p(x | theta) = h(x) exp(eta . x - K(eta)), with eta = N u linear in the parameters u, both the
base measure h and the cumulant function K are unknown, but K is convex and tells the moments:

    E[x | u] = grad K(eta),    Cov[x | u] = hess K(eta).

So all of it is found by the normal pseudo-likelihood

    sum_i 1/2 r_i^T H_i^-1 r_i + 1/2 log |H_i|,   r_i = x_i - grad K(eta_i),   H_i = hess K(eta_i),

whose maximum is right wherever the two moments are, normal or not (Gourieroux, Monfort & Trognon
1984, Econometrica 52:681, section 5). It is the likelihood itself for a linear Gaussian model,
costs a pass over the pairs and takes any proposal of theta. A posterior needs A(u) = K(N u).

    K(eta) = m^T eta + 1/2 eta^T S eta + w^2 sum_s a_s softplus(b_s^T eta / w + c_s),    a_s > 0,

with w the usual size of eta, so that costs of a and b mean the same in any problem. Fitted by
L-BFGS from the linear Gaussian model, on pairs whose theta lie near the posterior. A family has so
few parameters that it needs few simulations, where it holds; ``contrast`` says whether it does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish import flows

_ROWS = 32_768  # the latest pairs, at most, that are learned from
_FEWEST = 500
_ROWS_A_COEFFICIENT = 5
_BENDS = 60
_MEMORY = 30  # of L-BFGS
_RIDGE = 1e-6
_FLOOR = 1e-4  # least variance of a statistic, in units of its noise
_LEAST = 1e-2  # noise of a statistic that parameters tell exactly, in units of its spread
_REACH = 6.0  # squared length of u an expected one of the posterior, a dimension
_BLOCK = 2_048  # padding of rows, so that rounds share programs


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


class _Free(NamedTuple):
    """What is fitted: N, m, a root of S, and a before its softplus, b and c."""

    natural: Any
    mean: Any
    root: Any
    heights: Any
    projections: Any
    offsets: Any


class _Rows(NamedTuple):
    """Local parameters u (n, d), statistics y (n, k) in units of noise, which are real (n,)."""

    u: Array
    y: Array
    real: Array
    width: Array  # the usual size of an entry of eta


def exponential(
    theta: np.ndarray, away: np.ndarray, region: Region, *, seed: int, steps: int
) -> flows.ExponentialFamily | None:
    """The exponential family of pairs in a region; None where they are too few.

    Args:
        theta: parameters inside the region, (n, d); the latest come last.
        away: their statistics less the measured ones, (n, k).
        seed: of the first projections.
        steps: of L-BFGS, at most.
    """
    theta, away = theta[-_ROWS:], away[-_ROWS:]
    n, d, k = len(theta), theta.shape[1], away.shape[1]
    if n < max(_FEWEST, _ROWS_A_COEFFICIENT * (k * d + k * (k + 3) // 2)):
        return None
    u = region.local(theta)
    fit, *_ = np.linalg.lstsq(np.c_[np.ones(n), u], away, rcond=None)
    left = away - np.c_[np.ones(n), u] @ fit
    scale = left.std(axis=0) + _LEAST * away.std(axis=0) + 1e-300
    correlation = (left / scale).T @ (left / scale) / n + _RIDGE * np.eye(k)
    noise = np.linalg.inv(np.linalg.cholesky(correlation)) / scale  # y = noise @ away
    slopes = noise @ fit[1:].T
    width = float(np.sqrt(np.mean((u @ slopes.T) ** 2))) + _LEAST
    rng = np.random.default_rng(seed)
    start = _Free(
        natural=slopes,
        mean=noise @ fit[0],
        root=np.eye(k),
        heights=np.full(_BENDS, -2.0),
        projections=rng.normal(0, 1.3 / np.sqrt(k), (_BENDS, k)),
        offsets=rng.normal(0, 0.5, _BENDS),
    )
    found = _fitted(start, u, away @ noise.T, width, steps)
    square = found.root @ found.root.T + _FLOOR * np.eye(k)
    arrays = (
        region.centre,
        region.whiten,
        noise.T @ found.natural,
        found.natural.T @ found.mean,
        found.natural.T @ square @ found.natural,
        width**2 * np.logaddexp(0, found.heights),
        found.projections @ found.natural / width,
        found.offsets,
        region.reach,
    )
    return flows.ExponentialFamily(*(jnp.asarray(a, jnp.float32) for a in arrays))


def _fitted(start: _Free, u: np.ndarray, y: np.ndarray, width: float, steps: int) -> _Free:
    from scipy.optimize import minimize  # slow to import

    size = -(-len(u) // _BLOCK) * _BLOCK
    fill = lambda a: jnp.asarray(np.resize(a, (size, a.shape[1])), jnp.float32)  # noqa: E731
    real = jnp.arange(size) < len(u)
    rows = _Rows(fill(u), fill(y), real, jnp.asarray(width, jnp.float32))
    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), start)
    first, rebuild = ravel_pytree(single)

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _loss(rebuild(jnp.asarray(vector, jnp.float32)), rows)
        if not np.isfinite(value):
            return 1e30, np.zeros(len(vector))  # the line search comes back
        return float(value), np.asarray(ravel_pytree(slope)[0], np.float64)

    best = minimize(
        objective, np.asarray(first, np.float64), jac=True, method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": _MEMORY, "ftol": 1e-10, "gtol": 1e-7},
    )  # fmt: skip
    found = rebuild(jnp.asarray(best.x, jnp.float32))
    return jax.tree.map(lambda a: np.asarray(a, np.float64), found)


@jax.jit
@jax.value_and_grad
def _loss(free: _Free, rows: _Rows) -> Array:
    """The mean pseudo-likelihood, less its constant, and what a distance from linear costs."""
    k = rows.y.shape[1]
    heights, b = jax.nn.softplus(free.heights), free.projections
    root = free.root @ free.root.T
    eta = rows.u @ free.natural.T
    rise = jax.nn.sigmoid(eta @ b.T / rows.width + free.offsets)
    means = free.mean + eta @ root + rows.width * ((heights * rise) @ b)
    bent = (heights * rise * (1 - rise)) @ (b[:, :, None] * b[:, None, :]).reshape(-1, k * k)
    covariances = root + _FLOOR * jnp.eye(k) + bent.reshape(-1, k, k)
    each = _minus_log_normal(rows.y - means, covariances)
    cost = jnp.sum(heights**2) + jnp.sum(b**2) + jnp.sum((free.root - jnp.eye(k)) ** 2)
    return (jnp.sum(jnp.where(rows.real, each, 0.0)) + cost) / jnp.sum(rows.real)


@jax.custom_vjp
def _minus_log_normal(left: Array, covariances: Array) -> Array:
    """1/2 r^T C^-1 r + 1/2 log |C|, (n,), of r (n, k) and C (n, k, k)."""
    return _with_slopes(left, covariances)[0]


def _with_slopes(left: Array, covariances: Array):
    """The same, with C^-1 r and C^-1: its slopes need no second factorisation."""

    def one(r, c):
        lower = jnp.linalg.cholesky(c)
        inverse = jax.scipy.linalg.cho_solve((lower, True), jnp.eye(len(r)))
        solved = inverse @ r
        return 0.5 * r @ solved + jnp.sum(jnp.log(jnp.diag(lower))), (solved, inverse)

    return jax.vmap(one)(left, covariances)


def _backward(kept, slope: Array):
    solved, inverse = kept
    square = 0.5 * (inverse - solved[:, :, None] * solved[:, None, :])
    return slope[:, None] * solved, slope[:, None, None] * square


_minus_log_normal.defvjp(_with_slopes, _backward)
