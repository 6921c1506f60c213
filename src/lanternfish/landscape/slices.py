"""Slices through a density: one or two parameters free, the others held; their moments.

    p(theta_i, theta_j | rest)  ~  p(theta_1, ..., theta_d)    along two axes through a point.

Each slice is integrated over a window that holds all of it but e^-9 of its height, found by looking
at coarse nodes and closing in, or opening where an edge is high, inside the prior's bounds. The
rule is the trapezoid's with corrected ends (Press et al., Numerical Recipes, 4.1.14): error of
order h^4 where the window is cut by a bound, and vanishing faster than any power of h where the
density falls to zero within it.

One compiled program does all pairs of a point; which two are free is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

DROP = 9.0  # nats below the highest node: e^-9 = 1e-4 of the height
LINE, PLANE = 33, 20  # nodes of the final rule, along each axis
_FIRST, _LOOK, _LOOK_PLANE = 65, 17, 8
_ROUNDS, _ROUNDS_PLANE = 4, 3
_BATCH = 32  # slices side by side


class Window(NamedTuple):
    low: Array
    high: Array


class Line(NamedTuple):
    """Moments of a slice along one axis, in units in which the window was given."""

    mean: Array
    variance: Array
    window: Window


class Plane(NamedTuple):
    """Moments of a slice along two axes."""

    mean: Array  # (2,)
    covariance: Array  # (2, 2)
    cut: Array  # whether an edge that is no bound is still high: the window is too small


def weights(n: int) -> np.ndarray:
    """Weights of the corrected trapezoid rule at n equal steps, of sum n - 1."""
    w = np.ones(n)
    w[[0, -1]], w[[1, -2]], w[[2, -3]] = 3 / 8, 7 / 6, 23 / 24
    return w


def _nodes(window: Window, n: int) -> Array:
    return window.low + (window.high - window.low) * jnp.linspace(0.0, 1.0, n)


def _closer(window: Window, bounds: Window, height: Array, n: int) -> Window:
    """The window around the nodes (n,) that are high; wider on a side whose edge is high."""
    step = (window.high - window.low) / (n - 1)
    high = height > jnp.max(height) - DROP
    first = jnp.argmax(high)
    last = n - 1 - jnp.argmax(high[::-1])
    width = window.high - window.low
    low = jnp.where(first == 0, window.low - 0.5 * width, window.low + (first - 1) * step)
    top = jnp.where(last == n - 1, window.high + 0.5 * width, window.low + (last + 1) * step)
    return Window(jnp.maximum(low, bounds.low), jnp.minimum(top, bounds.high))


def _finite(values: Array) -> Array:
    return jnp.where(jnp.isnan(values), -jnp.inf, values)


def line(f: Callable[[Array], Array], at: Array, bounds: Window) -> Line:
    """Moments of exp f(x) between the bounds; ``at`` is where it is known not to be 0."""

    def look(window: Window, n: int) -> Window:
        x = jnp.append(_nodes(window, n), at)
        height = _finite(jax.vmap(f)(x))
        known = height[:-1]
        near = jnp.argmin(jnp.abs(x[:-1] - at))  # a peak between nodes is not lost
        return _closer(window, bounds, known.at[near].max(height[-1]), n)

    start = look(bounds, _FIRST)
    window = jax.lax.fori_loop(0, _ROUNDS - 1, lambda _, w: look(w, _LOOK), start)
    x = _nodes(window, LINE)
    height = _finite(jax.vmap(f)(x))
    p = jnp.exp(height - jnp.max(height)) * jnp.asarray(weights(LINE), jnp.float32)
    total = jnp.sum(p)
    mean = jnp.sum(p * x) / total
    return Line(mean, jnp.sum(p * (x - mean) ** 2) / total, window)


def plane(f: Callable[[Array, Array], Array], start: tuple[Window, Window], bounds) -> Plane:
    """Moments of exp f(x, y); ``start`` are windows to look at first, ``bounds`` their limits."""
    grid = jax.vmap(jax.vmap(f, (None, 0)), (0, None))

    def look(_, windows: tuple[Window, Window]) -> tuple[Window, Window]:
        a, b = windows
        height = _finite(grid(_nodes(a, _LOOK_PLANE), _nodes(b, _LOOK_PLANE)))
        return (
            _closer(a, bounds[0], jnp.max(height, axis=1), _LOOK_PLANE),
            _closer(b, bounds[1], jnp.max(height, axis=0), _LOOK_PLANE),
        )

    first, second = jax.lax.fori_loop(0, _ROUNDS_PLANE, look, start)
    x, y = _nodes(first, PLANE), _nodes(second, PLANE)
    height = _finite(grid(x, y))
    top = jnp.max(height)
    w = jnp.asarray(weights(PLANE), jnp.float32)
    p = jnp.exp(height - top) * w[:, None] * w
    p = p / jnp.sum(p)
    mean_x, mean_y = jnp.sum(p * x[:, None]), jnp.sum(p * y)
    dx, dy = x[:, None] - mean_x, y - mean_y
    cross = jnp.sum(p * dx * dy)
    covariance = jnp.array([[jnp.sum(p * dx**2), cross], [cross, jnp.sum(p * dy**2)]])
    return Plane(jnp.stack([mean_x, mean_y]), covariance, _cut(height, top, first, second, bounds))


def _cut(height: Array, top: Array, first: Window, second: Window, bounds) -> Array:
    """Whether the density is high at an edge that is no bound."""

    def edge(values: Array, end: Array, bound: Array) -> Array:
        return (jnp.max(values) > top - 0.5 * DROP) & (jnp.abs(end - bound) > 1e-6)

    return (
        edge(height[0], first.low, bounds[0].low)
        | edge(height[-1], first.high, bounds[0].high)
        | edge(height[:, 0], second.low, bounds[1].low)
        | edge(height[:, -1], second.high, bounds[1].high)
    )


@eqx.filter_jit
def slices(density: Callable, u: Array, unit: Array, bounds: Window, pairs: Array):
    """Lines of all parameters and planes of pairs through one point.

    Args:
        density: log density of theta (d,).
        u: the point in units of ``unit``, (d,); bounds likewise.
        pairs: numbers of two parameters each, (p, 2).

    Returns:
        ``Line`` of arrays (d,) and ``Plane`` of arrays (p, ...), in those units.
    """

    def along(i: Array) -> Line:
        limits = Window(bounds.low[i], bounds.high[i])
        return line(lambda x: density(unit * u.at[i].set(x)), u[i], limits)

    lines = jax.lax.map(along, jnp.arange(len(u)), batch_size=min(_BATCH, len(u)))

    def across(pair: Array) -> Plane:
        i, j = pair
        limits = [Window(bounds.low[k], bounds.high[k]) for k in (i, j)]
        found = [Window(lines.window.low[k], lines.window.high[k]) for k in (i, j)]
        start = _wider(found[0], limits[0]), _wider(found[1], limits[1])
        return plane(lambda x, y: density(unit * u.at[i].set(x).at[j].set(y)), start, limits)

    return lines, jax.lax.map(across, pairs, batch_size=min(_BATCH, max(len(pairs), 1)))


def _wider(window: Window, bounds: Window) -> Window:
    """Half as wide again on either side: with the other parameter free there is more room."""
    more = 0.25 * (window.high - window.low)
    return Window(
        jnp.maximum(window.low - more, bounds.low), jnp.minimum(window.high + more, bounds.high)
    )
