"""Two coupled linear units: the smallest circuit that oscillates, or decays, or grows.

    tau dx/dt = A x,    A = [[a11, a12], [a21, a22]],    tau = 1 s

What it does is in the eigenvalue of A / tau with the largest real part,

    lambda = 1/2 tr A + 1/2 sqrt((tr A)^2 - 4 det A)    (1/s):

growth rate Re lambda, angular frequency Im lambda >= 0. Oscillations at 1 Hz that neither grow nor
decay need a12 and a21 of opposite signs: two modes, which mirror each other.

Reference: Bittner et al., eLife 2021;10:e56265, "A motivating example", with its property: growth
rate 0 +- 0.25 1/s, angular frequency 2 pi +- pi / 5 rad/s. The tutorials of its code use 0.5 1/s.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import Column, EmergentProperty, JaxSimulator, Model, Prior, Uniform

TAU = 1.0  # s
STATISTICS = (
    Column("growth_rate", "1/s", r"$\mathrm{Re}\,\lambda$"),
    Column("angular_frequency", "rad/s", r"$\mathrm{Im}\,\lambda$"),
)

prior = Prior(
    a11=Uniform(-10, 10, label="$a_{11}$"),
    a12=Uniform(-10, 10, label="$a_{12}$"),
    a21=Uniform(-10, 10, label="$a_{21}$"),
    a22=Uniform(-10, 10, label="$a_{22}$"),
)


def eigenvalue(a11: Array, a12: Array, a21: Array, a22: Array) -> tuple[Array, Array]:
    """Real and imaginary part (1/s) of the eigenvalue with the largest real part."""
    discriminant = (a11 - a22) ** 2 + 4 * a12 * a21  # = (tr A)^2 - 4 det A
    real = discriminant > 0
    root = jnp.sqrt(jnp.where(real, discriminant, 1.0))
    turn = jnp.sqrt(jnp.where(real, 1.0, -discriminant))
    growth = (a11 + a22 + jnp.where(real, root, 0.0)) / 2
    return growth / TAU, jnp.where(real, 0.0, turn / 2) / TAU


def simulate(theta, key) -> Array:
    """Growth rate (1/s) and angular frequency (rad/s), shape (2,); nothing is random."""
    return jnp.stack(eigenvalue(theta["a11"], theta["a12"], theta["a21"], theta["a22"]))


def _at_one_hertz(sd: float) -> EmergentProperty:
    name = f"1 Hz, growth rate 0 ± {sd:g} 1/s"
    return EmergentProperty(name, growth_rate=(0.0, sd), angular_frequency=(2 * np.pi, np.pi / 5))


def linear_2d() -> Model:
    """The two-dimensional linear system, with oscillations at 1 Hz as targets."""
    return Model(
        prior=prior,
        simulator=JaxSimulator(simulate, STATISTICS),
        name="linear_2d",
        targets={"oscillation": _at_one_hertz(0.25), "oscillation_wide": _at_one_hertz(0.5)},
        about="Two coupled linear units (Bittner et al. 2021): which of them oscillate at 1 Hz?",
    )
