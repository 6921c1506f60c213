"""Slack: what moments may be off by, before entropy is given up for the property.

Where statistics hang together, as of five neurons by two parameters, a property may lie in a corner
of what parameters can reach: eta is huge there, and much entropy is lost for the last percent of
the residual. With some slack rho the optimum is where

    E T = [0 ; 1] - f(eta),    f(eta) = rho (tanh(eta / s) + eta / 10),    s = 0.3,

the minimum of a convex function, too: rho is what moments may be off by before eta grows. For a
positive eta of a square s is 0.02: exp(eta E u^2) with eta > 0 looks for parameters where a
statistic is uncertain.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_SOFT, _OUTWARDS, _FURTHER = 0.3, 0.02, 0.1  # s, s of a pull outwards, slope far out
_SHARE, _LONGEST = 0.05, 0.3  # of a Newton step; its length, sqrt(nats), from where less of it
_STEEP = 1e-6  # least slope, in units of a moment's variance

Slack = tuple[float, float]  # rho of means and of mean squares, in the property's spread


def allowance(eta, slack: Slack | None):
    """f and its slope, (2 r,) each, at eta (2, r); of NumPy in double precision."""
    xp = jnp if isinstance(eta, jax.Array) else np
    most = xp.asarray(slack or (0.0, 0.0))[:, None]
    outwards = eta * xp.array([[0.0], [1.0]]) > 0
    soft = xp.where(outwards, _OUTWARDS, _SOFT)
    bent = xp.tanh(eta / soft)
    slope = most * ((1 - bent**2) / soft + _FURTHER)
    return (most * (bent + _FURTHER * eta)).ravel(), slope.ravel()


def steered(eta: Array, slack: Slack, moments: Array, valid: Array) -> Array:
    """eta (2, r) after part of a Newton step to where a density has the moments that it should.

    Args:
        moments: T of draws of the density, (n, 2 r).
        valid: which of them are finite, (n,).
    """
    total = jnp.maximum(jnp.sum(valid), 1)
    mean = jnp.sum(jnp.where(valid[:, None], moments, 0.0), axis=0) / total
    away = jnp.where(valid[:, None], moments - mean, 0.0)
    allowed, slope = allowance(eta, slack)
    residual = jnp.repeat(jnp.array([0.0, 1.0]), eta.shape[1]) - allowed - mean
    covariance = away.T @ away / total
    curvature = covariance + jnp.diag(slope + _STEEP * jnp.diag(covariance))
    step = jnp.linalg.solve(curvature, residual)
    length = jnp.sqrt(jnp.maximum(residual @ step, 1e-12))
    return eta + _SHARE * jnp.minimum(1.0, _LONGEST / length) * step.reshape(eta.shape)
