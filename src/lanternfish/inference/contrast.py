"""How well a likelihood, known up to any function of x, tells which parameters gave which x.

Of pairs (theta_i, x_i), i = 1..n, and any l(x, theta), the contrast is

    C[l] = mean_i [ l(x_i, theta_i) - log mean_j exp l(x_i, theta_j) ],

how much better than chance l finds the theta of an x among those of all pairs. It is largest, over
all l, at l = log p(x | theta) + any function of x, whatever proposed theta, and never above the
information that x holds of theta (InfoNCE: van den Oord, Li & Vinyals 2018; as likelihood ratios:
Durkan, Murray & Papamakarios 2020). So it compares densities of x with what has no known
normaliser over x, an exponential family (``families``), on pairs that neither has seen.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.special import logsumexp

_COMPARED = 512  # held-out pairs, and parameter sets, at most


def contrast(density: eqx.Module, theta: np.ndarray, x: np.ndarray) -> float:
    """How much better than chance held-out pairs are told, in nats: of the last 512 at most.

    Args:
        density: its ``log_prob`` of one x (k,) and one theta (d,) is l(x, theta).
        theta, x: pairs in the units that the density takes, (n, d) and (n, k).
    """
    points, values = (jnp.asarray(a[-_COMPARED:], jnp.float32) for a in (theta, x))
    every = np.asarray(_every(density, points, values), np.float64)
    total = np.asarray(logsumexp(every, axis=1))
    return float(np.mean(np.diag(every) - total) + np.log(len(every)))


@eqx.filter_jit
def _every(density, theta: Array, x: Array) -> Array:
    """l(x_i, theta_j), (n, n)."""
    of = lambda a: jax.vmap(lambda b: density.log_prob(a, b))(theta)  # noqa: E731
    return jax.lax.map(of, x)
