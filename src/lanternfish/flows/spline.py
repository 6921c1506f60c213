"""Monotone rational-quadratic splines (Durkan, Bekasov, Murray & Papamakarios 2019, equations 1-8).

On [-B, B] the map runs through K + 1 knots (x_k, y_k) with slopes d_k; outside it is the identity.
With s_k = (y_{k+1} - y_k) / (x_{k+1} - x_k) and xi = (x - x_k) / (x_{k+1} - x_k), inside bin k

    y = y_k + (y_{k+1} - y_k) (s_k xi^2 + d_k xi (1 - xi))
              / (s_k + (d_{k+1} + d_k - 2 s_k) xi (1 - xi))

Slopes come from raw numbers by 0.5 (r + sqrt(r^2 + 4)), positive and 1 at r = 0. The bins
stand along the first axis, knots are sums with a triangular matrix, and masks pick the bin: no
search, no gather, no scan, so that one pass over the coordinates does it, and one its gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

_LEAST_BIN = 5e-3  # of the interval; keeps float32 round trips to about 1e-3 of a bin
_LEAST_SLOPE = 1e-2


def parameters_per_dimension(bins: int) -> int:
    """Raw numbers that one spline takes: K widths, K heights, K - 1 inner slopes."""
    return 3 * bins - 1


def forward(x: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """Map x (...) by splines with raw parameters (3 K - 1, ...); y and log dy/dx, each (...)."""
    bins = _bins(raw, bound)
    held = jnp.clip(x, -bound, bound)
    x0, y0, width, height, d0, d1 = _pick(held, bins.right_x, bins)
    slope = height / width
    xi = (held - x0) / width
    y = y0 + height * (slope * xi**2 + d0 * xi * (1 - xi)) / _below(slope, d0, d1, xi)
    inside = jnp.abs(x) < bound
    return jnp.where(inside, y, x), jnp.where(inside, _log_slope(slope, d0, d1, xi), 0.0)


def inverse(y: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """Inverse of ``forward``: x and log dx/dy (Durkan et al., equations 6-8)."""
    bins = _bins(raw, bound)
    held = jnp.clip(y, -bound, bound)
    x0, y0, width, height, d0, d1 = _pick(held, bins.right_y, bins)
    slope = height / width
    rise = held - y0
    bend = rise * (d1 + d0 - 2 * slope)
    a = height * (slope - d0) + bend
    b = height * d0 - bend
    c = -slope * rise
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
    xi = jnp.clip(2 * c / (-b - root), 0.0, 1.0)
    inside = jnp.abs(y) < bound
    x = jnp.where(inside, x0 + xi * width, y)
    return x, jnp.where(inside, -_log_slope(slope, d0, d1, xi), 0.0)


def _below(slope: Array, d0: Array, d1: Array, xi: Array) -> Array:
    return slope + (d1 + d0 - 2 * slope) * xi * (1 - xi)


def _log_slope(slope: Array, d0: Array, d1: Array, xi: Array) -> Array:
    above = d1 * xi**2 + 2 * slope * xi * (1 - xi) + d0 * (1 - xi) ** 2
    return jnp.log(above * (slope / _below(slope, d0, d1, xi)) ** 2)


class _Bins(NamedTuple):
    """Bins of splines, each array (K, ...): sizes, right ends, slopes at the left and right end."""

    width: Array
    height: Array
    right_x: Array
    right_y: Array
    slope_left: Array
    slope_right: Array


def _bins(raw: Array, bound: float) -> _Bins:
    bins = (raw.shape[0] + 1) // 3
    sizes = raw[: 2 * bins].reshape(2, bins, *raw.shape[1:])
    shares = _LEAST_BIN + (1 - _LEAST_BIN * bins) * jax.nn.softmax(sizes, axis=1)
    width, height = 2 * bound * shares
    up_to = jnp.tril(jnp.ones((bins, bins), raw.dtype))
    right_x, right_y = jnp.einsum("kl,pl...->pk...", up_to, 2 * bound * shares) - bound
    inner = raw[2 * bins :]
    inner = _LEAST_SLOPE + (1 - _LEAST_SLOPE) * 0.5 * (inner + jnp.sqrt(inner**2 + 4))
    one = jnp.ones_like(raw[:1])
    left, right = jnp.concatenate([one, inner]), jnp.concatenate([inner, one])
    return _Bins(width, height, right_x, right_y, left, right)


def _pick(value: Array, right: Array, bins: _Bins) -> tuple[Array, ...]:
    """Left ends, sizes and slopes of the bin that holds the value; bins end at ``right``."""
    beyond = (value >= right[:-1]).astype(right.dtype)
    one = jnp.ones_like(right[:1])
    here = jnp.concatenate([one, beyond]) - jnp.concatenate([beyond, jnp.zeros_like(one)])
    width, height, x1, y1, d0, d1 = (jnp.sum(here * a, axis=0) for a in bins)
    return x1 - width, y1 - height, width, height, d0, d1
