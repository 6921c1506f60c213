"""Networks of the layers: residual perceptrons, free and masked.

Weights are drawn with NumPy, uniform on +-1/sqrt(inputs), because drawing them with JAX would
compile a program for every shape. The last layer starts at zero: a network starts silent, and so
each layer of a flow as the identity.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import paramax
from jax.core import Tracer
from jaxtyping import Array


class Masked(paramax.AbstractUnwrappable[Array]):
    """Weights (..., o, i), of which those count whose output sees their input.

    Unwrapped once for all layers, so that none pays for its mask in every pass.

    Args:
        outputs, inputs: degrees, of which the first must be above the second, or equal where
            ``equal``.
    """

    weight: Array | np.ndarray
    outputs: tuple[int, ...] = eqx.field(static=True)
    inputs: tuple[int, ...] = eqx.field(static=True)
    equal: bool = eqx.field(static=True)

    @property
    def seen(self) -> np.ndarray:
        """1 where a weight counts, 0 where not, shape (o, i)."""
        outputs, inputs = np.asarray(self.outputs)[:, None], np.asarray(self.inputs)
        return (outputs >= inputs if self.equal else outputs > inputs).astype(np.float32)

    def unwrap(self) -> Array:
        if isinstance(self.weight, Tracer):
            return self.weight * self.seen
        return jax.device_put(np.asarray(self.weight) * self.seen)  # compiles nothing


def plain(tree):
    """A tree with masked weights as plain arrays, 0 where they do not count."""
    return jax.tree.map(lambda a: a.unwrap() if _is_masked(a) else a, tree, is_leaf=_is_masked)


def seen(tree):
    """For each array of a tree what counts of it: 1, and 0 where weights are masked."""

    def of(a) -> np.ndarray:
        if _is_masked(a):
            return np.broadcast_to(a.seen, a.weight.shape)
        return np.ones(np.shape(a), np.float32)

    return jax.tree.map(of, tree, is_leaf=_is_masked)


def _is_masked(leaf) -> bool:
    return isinstance(leaf, Masked)


class Linear(eqx.Module):
    """x (i, ...) -> W x + b (o, ...), of one point or of points along a further axis.

    Args:
        rng: for the first weights.
        inputs, outputs: i and o.
        gain: of the first weights.
        degrees: of outputs and inputs, and whether they may be equal, where weights are masked.
    """

    weight: Any  # an array, NumPy until it is put on a device, or Masked
    bias: Array | np.ndarray

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        outputs: int,
        gain: float = 1.0,
        degrees: tuple[np.ndarray, np.ndarray, bool] | None = None,
    ) -> None:
        bound = 1 / np.sqrt(max(inputs, 1))
        weight = gain * rng.uniform(-bound, bound, (outputs, inputs))
        bias = gain * rng.uniform(-bound, bound, outputs)
        self.weight, self.bias = (np.asarray(a, np.float32) for a in (weight, bias))
        if degrees is not None:
            above, below, equal = degrees
            self.weight = Masked(self.weight, tuple(above.tolist()), tuple(below.tolist()), equal)

    def __call__(self, x: Array) -> Array:
        return jnp.asarray(self.weight) @ x + along(self.bias, x)


def along(values: Array | np.ndarray, x: Array) -> Array:
    """Values (d,) with as many axes as x (d, ...)."""
    return jnp.reshape(values, (-1, *[1] * (x.ndim - 1)))


class ResidualNetwork(eqx.Module):
    """Perceptron with residual blocks."""

    first: Linear
    blocks: tuple[tuple[Linear, Linear], ...]
    last: Linear

    def __init__(self, rng, inputs: int, outputs: int, width: int, depth: int) -> None:
        self.first = Linear(rng, inputs, width)
        self.blocks = tuple(
            (Linear(rng, width, width), Linear(rng, width, width, gain=0.1)) for _ in range(depth)
        )
        self.last = Linear(rng, width, outputs, gain=0.0)

    def __call__(self, x: Array) -> Array:
        h = self.first(x)
        for inner, outer in self.blocks:
            h = h + outer(jax.nn.silu(inner(jax.nn.silu(h))))
        return self.last(jax.nn.silu(h))


class MaskedNetwork(eqx.Module):
    """Residual perceptron whose outputs for coordinate i see coordinates before i only.

    Germain, Gregor, Murray & Larochelle (2015): a hidden unit has a degree m from 0 to d - 1 and
    sees coordinates below m; every unit sees the condition. Of points (d, ...) and conditions
    (k, ...), outputs have shape (size, d, ...).
    """

    first: Linear
    condition: Linear
    blocks: tuple[tuple[Linear, Linear], ...]
    last: Linear
    dim: int = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def __init__(self, rng, dim: int, cond_dim: int, *, size: int, width: int, depth: int) -> None:
        self.dim, self.size = dim, size
        degrees, coordinates = np.arange(width) % dim, np.arange(dim)
        among = degrees, degrees, True
        self.first = Linear(rng, dim, width, degrees=(degrees, coordinates, False))
        self.condition = Linear(rng, cond_dim, width)
        self.blocks = tuple(
            (
                Linear(rng, width, width, degrees=among),
                Linear(rng, width, width, gain=0.1, degrees=among),
            )
            for _ in range(depth)
        )
        outputs = np.tile(coordinates, size), degrees, True
        self.last = Linear(rng, width, size * dim, gain=0.0, degrees=outputs)

    def __call__(self, x: Array, condition: Array) -> Array:
        h = self.first(x) + self.condition(condition)
        for inner, outer in self.blocks:
            h = h + outer(jax.nn.silu(inner(jax.nn.silu(h))))
        return jnp.reshape(self.last(jax.nn.silu(h)), (self.size, *x.shape))
