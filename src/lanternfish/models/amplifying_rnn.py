"""Recurrent network of rank two that amplifies its input and stays stable.

    tau dx/dt = -x + W x,    W = (U + g chi_U) (V + g chi_V)^T,    chi ~ N(0, 1), each (n, 2)

The parameters are all 4 n entries of U = [u1 u2] and V = [v1 v2], each in [-1, 1]. Two statistics:

    growth_rate      real(lambda_1), the largest real part of the eigenvalues of V^T U (2, 2),
                     which are those of W but for zeros
    amplification    lambda_1^s, the largest eigenvalue of W_s = (W + W^T) / 2

Activity decays in the end where growth_rate < 1, and some input grows on the way where
amplification > 1 (Hennequin et al. 2014). The scaling experiment of emergent property inference
asks for 0.5 +- 0.25 and 1.5 +- 0.25 at n = 2 to 250, which is 8 to 1,000 parameters.

No n x n matrix is formed. With X = [U V] (n, 4) and J, which swaps its halves, W_s = X J X^T / 2,
and with the Gram matrix X^T X = S S,

    (S J S / 2) b = lambda b    implies    W_s y = lambda y,    y = X J S b,

a problem of size four. Its gradient is that of (U^T y)(V^T y) / y^T y with y held, which is exact
where the eigenvalue is single, and one of its subgradients where it is not. The slope of
real(lambda_1) is infinite where the two eigenvalues meet; it is taken as that of their mean there.

Traps, for whoever compares with published numbers:

- *growth_rate* is of V^T U, not of W: where both eigenvalues are negative, the largest real part
  of W's own is 0, and of V^T U's it is below.
- The published code also adds 0.01 to the diagonal of V^T U, and so to growth_rate.
- The paper's SMC-ABC baseline draws from [-1, 0], not from [-1, 1].

Reference: Bittner et al. (2021), eLife 10:e56265, "Scaling inference of recurrent neural network
connectivity"; Bondanelli & Ostojic (2020), PLoS Comput. Biol. 16:e1007655.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import (
    Column,
    EmergentProperty,
    JaxSimulator,
    Model,
    Prior,
    Traces,
    Uniform,
    vector_of,
)
from lanternfish.models.jax_traces import trace_all

STATISTICS = (
    Column("growth_rate", "1/tau", r"$\mathrm{real}(\lambda_1)$"),
    Column("amplification", "1/tau", r"$\lambda_1^s$"),
)
TARGETS = {
    "stable_amplification": EmergentProperty(
        "Bittner et al. 2021: stable amplification",
        growth_rate=(0.5, 0.25),
        amplification=(1.5, 0.25),
    )
}
NOISE = 0.01  # g
_DIRECT = 4  # neurons up to which W_s itself is no larger than the reduced problem


def amplifying_rnn(n: int = 10, g: float = NOISE) -> Model:
    """The network of n neurons as a model, with 4 n parameters ``u1_0`` ... ``v2_{n-1}``.

    Args:
        n: neurons.
        g: standard deviation of the noise on each entry of U and V.

    Raises:
        ValueError: if n is below 2, or g is negative.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise ValueError(f"Expected n of at least 2 neurons, a whole number; got {n!r}.")
    if not 0 <= g < np.inf:
        raise ValueError(f"Expected noise g of 0 or more; got {g}.")
    law = {
        f"{vector}{rank}_{i}": Uniform(-1.0, 1.0, label=f"${vector.upper()}_{{{rank},{i}}}$")
        for vector in "uv"
        for rank in (1, 2)
        for i in range(n)
    }
    prior = Prior(**law)
    return Model(
        prior=prior,
        simulator=JaxSimulator(partial(simulate, names=prior.names, g=float(g)), STATISTICS),
        name=f"amplifying_rnn, n = {n}",
        targets=TARGETS,
        traces=partial(_traces, names=prior.names, g=float(g)),
        about="Recurrent network of rank two, amplifying and stable: Bittner et al. (2021), eLife "
        "10:e56265, after Bondanelli & Ostojic (2020), PLoS Comput. Biol. 16:e1007655.",
    )


def simulate(theta, key: Array, *, names: tuple[str, ...], g: float = NOISE) -> Array:
    """``STATISTICS`` of one network, shape (2,)."""
    X = connectivity(theta, key, names=names, g=g)
    return jnp.stack([growth_rate(X), amplification(X)])


def connectivity(theta, key: Array, *, names: tuple[str, ...], g: float = NOISE) -> Array:
    """[U V] with its noise, shape (n, 4); W is the product of its halves, U V^T."""
    X = vector_of(theta, names).reshape(4, -1).T
    return X + g * jax.random.normal(key, X.shape, X.dtype) if g else X


def growth_rate(X: Array) -> Array:
    """Largest real part of the eigenvalues of V^T U, of [U V] (n, 4)."""
    (a, b), (c, d) = X[:, 2:].T @ X[:, :2]
    square = ((a - d) / 2) ** 2 + b * c
    real = square > 0
    return (a + d) / 2 + jnp.where(real, jnp.sqrt(jnp.where(real, square, 1.0)), 0.0)


def amplification(X: Array) -> Array:
    """Largest eigenvalue of (U V^T + V U^T) / 2, of [U V] (n, 4)."""
    y = jax.lax.stop_gradient(_direct(X) if len(X) <= _DIRECT else _reduced(X))
    on_U, on_V = X[:, :2].T @ y, X[:, 2:].T @ y
    length = y @ y
    return on_U @ on_V / jnp.where(length > 0, length, 1.0)


def _direct(X: Array) -> Array:
    """The eigenvector (n,) from W_s itself."""
    W = X[:, :2] @ X[:, 2:].T
    return jnp.linalg.eigh((W + W.T) / 2)[1][:, -1]


def _reduced(X: Array) -> Array:
    """The eigenvector (n,), not normalised, from the problem of size four."""
    values, Q = jnp.linalg.eigh(X.T @ X)
    S = Q * jnp.sqrt(jnp.maximum(values, 0.0)) @ Q.T
    b = jnp.linalg.eigh(S @ _swapped(S) / 2)[1][:, -1]
    return X @ _swapped(S @ b)


def _swapped(rows: Array) -> Array:
    """J rows: the first two and the last two change places."""
    return jnp.roll(rows, 2, axis=0)


def response(theta, key: Array, *, names: tuple[str, ...], g: float = NOISE) -> Array:
    """Size of the activity, |x|, that follows the most amplified input of size 1 (``DURATION``)."""
    X = connectivity(theta, key, names=names, g=g)
    U, V = X[:, :2], X[:, 2:]
    y = _direct(X) if len(X) <= _DIRECT else _reduced(X)

    def step(x, _):
        slope = -x + U @ (V.T @ x)
        middle = x + 0.5 * DT * slope
        return x + DT * (-middle + U @ (V.T @ middle)), jnp.linalg.norm(x)

    start = y / jnp.linalg.norm(y)
    return jax.lax.scan(step, start, None, length=round(DURATION / DT))[1][None]


DURATION, DT = 10.0, 0.02  # tau


def _traces(theta: np.ndarray, seeds: np.ndarray, *, names: tuple[str, ...], g: float) -> Traces:
    size = trace_all(partial(response, names=names, g=g), names, theta, seeds)
    return Traces(np.arange(size.shape[2]) * DT, size, ("|x|",), unit="", time_unit="tau")
