"""Monotone rational-quadratic splines (Durkan, Bekasov, Murray & Papamakarios 2019, equations 1-8).

On [-B, B] the map runs through K + 1 knots (x_k, y_k) with slopes d_k; outside it is the identity.
With s_k = (y_{k+1} - y_k) / (x_{k+1} - x_k) and xi = (x - x_k) / (x_{k+1} - x_k), inside bin k

    y = y_k + (y_{k+1} - y_k) (s_k xi^2 + d_k xi (1 - xi))
              / (s_k + (d_{k+1} + d_k - 2 s_k) xi (1 - xi))

which, with w and h the bin's sizes, t = x - x_k and u = w - t, one division gives:

    y = y_k + h t (h t + d_k w u) / Q,      Q = h w^2 + ((d_{k+1} + d_k) w - 2 h) t u
    dy/dx = h^2 w ((d_{k+1} t^2 + d_k u^2) w + 2 h t u) / Q^2

Slopes come from raw numbers by 0.5 (r + sqrt(r^2 + 4)), positive and 1 at r = 0. The bins
stand along the first axis, knots are sums with a triangular matrix, and masks pick the bin: no
search, no gather, no scan, so that one pass over the coordinates does it, and one its gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

_LEAST_BIN = 5e-3  # of the interval; keeps float32 round trips to about 1e-3 of a bin
_LEAST_SLOPE = 1e-2


def parameters_per_dimension(bins: int) -> int:
    """Raw numbers that one spline takes: K widths, K heights, K - 1 inner slopes."""
    return 3 * bins - 1


def forward(x: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """Map x (...) by splines with raw parameters (3 K - 1, ...); y and log dy/dx, each (...)."""
    held = jnp.clip(x, -bound, bound)
    bin = _bin(held, raw, bound, axis=0)
    t = held - bin.x
    u = bin.width - t
    over = _over(bin, t, u)
    y = bin.y + bin.height * t * (bin.height * t + bin.left * bin.width * u) * over
    inside = jnp.abs(x) < bound
    return jnp.where(inside, y, x), jnp.where(inside, _log_slope(bin, t, u, over), 0.0)


def inverse(y: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """Inverse of ``forward``: x and log dx/dy (Durkan et al., equations 6-8)."""
    held = jnp.clip(y, -bound, bound)
    bin = _bin(held, raw, bound, axis=1)
    slope, rise = bin.height * _one_over(bin.width), held - bin.y
    bend = rise * (bin.right + bin.left - 2 * slope)
    a = bin.height * (slope - bin.left) + bend
    b = bin.height * bin.left - bend
    c = -slope * rise
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
    t = bin.width * jnp.clip(2 * c / (-b - root), 0.0, 1.0)
    u = bin.width - t
    inside = jnp.abs(y) < bound
    x = jnp.where(inside, bin.x + t, y)
    return x, jnp.where(inside, -_log_slope(bin, t, u, _over(bin, t, u)), 0.0)


class _Bin(NamedTuple):
    """The bin that holds a value, each array (...): its left end, sizes, and slopes at its ends."""

    x: Array
    y: Array
    width: Array
    height: Array
    left: Array
    right: Array


def _bin(value: Array, raw: Array, bound: float, axis: int) -> _Bin:
    """The bin in which a value of x (axis 0) or y (axis 1) lies.

    Sizes of bins are shares e_k / sum_l e_l, and a floor; only what is picked is divided.
    """
    bins = (raw.shape[0] + 1) // 3
    logits = raw[: 2 * bins].reshape(2, bins, *raw.shape[1:])
    e = jnp.exp(logits - lax.stop_gradient(jnp.max(logits, axis=1, keepdims=True)))
    whole = 2 * bound * (1 - _LEAST_BIN * bins) * _one_over(jnp.sum(e, axis=1))
    least = 2 * bound * _LEAST_BIN
    ends = _running(lax.stop_gradient(e[axis])) * lax.stop_gradient(whole[axis])
    floor = least * np.arange(1, bins, dtype=np.float32) - bound
    beyond = (value >= ends + floor.reshape(-1, *[1] * value.ndim)).astype(raw.dtype)
    one, zero = jnp.ones_like(raw[:1]), jnp.zeros_like(raw[:1])
    before, after = jnp.concatenate([one, beyond]), jnp.concatenate([beyond, zero])
    here = before - after
    x, y = least * jnp.sum(beyond, axis=0) + whole * jnp.sum(after * e, axis=1) - bound
    width, height = least + whole * jnp.sum(here * e, axis=1)
    inner = raw[2 * bins :]
    ends = jnp.stack([jnp.sum(here[1:] * inner, axis=0), jnp.sum(here[:-1] * inner, axis=0)])
    left, right = _LEAST_SLOPE + (1 - _LEAST_SLOPE) * 0.5 * (ends + jnp.sqrt(ends**2 + 4))
    return _Bin(x, y, width, height, left, right)


def _running(sizes: Array) -> Array:
    """Sums of the first 1 to K - 1 of sizes (K, ...), shape (K - 1, ...)."""
    up_to = np.tri(len(sizes) - 1, len(sizes), dtype=np.float32)
    return jnp.einsum("kl,l...->k...", up_to, sizes)


def _over(bin: _Bin, t: Array, u: Array) -> Array:
    """1 / Q of a place t to the right of the bin's left end, and u to the left of its right end."""
    w, h = bin.width, bin.height
    return _one_over(h * w**2 + ((bin.left + bin.right) * w - 2 * h) * t * u)


def _log_slope(bin: _Bin, t: Array, u: Array, over: Array) -> Array:
    w, h = bin.width, bin.height
    above = (bin.right * t**2 + bin.left * u**2) * w + 2 * h * t * u
    return jnp.log(w * above * (h * over) ** 2)


@jax.custom_jvp
def _one_over(x: Array) -> Array:
    """1 / x, whose derivative needs no further division."""
    return 1 / x


@_one_over.defjvp
def _one_over_jvp(primals, tangents):
    over = _one_over(*primals)
    return over, -over * over * tangents[0]
