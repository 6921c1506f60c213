"""Networks that turn raw data into a few features, chosen from the data's kind and shape.

| data | network |
|---|---|
| trace, up to 64 numbers | ``dense``: all numbers at once |
| trace, up to 8,192 points | ``conv1d``: strided convolutions down to 8 places |
| longer trace | ``causal``: strided, then dilated causal convolutions (van den Oord et al. 2016) |
| image | ``conv2d``: strided convolutions down to 4 x 4 places; ``dense`` up to 64 numbers |
| trials | ``set``: one network for each trial, the mean over those present, and their number |

Each ends in a summary of fixed length, from which features are made. Of each convolution's channels
the summary holds the mean, the peak and where the peak is (Levine et al. 2016, End-to-end training
of deep visuomotor policies, section 5.1), and of the data averages over coarse blocks, so that a
slow linear signal is in it from the start. The first filters start smooth, because what is recorded
is smoother than its noise. A set's features do not depend on the order of its trials (Zaheer et al.
2017, Deep Sets, theorem 2); with the number of trials they can learn how a posterior narrows (Radev
et al. 2020, BayesFlow).

Convolutions have a kernel of two strides: blocks of s places and the block before, one matrix
product each. That makes a trace of 4,096 points cheap on a CPU.
"""

from __future__ import annotations

import math
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

AXES = {"trace": 1, "image": 2}  # of time or space; a channel axis may come before
FITTING = {"trace": ("dense", "conv1d", "causal"), "image": ("dense", "conv2d"), "trials": ("set",)}
KINDS = ("dense", "conv1d", "causal", "conv2d", "set")
_FEW = 64  # numbers that a dense network takes
_LONG = 8_192  # points above which a trace is long
_ENDS = {1: 8, 2: 4}  # places on each axis that convolutions come down to
_DILATED_FROM = 512  # places at which dilated convolutions take over
_COARSE = {1: 32, 2: 4}  # blocks on each axis
_CHANNELS = (16, 32)  # of the first convolution, and of those after it
_WIDTH = 64
_SHARP = 4.0  # of a peak: softmax of so many times a channel


