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
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.bijections import Chain, Flip, Invert, Permute, Scan
from flowjax.distributions import StandardNormal, Transformed
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
from lanternfish.flows.layers import AffineAutoregressive, LinearGaussian, SplineCoupling
from lanternfish.flows.regression import ridge

Kind = Literal["spline", "maf"]
_ROWS = 4_096  # enough for a linear fit of the features of arrays


@dataclass(frozen=True)
class Architecture:
    """What a flow is made of.

    Args:
        kind: ``"spline"`` (neural spline coupling) or ``"maf"`` (masked autoregressive, affine).
        layers: how many layers.
        width, depth: of the networks in them.
        bins: of the splines.
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
    embedding: str | None = None
    features: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("spline", "maf"):
            raise ValueError(f'Expected a density "spline" or "maf"; got {self.kind!r}.')
        for name in ("layers", "width", "depth", "bins"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        check_choice(self.embedding, self.features)


class ConditionalFlow(eqx.Module):
    """A conditional density over vectors z (d,) given c (k,)."""

    condition: Condition
    flow: Transformed

    def log_prob(self, z: Array, c: Array) -> Array:
        """log q(z | c) of one point."""
        return self.flow.log_prob(z, self.condition(c))

    def sample(self, key: Array, c: Array) -> Array:
        """One draw from q(. | c), shape (d,)."""
        return self.flow.sample(key, (), self.condition(c))

    def sample_and_log_prob(self, key: Array, c: Array) -> tuple[Array, Array]:
        """One draw and its log density."""
        return self.flow.sample_and_log_prob(key, (), self.condition(c))


def build(
    key: Array,
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
    z = np.asarray(z, np.float64)
    chosen = architecture.embedding, architecture.features
    condition = fit_condition(jr.fold_in(key, 1), z, c, layout, *chosen)
    rows = _fit_rows(condition, c)
    features = in_chunks(condition, c[rows])
    return _assemble(key, architecture, condition, *ridge(z[rows], features))


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
    return _assemble(jr.key(0), architecture, condition, *start)


@eqx.filter_jit
def _assemble(key, architecture, condition, matrix, offset, root) -> ConditionalFlow:
    dim, cond_dim = matrix.shape
    first = LinearGaussian(*(jnp.asarray(a, jnp.float32) for a in (matrix, offset, root)))
    layers = Scan(
        eqx.filter_vmap(_layer_maker(architecture, dim, cond_dim))(
            jr.split(key, architecture.layers)
        )
    )
    base = StandardNormal((dim,))
    return ConditionalFlow(condition, Transformed(base, Invert(Chain([first, layers]))))


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
