"""Networks of the layers: residual perceptrons, free and masked.

Weights are drawn with NumPy, uniform on +-1/sqrt(inputs), because drawing them with JAX would
compile a program for every shape. The last layer starts at zero: a network starts silent, and so
each layer of a flow as the identity.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class Linear(eqx.Module):
    """x (i,) -> W x + b (o,), with some weights masked where a mask (o, i) is given."""

    weight: Array | np.ndarray  # NumPy until it is put on a device
    bias: Array | np.ndarray

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int, gain: float = 1.0):
        bound = 1 / np.sqrt(max(inputs, 1))
        weight = gain * rng.uniform(-bound, bound, (outputs, inputs))
        bias = gain * rng.uniform(-bound, bound, outputs)
        self.weight, self.bias = (np.asarray(a, np.float32) for a in (weight, bias))

    def __call__(self, x: Array, mask: np.ndarray | None = None) -> Array:
        weight = jnp.asarray(self.weight)
        if mask is not None:
            weight = weight * mask.astype(np.float32)
        return weight @ x + self.bias


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
    sees coordinates below m; every unit sees the condition. Outputs have shape (size, d).
    """

    first: Linear
    condition: Linear
    blocks: tuple[tuple[Linear, Linear], ...]
    last: Linear
    dim: int = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def __init__(self, rng, dim: int, cond_dim: int, *, size: int, width: int, depth: int) -> None:
        self.dim, self.size = dim, size
        self.first = Linear(rng, dim, width)
        self.condition = Linear(rng, cond_dim, width)
        self.blocks = tuple(
            (Linear(rng, width, width), Linear(rng, width, width, gain=0.1)) for _ in range(depth)
        )
        self.last = Linear(rng, width, size * dim, gain=0.0)

    def __call__(self, x: Array, condition: Array) -> Array:
        degrees = np.arange(self.first.weight.shape[-2]) % self.dim
        coordinates = np.arange(self.dim)
        among = degrees[:, None] >= degrees[None]
        h = self.first(x, degrees[:, None] > coordinates[None]) + self.condition(condition)
        for inner, outer in self.blocks:
            h = h + outer(jax.nn.silu(inner(jax.nn.silu(h), among)), among)
        allowed = np.tile(coordinates, self.size)[:, None] >= degrees[None]
        return jnp.reshape(self.last(jax.nn.silu(h), allowed), (self.size, self.dim))