class Convolution(eqx.Module):
    """Kernel 2 s, stride s, over one or two axes: (*space, channels) -> (*space / s, outputs)."""

    weight: Array
    bias: Array
    stride: int = eqx.field(static=True)

    def __init__(
        self, key: Array, axes: int, channels: int, outputs: int, stride: int, smooth: bool = False
    ) -> None:
        inputs = channels * (2 * stride) ** axes
        weight = jr.normal(key, (inputs, outputs))
        if smooth:
            weight = _smoothed(weight, axes, channels, stride)
        self.weight = weight * math.sqrt(2 / inputs)
        self.bias = jnp.zeros(outputs)
        self.stride = stride

    def __call__(self, x: Array) -> Array:
        axes, s = x.ndim - 1, self.stride
        x = jnp.pad(x, [(0, -n % s) for n in x.shape[:-1]] + [(0, 0)])
        blocks = x.reshape(*(m for n in x.shape[:-1] for m in (n // s, s)), x.shape[-1])
        order = (*range(0, 2 * axes, 2), *range(1, 2 * axes, 2), 2 * axes)
        x = blocks.transpose(order).reshape(*blocks.shape[0 : 2 * axes : 2], -1)
        for axis in range(axes):
            x = jnp.concatenate([x, _before(x, axis, 1)], axis=-1)
        return x @ self.weight + self.bias


def _smoothed(weight: Array, axes: int, channels: int, stride: int) -> Array:
    """Filters made smooth, the later ones more so: what is recorded is smoother than its noise."""
    widths = jnp.linspace(0.3, stride, weight.shape[1])
    w = weight.reshape(*(2,) * axes, *(stride,) * axes, channels, -1)
    for axis in range(axes):
        order = (axes - 1 - axis, axes + axis)  # own block or the one before, place in it
        moved = jnp.moveaxis(w, order, (0, 1))
        flat = moved[::-1].reshape(2 * stride, -1, w.shape[-1])
        places = jnp.arange(2 * stride)
        apart = (places[:, None] - places[None, :])[..., None] / widths
        flat = jnp.einsum("ijc,jrc->irc", jnp.exp(-0.5 * apart**2), flat)
        moved = flat.reshape(moved.shape)[::-1]
        w = jnp.moveaxis(moved, (0, 1), order)
    w = w.reshape(weight.shape)
    return w / jnp.sqrt(jnp.mean(w**2, axis=0) + 1e-12)


def _before(x: Array, axis: int, steps: int) -> Array:
    """What stood so many steps before on an axis; 0 before the beginning."""
    kept = jax.lax.slice_in_dim(x, 0, max(x.shape[axis] - steps, 0), axis=axis)
    room = [(min(steps, x.shape[axis]) if i == axis else 0, 0) for i in range(x.ndim)]
    return jnp.pad(kept, room)


class Perceptron(eqx.Module):
    """Layers with SiLU between them."""

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, key: Array, *sizes: int) -> None:
        keys = jr.split(key, len(sizes) - 1)
        self.layers = tuple(
            _linear(k, *pair) for k, pair in zip(keys, pairwise(sizes), strict=True)
        )

    def __call__(self, x: Array) -> Array:
        for layer in self.layers[:-1]:
            x = jax.nn.silu(layer(x))
        return self.layers[-1](x)


def _linear(key: Array, inputs: int, outputs: int) -> eqx.nn.Linear:
    """A layer whose outputs have the variance of its inputs, behind SiLU."""
    weight = jr.normal(key, (outputs, inputs)) * math.sqrt(2 / inputs)
    layer = eqx.nn.Linear(inputs, outputs, key=key)
    return eqx.tree_at(lambda m: (m.weight, m.bias), layer, (weight, jnp.zeros(outputs)))


class Dense(eqx.Module):
    """All numbers at once."""

    def __call__(self, x: Array, there: Array) -> Array:
        return x.ravel()


class Strided(eqx.Module):
    """Strided convolutions: what their channels hold, beside averages over coarse blocks."""

    layers: tuple[Convolution, ...]
    axes: int = eqx.field(static=True)

    def __init__(self, key: Array, axes: int, shape: tuple[int, ...], end: int) -> None:
        channels, space = _split(shape, axes)
        layers = []
        while max(space) > end:
            stride = _stride(max(space), axes)
            outputs = _CHANNELS[min(len(layers), 1)]
            layers.append(
                Convolution(
                    jr.fold_in(key, len(layers)), axes, channels, outputs, stride, not layers
                )
            )
            channels, space = outputs, [-(-n // stride) for n in space]
        self.layers, self.axes = tuple(layers), axes

    def maps(self, x: Array) -> list[Array]:
        """(*places, channels) after each convolution."""
        h, found = _channels_last(x, self.axes), []
        for layer in self.layers:
            h = jax.nn.silu(layer(h))
            found.append(h)
        return found or [h]

    def __call__(self, x: Array, there: Array) -> Array:
        blocks = _coarse(_channels_last(x, self.axes), _COARSE[self.axes])
        return jnp.concatenate([blocks.ravel(), *(_pooled(h) for h in self.maps(x))])


def _pooled(h: Array) -> Array:
    """Mean of each channel over places, its peak, and where the peak is (Levine et al. 2016)."""
    axes = h.ndim - 1
    flat = h.reshape(-1, h.shape[-1])
    peak = jax.nn.softmax(_SHARP * flat, axis=0)
    grid = jnp.meshgrid(*(jnp.linspace(-1, 1, n) for n in h.shape[:-1]), indexing="ij")
    where = [jnp.sum(peak * g.reshape(-1, 1), axis=0) for g in grid[:axes]]
    return jnp.concatenate([flat.mean(axis=0), jnp.sum(peak * flat, axis=0), *where])


class Causal(eqx.Module):
    """Strided convolutions, then h_t + silu(W [h_t, h_{t - 2^i}] + b): the past of each place.

    The summary is the mean over places, the last place, and averages over coarse blocks.
    """

    strided: Strided
    layers: tuple[Convolution, ...]

    def __init__(self, key: Array, shape: tuple[int, ...]) -> None:
        first, then = jr.split(key)
        self.strided = Strided(first, 1, shape, _DILATED_FROM)
        like = jax.ShapeDtypeStruct(shape, jnp.float32)
        places = jax.eval_shape(self.strided.maps, like)[-1]
        depth = max(1, math.ceil(math.log2(places.shape[0])))
        channels = places.shape[1]
        self.layers = tuple(
            Convolution(jr.fold_in(then, i), 1, channels, channels, 1) for i in range(depth)
        )

    def places(self, x: Array) -> Array:
        """(places, channels): each holds its past alone."""
        h = self.strided.maps(x)[-1]
        for i, layer in enumerate(self.layers):
            seen = jnp.concatenate([h, _before(h, 0, 2**i)], axis=-1)
            h = h + 0.5 * jax.nn.silu(seen @ layer.weight + layer.bias)
        return h

    def __call__(self, x: Array, there: Array) -> Array:
        h, blocks = self.places(x), _coarse(_channels_last(x, 1), _COARSE[1])
        return jnp.concatenate([h.mean(axis=0), h[-1], blocks.ravel()])


class DeepSet(eqx.Module):
    """The mean of each trial and of what a network makes of it, and how many trials there are."""

    network: Perceptron

    def __init__(self, key: Array, numbers: int) -> None:
        self.network = Perceptron(key, numbers, _WIDTH, _WIDTH)

    def __call__(self, x: Array, there: Array) -> Array:
        present = there.all(axis=1)
        count = jnp.sum(present)
        each = jnp.concatenate([x, jax.nn.silu(jax.vmap(self.network)(x))], axis=1)
        mean = jnp.sum(jnp.where(present[:, None], each, 0.0), axis=0) / jnp.maximum(count, 1)
        counts = jnp.stack([jnp.log(jnp.maximum(count, 0.5)), 1 / jnp.sqrt(jnp.maximum(count, 1))])
        return jnp.concatenate([mean, counts])


class Embedding(eqx.Module):
    """A body that gives a summary, and the features made of it: linear, and of a perceptron."""

    body: Dense | Strided | Causal | DeepSet
    centre: Array
    gain: Array
    direct: eqx.nn.Linear
    head: Perceptron | None

    def __init__(self, key: Array, body, shape: tuple[int, ...], features: int) -> None:
        like = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape, bool)
        size = jax.eval_shape(body, *like).shape[0]
        direct, head = jr.split(key)
        self.body = body
        self.centre, self.gain = jnp.zeros(size), jnp.ones(size)
        self.direct = _linear(direct, size, features)
        curved = isinstance(body, Dense | DeepSet)  # convolutions are so themselves
        self.head = Perceptron(head, size, _WIDTH, _WIDTH, features) if curved else None

    def summary(self, x: Array, there: Array) -> Array:
        """What the head looks at, before it is standardised."""
        return self.body(x, there)

    def __call__(self, x: Array, there: Array) -> Array:
        """Features (m,) of a standardised array, 0 where it is not ``there``."""
        summary = (self.summary(x, there) - self.centre) * self.gain
        features = self.direct(summary)
        return features if self.head is None else features + self.head(summary)

    def standardised(self, mean: np.ndarray, sd: np.ndarray) -> Embedding:
        """The same with a summary of this mean and standard deviation brought to 0 and 1."""
        new = jnp.asarray(mean, jnp.float32), jnp.asarray(1 / (sd + 1e-6), jnp.float32)
        return eqx.tree_at(lambda e: (e.centre, e.gain), self, new)

    def started(self, matrix: np.ndarray, offset: np.ndarray) -> Embedding:
        """The same with its first features a linear map (d, summary) of the summary."""
        d = min(len(matrix), self.direct.out_features)
        new = _replaced(self.direct.weight, matrix[:d]), _replaced(self.direct.bias, offset[:d])
        started = eqx.tree_at(lambda e: (e.direct.weight, e.direct.bias), self, new)
        if started.head is None:
            return started
        last = started.head.layers[-1].weight
        silent = _replaced(last, np.zeros_like(last)[:d])
        return eqx.tree_at(lambda e: e.head.layers[-1].weight, started, silent)


def _replaced(values: Array | None, first: np.ndarray) -> Array:
    """The values with others in place of the first rows."""
    old = jnp.asarray(values)
    return old.at[: len(first)].set(jnp.asarray(first, old.dtype))


def choose(kind: str, shape: tuple[int, ...]) -> str:
    """Name of the network for data of this kind and shape."""
    if kind == "trials":
        return "set"
    if math.prod(shape) <= _FEW:
        return "dense"
    if kind == "image":
        return "conv2d"
    return "conv1d" if shape[-1] <= _LONG else "causal"


def make(
    key: Array, kind: str, shape: tuple[int, ...], name: str | None, features: int
) -> Embedding:
    """The network of this name, or the one that fits, for data of this kind and shape.

    Raises:
        ValueError: if the network is not for such data.
    """
    name = name or choose(kind, shape)
    if name not in FITTING[kind]:
        raise ValueError(
            f"Expected an embedding {' or '.join(FITTING[kind])} for a {kind} of shape {shape}; "
            f'got "{name}": leave it out to have it chosen.'
        )
    body_key, head_key = jr.split(key)
    if name == "set":
        body = DeepSet(body_key, shape[1])
    elif name == "causal":
        body = Causal(body_key, shape)
    else:
        axes = AXES[kind]
        body = Dense() if name == "dense" else Strided(body_key, axes, shape, _ENDS[axes])
    return Embedding(head_key, body, shape, features)


def check_choice(name: str | None, features: int | None) -> None:
    """Raise one sentence if there is no such embedding."""
    if name is not None and name not in KINDS:
        raise ValueError(f"Expected an embedding out of {', '.join(KINDS)}; got {name!r}.")
    if features is not None and features < 1:
        raise ValueError(f"Expected features of at least 1; got {features}.")


def _stride(longest: int, axes: int) -> int:
    """Fewer places cost less: large steps first."""
    if axes == 2:
        return 4 if longest > 32 else 2
    return 8 if longest > 1024 else 4 if longest > 16 else 2


def _split(shape: tuple[int, ...], axes: int) -> tuple[int, list[int]]:
    """Channels, and places on each axis."""
    return math.prod(shape[:-axes]), list(shape[-axes:])


def _channels_last(x: Array, axes: int) -> Array:
    return x[..., None] if x.ndim == axes else jnp.moveaxis(x, 0, -1)


def _coarse(x: Array, blocks: int) -> Array:
    """Averages of (*space, channels) over at most so many blocks on each axis."""
    for axis in range(x.ndim - 1):
        n = x.shape[axis]
        size = -(-n // blocks)
        x = jnp.moveaxis(x, axis, 0)
        x = jnp.pad(x, [(0, -n % size)] + [(0, 0)] * (x.ndim - 1))
        count = np.minimum(size, n - np.arange(0, n, size)).astype(np.float32)
        total = x.reshape(-1, size, *x.shape[1:]).sum(axis=1)
        x = jnp.moveaxis(total / count.reshape(-1, *(1,) * (x.ndim - 1)), 0, axis)
    return x
