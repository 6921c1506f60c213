"""Conditional densities: a flow, given a condition, is a distribution.

    log q(z | c) = log N(f(z; c); 0, I) + log |det df/dz|

``build`` makes a flow from a frozen architecture and data: coordinates are standardised, the
condition becomes features (``condition``), a linear Gaussian layer is fitted by ridge regression,
and layers follow that start as the identity. So training starts from the best linear Gaussian
posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import paramax
from flowjax.bijections import Chain, Invert
from flowjax.distributions import StandardNormal, Transformed
from jax.scipy.stats import norm
from jaxtyping import Array

from lanternfish.flows.condition import (
    Condition,
    Part,
    blank_condition,
    fit_condition,
    in_chunks,
    numbers_of,
)
from lanternfish.flows.embedding import check_choice
from lanternfish.flows.layers import (
    AffineAutoregressive,
    Layers,
    LinearGaussian,
    Shuffle,
    SplineAutoregressive,
    SplineCoupling,
    backward,
    forward,
)
from lanternfish.flows.mixture import Mixture
from lanternfish.flows.regression import ridge

Kind = Literal["spline", "autoregressive", "maf", "mixture"]
_MOST = 50_000  # rows that scales and the linear fit are taken from
_ROWS = 4_096  # enough for a linear fit of the features of arrays


@dataclass(frozen=True)
class Architecture:
    """What a flow is made of.

    Args:
        kind: ``"spline"`` (neural spline coupling flow), ``"autoregressive"`` (neural spline
            autoregressive flow), ``"maf"`` (masked autoregressive flow, affine) or ``"mixture"``
            (mixture density network).
        layers: how many layers a flow has.
        width, depth: of the networks in them.
        bins: of the splines.
        parts: normals in a mixture.
        embedding: network for the arrays of a condition: ``"dense"``, ``"conv1d"``, ``"causal"``,
            ``"conv2d"`` or ``"set"``; chosen from kind and shape where left out.
        features: how many numbers each array becomes; twice those of z, and at least 16, where left
            out.
    """

    kind: Kind = "spline"
    layers: int = 5
    width: int = 64
    depth: int = 2
    bins: int = 8
    parts: int = 8
    embedding: str | None = None
    features: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            known = ", ".join(f'"{kind}"' for kind in get_args(Kind))
            raise ValueError(f"Expected density to be one of {known}; got {self.kind!r}.")
        for name in ("layers", "width", "depth", "bins", "parts"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        check_choice(self.embedding, self.features)


class ConditionalFlow(eqx.Module):
    """A conditional density over vectors z (d,) given c (k,)."""

    condition: Condition
    flow: Transformed | Mixture

    def log_prob(self, z: Array, c: Array) -> Array:
        """log q(z | c) of one point."""
        return self.flow.log_prob(z, self.condition(c))

    def log_probs(self, z: Array, c: Array) -> Array:
        """log q(z_i | c_i) of rows z (n, d), all of them together, shape (n,).

        Args:
            c: rows (n, k), or one condition (k,) of all.
        """
        features = self._features(c)
        if isinstance(self.flow, Mixture):
            features = jnp.broadcast_to(features, (len(features), len(z)))
            return jax.vmap(self.flow.log_prob)(z, features.T)
        noise, log_det = forward(self._bijection, z.T, features)
        return jnp.sum(norm.logpdf(noise), axis=0) + log_det

    def samples(self, keys: Array, c: Array) -> Array:
        """A draw from q(. | c) for each key (n,), all of them together, shape (n, d)."""
        if isinstance(self.flow, Mixture):
            return jax.vmap(lambda key: self.sample(key, c))(keys)
        shape = self.flow.shape
        noise = jax.vmap(lambda key: jr.normal(key, shape))(keys)
        return backward(self._bijection, noise.T, self._features(c)).T

    def _features(self, c: Array) -> Array:
        """Features of rows c (n, k), or of one condition (k,), shape (f, n) or (f, 1)."""
        return jax.vmap(self.condition)(jnp.atleast_2d(c)).T

    @property
    def _bijection(self) -> Chain:
        """From data to noise."""
        return paramax.unwrap(self.flow).bijection.bijection

    def sample(self, key: Array, c: Array) -> Array:
        """One draw from q(. | c), shape (d,)."""
        return self.flow.sample(key, (), self.condition(c))

    def sample_and_log_prob(self, key: Array, c: Array) -> tuple[Array, Array]:
        """One draw and its log density."""
        return self.flow.sample_and_log_prob(key, (), self.condition(c))


def build(
    seed: int,
    architecture: Architecture,
    z: np.ndarray,
    c: np.ndarray,
    layout: Sequence[Part] | None = None,
) -> ConditionalFlow:
    """A flow that starts as the linear Gaussian fit of z (n, d) given c (n, k).

    Args:
        layout: which places of c are numbers and which belong to arrays; numbers where left out.
            NaN stands for what is missing.
    """
    rows = np.linspace(0, len(z) - 1, min(len(z), _MOST)).astype(int)
    z, c = (np.asarray(a[rows], np.float64) for a in (z, c))
    chosen = architecture.embedding, architecture.features
    condition = fit_condition(seed, z, c, layout, *chosen)
    rows = _fit_rows(condition, c)
    features = in_chunks(condition, c[rows])
    rng = np.random.default_rng(seed)
    return _assemble(rng, architecture, condition, ridge(z[rows], features))


def _fit_rows(condition: Condition, c: np.ndarray) -> np.ndarray:
    """Rows that the start is fitted to: where no number is missing; of arrays, enough of them."""
    numbers = c[:, numbers_of(condition.layout)]
    whole = np.flatnonzero(~np.isnan(numbers).any(axis=1))
    rows = whole if len(whole) > numbers.shape[1] else np.arange(len(c))
    if condition.embedded:
        return rows[np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).astype(int)]
    return rows


def empty(architecture: Architecture, dim: int, layout: Sequence[Part] | int) -> ConditionalFlow:
    """A flow of this structure, to be filled with stored weights.

    Args:
        dim: d, of z.
        layout: of the condition, or how many numbers it is.
    """
    layout = layout if isinstance(layout, int) else tuple(layout)
    condition = blank_condition(layout, dim, architecture.embedding, architecture.features)
    start = np.zeros((dim, condition.features)), np.zeros(dim), np.eye(dim)
    return _assemble(np.random.default_rng(0), architecture, condition, start)


def _assemble(rng, architecture: Architecture, condition, start) -> ConditionalFlow:
    """A flow of an architecture around a linear Gaussian start (matrix, offset, root)."""
    first = LinearGaussian(*start)
    dim, cond_dim = first.matrix.shape
    size = {"width": architecture.width, "depth": architecture.depth}
    if architecture.kind == "mixture":
        density = Mixture(rng, first, parts=architecture.parts, **size)
        return ConditionalFlow(condition, _on_device(density))
    layers = [_layer(rng, architecture, dim, cond_dim) for _ in range(architecture.layers)]
    stacked = Layers(_on_device(*layers, stack=True))
    chain = Chain([_on_device(first), stacked])
    return ConditionalFlow(condition, Transformed(StandardNormal((dim,)), Invert(chain)))


def _layer(rng, architecture: Architecture, dim: int, cond_dim: int):
    size = {"width": architecture.width, "depth": architecture.depth}
    if architecture.kind == "maf":
        layer = AffineAutoregressive(rng, dim, cond_dim, **size)
    else:
        kind = SplineCoupling if architecture.kind == "spline" else SplineAutoregressive
        layer = kind(rng, dim, cond_dim, bins=architecture.bins, **size)
    if dim == 1:
        return layer
    order = np.arange(dim)[::-1] if dim == 2 else rng.permutation(dim)
    return Chain([layer, Shuffle(order)])


def _on_device(*modules, stack: bool = False):
    """A module with its NumPy arrays as JAX arrays; layers are stacked into one."""

    def move(*leaves):
        if not isinstance(leaves[0], np.ndarray):
            return leaves[0]
        return jax.device_put(np.stack(leaves) if stack else leaves[0])  # compiles nothing

    return jax.tree.map(move, *modules)
