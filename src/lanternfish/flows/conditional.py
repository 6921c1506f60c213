"""Conditional densities: a flow, given a condition, is a distribution.

    log q(z | c) = log N(f(z; c); 0, I) + log |det df/dz|

``build`` makes a flow from a frozen architecture and data: coordinates are standardised, the
condition is squashed robustly, a linear Gaussian layer is fitted by ridge regression, and layers
follow that start as the identity. So training starts from the best linear Gaussian posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.bijections import Chain, Flip, Invert, Permute, Scan
from flowjax.distributions import StandardNormal, Transformed
from jaxtyping import Array
from paramax import NonTrainable

from lanternfish.flows.layers import AffineAutoregressive, LinearGaussian, SplineCoupling

Kind = Literal["spline", "maf"]
_LINEAR = 5.0  # scales within which a condition enters as it is


@dataclass(frozen=True)
class Architecture:
    """What a flow is made of.

    Args:
        kind: ``"spline"`` (neural spline coupling) or ``"maf"`` (masked autoregressive, affine).
        layers: how many layers.
        width, depth: of the networks in them.
        bins: of the splines.
    """

    kind: Kind = "spline"
    layers: int = 5
    width: int = 64
    depth: int = 2
    bins: int = 8

    def __post_init__(self) -> None:
        if self.kind not in ("spline", "maf"):
            raise ValueError(f'Expected a density "spline" or "maf"; got {self.kind!r}.')
        for name in ("layers", "width", "depth", "bins"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of at least 1; got {getattr(self, name)}.")


class ConditionalFlow(eqx.Module):
    """A conditional density over vectors z (d,) given c (k,)."""

    scaling: Scaling
    flow: Transformed

    def log_prob(self, z: Array, c: Array) -> Array:
        """log q(z | c) of one point."""
        return self.flow.log_prob(z, self.scaling(c))

    def sample(self, key: Array, c: Array) -> Array:
        """One draw from q(. | c), shape (d,)."""
        return self.flow.sample(key, (), self.scaling(c))

    def sample_and_log_prob(self, key: Array, c: Array) -> tuple[Array, Array]:
        """One draw and its log density."""
        return self.flow.sample_and_log_prob(key, (), self.scaling(c))


class Scaling(eqx.Module):
    """Standardise each number of a condition; beyond five scales it grows as a logarithm only.

    Linear where the data are, so that a linear Gaussian problem stays one; robust to heavy tails.
    """

    centre: NonTrainable
    scale: NonTrainable

    def __call__(self, c: Array) -> Array:
        centre = jax.lax.stop_gradient(_raw(self.centre))
        scale = jax.lax.stop_gradient(_raw(self.scale))
        t = (c - centre) / scale
        beyond = jnp.maximum(jnp.abs(t) - _LINEAR, 0.0)
        return jnp.clip(t, -_LINEAR, _LINEAR) + jnp.sign(t) * jnp.log1p(beyond)


def _raw(leaf):
    return leaf.tree if isinstance(leaf, NonTrainable) else leaf


def robust_scaling(c: np.ndarray) -> Scaling:
    """Centre (median) and scale (interquartile range as a standard deviation) of columns (n, k).

    Where more than half of the values are equal, the standard deviation takes the place of the
    range; a constant column is scaled by 1 and so carries nothing.
    """
    low, centre, high = np.quantile(c, [0.25, 0.5, 0.75], axis=0)
    scale = (high - low) / 1.349
    scale = np.where(scale > 1e-9 * np.abs(c).max(axis=0), scale, c.std(axis=0))
    scale = np.where(scale > 1e-9 * np.abs(c).max(axis=0), scale, 1.0)
    return Scaling(NonTrainable(_single(centre)), NonTrainable(_single(scale)))


def blank_scaling(columns: int) -> Scaling:
    """A scaling of this many columns, to be filled with stored numbers."""
    zeros, ones = np.zeros(columns), np.ones(columns)
    return Scaling(NonTrainable(_single(zeros)), NonTrainable(_single(ones)))


def _single(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.float32)


def build(key: Array, architecture: Architecture, z: np.ndarray, c: np.ndarray) -> ConditionalFlow:
    """A flow that starts as the linear Gaussian fit of z (n, d) given c (n, k)."""
    scaling = robust_scaling(c)
    squashed = np.asarray(jax.vmap(scaling)(jnp.asarray(_single(c))), np.float64)
    return _assemble(key, architecture, scaling, *ridge(np.asarray(z, np.float64), squashed))


def empty(architecture: Architecture, dim: int, cond_dim: int) -> ConditionalFlow:
    """A flow of this structure, to be filled with stored weights."""
    scaling = blank_scaling(cond_dim)
    start = np.zeros((dim, cond_dim)), np.zeros(dim), np.eye(dim)
    return _assemble(jr.key(0), architecture, scaling, *start)


@eqx.filter_jit
def _assemble(key, architecture, scaling, matrix, offset, root) -> ConditionalFlow:
    dim, cond_dim = matrix.shape
    first = LinearGaussian(*(jnp.asarray(a, jnp.float32) for a in (matrix, offset, root)))
    layers = Scan(
        eqx.filter_vmap(_layer_maker(architecture, dim, cond_dim))(
            jr.split(key, architecture.layers)
        )
    )
    base = StandardNormal((dim,))
    return ConditionalFlow(scaling, Transformed(base, Invert(Chain([first, layers]))))


def _layer_maker(architecture: Architecture, dim: int, cond_dim: int):
    size = {"width": architecture.width, "depth": architecture.depth}

    def make(key):
        net_key, order_key = jr.split(key)
        if architecture.kind == "spline":
            layer = SplineCoupling(net_key, dim, cond_dim, bins=architecture.bins, **size)
        else:
            layer = AffineAutoregressive(net_key, dim, cond_dim, **size)
        if dim == 1:
            return layer
        turn = Flip((dim,)) if dim == 2 else Permute(jr.permutation(order_key, jnp.arange(dim)))
        return Chain([layer, turn])

    return make


def ridge(z: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear Gaussian fit of z (n, d) given c (n, k): matrix (d, k), offset (d,), root (d, d).

    The ridge and the shrinkage of the residuals' covariance towards its diagonal fall off with
    the number of rows over the number of columns, so that few rows give a broad, safe start.
    """
    n, k, d = len(z), c.shape[1], z.shape[1]
    centre_z, centre_c = z.mean(axis=0), c.mean(axis=0)
    zc, cc = z - centre_z, c - centre_c
    spread = cc.std(axis=0) + 1e-12
    gram = (cc / spread).T @ (cc / spread)
    matrix = np.linalg.solve(gram + (k + 1) * np.eye(k), (cc / spread).T @ zc).T / spread
    residual = zc - cc @ matrix.T
    covariance = residual.T @ residual / max(n - 1, 1)
    shrink = d / (n + d)
    covariance = (1 - shrink) * covariance + np.diag(shrink * np.diag(covariance) + 1e-8)
    return matrix, centre_z - matrix @ centre_c, np.linalg.cholesky(covariance)
