"""Densities that are trained by their own samples: noise pushed forward to data.

    x = f(e),  e ~ N(0, I),    log q(x) = log N(e; 0, I) - log |det df/de|

``ConditionalFlow`` runs from data to noise, because it is trained on data; here both directions are
one pass, and all points of a batch go through together: points stand along the last axis, (d, n),
so that every elementwise operation is one long vector.

A layer passes half of the coordinates; of the others, each is bent by a spline (which splits a
density into modes) and then shifted and scaled (which follows narrow ridges), all given by a
network of the passing half. In few dimensions a linear map follows, (I + L) diag(s) (I + U) with
triangular L and U, which turns the coordinates to where a ridge runs. In many dimensions all
coordinates may have one scale that varies, and pairs of them a correlation: there the network also
sees the length of the passing half,

    t = sqrt(2 p) (log(|held| / sqrt(p)) - c),    of p coordinates; about N(0, 1) at first,

which besides adds g t to every log scale, |t| held below 4, and a matrix adds a linear map of the
passing half to the shifts. Layers start as the identity, so that the density starts as N(0, I).

There one in some ten thousand points may escape: each layer that finds it long makes it longer. So
each layer draws in points that are far longer than others. With l the log of the root mean square,
c and s its middle and spread over draws (``drawn_in``), and t = (l - c) / s,

    t' = t    up to 5,    t' = 5 + 2 log(1 + (t - 5) / 2)    beyond;    x' = x exp(s (t' - t)),

and log |det| = d s (t' - t) + log dt'/dt.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.flows import spline
from lanternfish.flows.networks import Linear
from lanternfish.flows.stacks import through

_BOUND = 5.0  # splines act on [-bound, bound] and are the identity outside
_MOST, _MOST_OF_MANY = 3.0, 1.0  # of a log scale; in many dimensions more throws points far out
_LEAST = 1e-8  # mean square of a passing half
_FAR = 4.0  # of its length, or one layer's far point would be the next one's farther
_CLEAR, _SOFT = 5.0, 2.0  # of t, up to which points stay, and how fast they are drawn in beyond
_MOST_APART, _MOST_LOG = 4.0, 20.0  # of (t' - 5) / 2 and s (t - t'), lest the way back overflows
_LEAST_APART = 1e-3  # s
_QUARTILES = 1.349  # their distance in a normal distribution, in its standard deviations
_FEW = 4  # dimensions up to which the smallest density will do
_MANY = 32  # dimensions above which splines and linear maps would cost more than they bring


@dataclass(frozen=True)
class Push:
    """What a pushforward is made of.

    Args:
        layers: how many.
        width, depth: of their networks.
        bins: of the splines; 0: shifts and scales alone.
    """

    layers: int = 6
    width: int = 48
    depth: int = 1
    bins: int = 8

    def __post_init__(self) -> None:
        for name, least in (("layers", 1), ("width", 1), ("depth", 0), ("bins", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} of at least {least}; got {getattr(self, name)}.")


def push_for(dim: int) -> Push:
    """The default for a density of this dimension."""
    if dim > _MANY:
        return Push(layers=6, width=64, bins=0)
    return Push() if dim <= _FEW else Push(layers=8, width=64)


class _Layer(eqx.Module):
    """Coupling of spline, shift and scale, and an order of the coordinates after it."""

    first: Linear
    inner: tuple[Linear, ...]
    last: Linear
    lower: Array | np.ndarray
    upper: Array | np.ndarray
    across: Array | np.ndarray
    gauge: Array | np.ndarray
    order: Array | np.ndarray
    back: Array | np.ndarray
    reach: Array | np.ndarray  # c and s of its output, in many dimensions; set, not trained
    mixes: bool = eqx.field(static=True)
    bins: int = eqx.field(static=True)

    def __init__(self, rng, dim: int, cond_dim: int, push: Push, order: np.ndarray) -> None:
        moved = dim - dim // 2
        self.bins, self.mixes = push.bins, dim <= _MANY
        size = dim if self.mixes else 0
        self.lower = self.upper = np.zeros((size, size), np.float32)
        outputs = moved * (2 + (3 * push.bins - 1 if push.bins else 0))
        wide = 0 if self.mixes else 1
        self.across = np.zeros((wide * moved, wide * (dim // 2)), np.float32)
        self.gauge = np.zeros(2 * wide, np.float32)  # c and g
        self.reach = np.array(wide * [0.0, 1.0], np.float32)
        self.first = Linear(rng, dim // 2 + wide + cond_dim, push.width)
        self.inner = tuple(Linear(rng, push.width, push.width) for _ in range(push.depth))
        self.last = Linear(rng, push.width, outputs, gain=0.0)
        self.order, self.back = (a.astype(np.int32) for a in (order, np.argsort(order)))

    def _given(self, held: Array, condition: Array, moved: int) -> tuple[Array, Array, Array]:
        """Shift, log scale (moved, n) and raw spline parameters (3 K - 1, moved, n)."""
        if self.mixes:
            return self._of_network(jnp.concatenate([held, condition]), moved)
        length = _FAR * jnp.tanh(log_length(held, self.gauge[0])[None] / _FAR)
        seen = jnp.concatenate([held, length, condition])
        shift, scale, raw = self._of_network(seen, moved, self.gauge[1] * length)
        return shift + jnp.asarray(self.across) @ held, scale, raw

    def _of_network(
        self, seen: Array, moved: int, common: Array | float = 0.0
    ) -> tuple[Array, Array, Array]:
        h = _affine(self.first, seen)
        for linear in self.inner:
            h = _affine(linear, jax.nn.silu(h))
        out = _affine(self.last, jax.nn.silu(h)).reshape(-1, moved, seen.shape[1])
        most = _MOST if self.mixes else _MOST_OF_MANY
        return out[0], most * jnp.tanh((out[1] + common) / most), out[2:]

    def _mixing(self) -> tuple[Array, Array, Array]:
        """L and U of the linear map (I + L) diag(s) (I + U) after the coupling, and s (d,)."""
        return jnp.tril(self.lower, -1), jnp.triu(self.upper, 1), jnp.diag(self.upper)

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        """Noise to data, and log |det| of each point (n,)."""
        z, log_det = self._coupled(x, condition)
        if not self.mixes:
            z, drawn = self._drawn_in(z)
            log_det = log_det + drawn
        return z[self.order], log_det

    def _coupled(self, x: Array, condition: Array) -> tuple[Array, Array]:
        """The same before points are drawn in and put into order."""
        passing = len(x) // 2
        held, y = x[:passing], x[passing:]
        shift, scale, raw = self._given(held, condition, len(y))
        log_det = jnp.sum(scale, 0)
        if self.bins:
            y, bent = spline.forward(y, raw, _BOUND)
            log_det = log_det + jnp.sum(bent, 0)
        y = y * jnp.exp(scale) + shift
        z = jnp.concatenate([held, y])
        if self.mixes:
            lower, upper, scale = self._mixing()
            z = jnp.exp(scale)[:, None] * (z + upper @ z)
            z, log_det = z + lower @ z, log_det + jnp.sum(scale)
        return z, log_det

    def _drawn_in(self, x: Array) -> tuple[Array, Array]:
        """Points (d, n), those far longer than others shortened, and log |det| (n,)."""
        t, spread = self._apart(x)
        beyond = jnp.maximum(t - _CLEAR, 0.0) / _SOFT
        inwards = spread * _SOFT * (jnp.log1p(beyond) - beyond)
        return x * jnp.exp(inwards), len(x) * inwards - jnp.log1p(beyond)

    def _let_out(self, x: Array) -> tuple[Array, Array]:
        """The way back."""
        t, spread = self._apart(x)
        logged = jnp.clip((t - _CLEAR) / _SOFT, 0.0, _MOST_APART)
        outwards = jnp.minimum(spread * _SOFT * (jnp.expm1(logged) - logged), _MOST_LOG)
        return x * jnp.exp(outwards), len(x) * outwards + logged

    def _apart(self, x: Array) -> tuple[Array, Array]:
        """t of points (d, n), (n,), and s."""
        middle, spread = jax.lax.stop_gradient(jnp.asarray(self.reach))
        return (_log_rms(x) - middle) / spread, spread

    def inverse(self, y: Array, condition: Array) -> tuple[Array, Array]:
        """Data to noise, and log |det| of each point (n,)."""
        y, mixed = y[self.back], 0.0
        if self.mixes:
            lower, upper, scale = self._mixing()
            y = jnp.exp(-scale)[:, None] * (_unit_inverse(lower) @ y)
            y, mixed = _unit_inverse(upper) @ y, jnp.sum(scale)
        else:
            y, out = self._let_out(y)
            mixed = -out
        passing = len(y) // 2
        held, x = y[:passing], y[passing:]
        shift, scale, raw = self._given(held, condition, len(x))
        x, log_det = (x - shift) * jnp.exp(-scale), -jnp.sum(scale, 0) - mixed
        if self.bins:
            x, bent = spline.inverse(x, raw, _BOUND)
            log_det = log_det + jnp.sum(bent, 0)
        return jnp.concatenate([held, x]), log_det


def log_length(x: Array, centre: float | Array = 0.0) -> Array:
    """sqrt(2 d) (log(|x| / sqrt(d)) - centre) of points (d, n), (n,); of noise, nearly normal."""
    return np.sqrt(2 * len(x)) * (_log_rms(x) - centre)


def _log_rms(x: Array) -> Array:
    """log of the root mean square of points (d, n), (n,)."""
    return 0.5 * jnp.log(jnp.mean(x**2, axis=0) + _LEAST)


def _unit_inverse(strict: Array) -> Array:
    """(I + N)^-1 of a strictly triangular N (d, d): (I - N)(I + N^2)(I + N^4) ..., which ends."""
    one = jnp.eye(len(strict))
    inverse, power = one - strict, strict @ strict
    for _ in range(max(len(strict) - 1, 1).bit_length() - 1):
        inverse, power = inverse @ (one + power), power @ power
    return inverse


def _affine(linear: Linear, x: Array) -> Array:
    return jnp.asarray(linear.weight) @ x + linear.bias[:, None]


class Pushforward(eqx.Module):
    """A density over vectors (d,), and its samples; a condition (k, n) may steer it."""

    layers: _Layer
    dim: int = eqx.field(static=True)
    cond_dim: int = eqx.field(static=True)

    def forward(self, noise: Array, condition: Array | None = None) -> tuple[Array, Array]:
        """Points (d, n) and log |det| (n,) of noise (d, n)."""
        return self._run(noise, condition, _Layer.forward, reverse=False)

    def inverse(self, x: Array, condition: Array | None = None) -> tuple[Array, Array]:
        """Noise (d, n) and log |det| (n,) of points (d, n)."""
        return self._run(x, condition, _Layer.inverse, reverse=True)

    def drawn_in(self, noise: Array) -> Pushforward:
        """The same density, that draws in what is far longer than others of noise (d, n)."""
        arrays, structure = eqx.partition(self.layers, eqx.is_array)
        none = jnp.zeros((0, noise.shape[1]), noise.dtype)

        def body(x, part):
            layer = eqx.combine(part, structure)
            coupled = layer._coupled(x, none)[0]
            low, middle, high = jnp.quantile(_log_rms(coupled), jnp.array([0.25, 0.5, 0.75]))
            reach = jnp.stack([middle, jnp.maximum((high - low) / _QUARTILES, _LEAST_APART)])
            layer = eqx.tree_at(lambda found: found.reach, layer, reach)
            return layer._drawn_in(coupled)[0][layer.order], reach

        reach = jax.lax.scan(body, noise, arrays)[1]
        return eqx.tree_at(lambda flow: flow.layers.reach, self, reach)

    def log_prob(self, x: Array, condition: Array | None = None) -> Array:
        """log q of points (d, n), shape (n,)."""
        noise, log_det = self.inverse(x, condition)
        return standard_normal(noise) + log_det

    def steered(self, condition: Array) -> Steered:
        """The density for one condition (k,)."""
        return Steered(self, jnp.asarray(condition, jnp.float32))

    def _run(self, x: Array, condition: Array | None, step, reverse: bool):
        given = jnp.zeros((0, x.shape[1]), x.dtype) if condition is None else condition
        return through(
            self.layers, lambda layer, x: step(layer, x, given), x, jnp.zeros(x.shape[1], x.dtype),
            reverse=reverse, again=self.dim <= _MANY,
        )  # fmt: skip


class Steered(eqx.Module):
    """A pushforward for one condition: a density like one without."""

    whole: Pushforward
    condition: Array

    @property
    def dim(self) -> int:
        return self.whole.dim

    def forward(self, noise: Array) -> tuple[Array, Array]:
        """Points (d, n) and log |det| (n,) of noise (d, n)."""
        return self.whole.forward(noise, self._repeated(noise))

    def log_prob(self, x: Array) -> Array:
        """log q of points (d, n), shape (n,)."""
        return self.whole.log_prob(x, self._repeated(x))

    def _repeated(self, points: Array) -> Array:
        return jnp.broadcast_to(self.condition[:, None], (len(self.condition), points.shape[1]))


def standard_normal(noise: Array) -> Array:
    """log N(e; 0, I) of columns (d, n), shape (n,)."""
    return -0.5 * jnp.sum(noise**2, 0) - 0.5 * len(noise) * np.log(2 * np.pi)


def pushforward(seed: int, push: Push, dim: int, cond_dim: int = 0) -> Pushforward:
    """A pushforward that is N(0, I) before it is trained."""
    rng = np.random.default_rng(seed)
    layers = [_Layer(rng, dim, cond_dim, push, _order(dim, i)) for i in range(push.layers)]
    stacked = jax.tree.map(lambda *a: jnp.asarray(np.stack(a)), *layers)
    return Pushforward(stacked, dim, cond_dim)


def _order(dim: int, i: int) -> np.ndarray:
    """Halves change places after even layers; after odd ones coordinates are riffled like cards.

    A random shuffle may leave the same coordinates together in every layer; this one does not.
    """
    return np.r_[0:dim:2, 1:dim:2] if i % 2 and dim > 2 else np.arange(dim)[::-1]
