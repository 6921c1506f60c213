"""Steps towards the property, in the geometry of the distribution itself.

How far q is from the property, its residual, is measured by what it costs to move there. For nearly
normal statistics with mean m and covariance V (in units of the property's standard deviation),
moving the means by dm and the variances by dv costs

    KL = 1/2 dm' V^-1 dm + 1/2 dv' (2 V o V)^-1 dv        (nats; o is elementwise)

so that the natural step is a = V^-1 (0 - m) for the mean and b = (2 V o V)^-1 (1 - v) for the
variance, as a tilt a . (u - m) + b . (u - m)^2. While the statistics still vary widely, it tightens
them by a constant factor in each unit of time, whatever their scale: no penalty has to be tuned.
Its length is held to one nat, or so far from the property to more where dimensions are many.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

MOST = 1e3  # |eta|: beyond, statistics would be held 20 times tighter than the property asks
_RIDGE = 1e-3  # of the covariance's diagonal


class Spread(NamedTuple):
    """Moments of u: mean (r,), covariance (r, r), and the variance that the property means (r,)."""

    mean: Array
    covariance: Array
    variance: Array


def spread(u: Array, square: Array, weight: Array) -> Spread:
    """Moments of rows (n, r) with weights (n,)."""
    total = jnp.maximum(jnp.sum(weight), 1e-12)
    mean = weight @ u / total
    centred = u - mean
    covariance = (centred * weight[:, None]).T @ centred / total
    return Spread(mean, covariance, weight @ square / total - mean**2)


def natural(
    found: Spread, most: float = 1.0, least: float = 0.0, near: float = 1.0
) -> tuple[Array, Array, Array]:
    """The natural step (a, b), each (r,), of a residual, and its whole length in sqrt(nats).

    Args:
        found: moments whose residual is to be removed, and their covariance, the geometry.
        most: what the length is held to far from the property; nearer, a third of it.
        least: variance below which the geometry is that of this variance.
        near: what the length is held to at least.
    """
    diagonal = jnp.diag(found.covariance)
    wider = jnp.sqrt(jnp.maximum(diagonal, least) / (diagonal + 1e-12))
    v = found.covariance * jnp.outer(wider, wider) if least else found.covariance
    v = v + jnp.diag(_RIDGE * jnp.diag(v) + 1e-6)
    square = 2 * v**2
    a, b = jnp.linalg.solve(v, -found.mean), jnp.linalg.solve(square, 1 - found.variance)
    pull_mean = found.mean @ jnp.linalg.solve(v, found.mean)
    away = 1 - found.variance
    length = jnp.sqrt(jnp.maximum(pull_mean + away @ jnp.linalg.solve(square, away), 1e-12))
    held = jnp.minimum(1.0, jnp.clip(length / 3, near, jnp.maximum(near, most)) / length)
    return a * held, b * held, length


def own(found: Spread, square: Array) -> Spread:
    """The moments, with the covariance that statistics have beside what drives them.

    A variance v0 that is driven by sqrt(2 eta_2) c becomes v = v0 + 2 eta_2 v0^2; what a tilt moves
    the mean by is v0.

    Args:
        square: eta_2, (r,).
    """
    v, s = jnp.maximum(jnp.diag(found.covariance), 1e-12), 2 * jnp.maximum(square, 0.0)
    share = 2 / (1 + jnp.sqrt(1 + 4 * s * v))  # v0 / v, of the root of s v0^2 + v0 = v
    return found._replace(covariance=found.covariance * jnp.sqrt(jnp.outer(share, share)))


def natural_of_driven(
    found: Spread, square: Array, most: float, least: float, near: float
) -> tuple[Array, Array, Array]:
    """As ``natural``, of statistics that are driven where ``square``, (r,), is above zero.

    Steps of means, and of variances that are too large, are in their own geometry: widening would
    run away in it where the density does not follow what drives it yet.
    """
    alone = own(found, square)
    a, narrower, _ = natural(alone, most, least, near)
    _, b, length = natural(found, most, least, near)
    return a, jnp.where((found.variance > 1) & (square > 0), jnp.minimum(narrower, b), b), length


def tilted(
    eta: Array, step: tuple[Array, Array], mean: Array, rate: float | Array, driven: bool = False
) -> Array:  # fmt: skip
    """eta (2, r) after a tilt a . (u - m) + b . (u - m)^2, times the rate.

    Args:
        driven: whether a square above zero widens about no mean (``objective.objective_of_many``).
    """
    a, b = step
    square = eta[1] + rate * b
    about = jnp.minimum(square, 0.0) - jnp.minimum(eta[1], 0.0) if driven else rate * b
    return jnp.clip(jnp.stack([eta[0] + rate * a - 2 * mean * about, square]), -MOST, MOST)
