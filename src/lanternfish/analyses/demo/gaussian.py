"""A model file of a user: two parameters of a neuron, two statistics of its firing."""

import jax
import jax.numpy as jnp

import lanternfish as lf


def simulate(theta, key):
    """Mean rate (Hz) and coefficient of variation, with the noise of a short recording."""
    noise = jax.random.normal(key, (2,))
    rate = 8.0 * theta["gain"] + 1.5 * theta["drive"] + 0.5 * noise[0]
    cv = 0.9 - 0.2 * theta["drive"] + 0.05 * noise[1]
    return jnp.stack([rate, cv])


model = lf.Model(
    prior=lf.Prior(gain=lf.Uniform(0, 3, unit="Hz/pA"), drive=lf.Uniform(-2, 2, unit="pA")),
    simulator=lf.JaxSimulator(simulate, outputs=("rate", "cv")),
    name="firing",
)
