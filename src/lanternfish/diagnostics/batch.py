"""Draws of many posteriors at once: one for each of n simulated observations.

A posterior that is a conditional density in the prior's unbounded space (it has ``ready`` with
``sample(key, x)`` and ``log_prob(z, x)``, as NPE's has) is drawn from in one compiled program that
runs over all observations. One that has ``draws_each(simulations, draws, seed)`` draws by itself.
Any other is asked one observation at a time, by ``posterior.at(x)``.
"""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.core import Observation, Posterior, Prior, Simulations
from lanternfish.core.prior import key_data
from lanternfish.core.seeds import mix, stream

_TOGETHER = 16  # observations in one step of the compiled program: bounds its memory
_TRIES = 20  # draws for one sample where simulations are never valid; the last is kept


@dataclass(frozen=True)
class Draws:
    """Draws of n posteriors.

    Attributes:
        theta: (n, L, d).
        density: log density of the truth and of each draw, up to a constant of each posterior,
            (n, 1 + L); None where the posterior has none.
    """

    theta: np.ndarray
    density: np.ndarray | None


def opened(posterior: Posterior) -> Posterior:
    """The posterior of several rounds as one for any observation of its last region.

    Such a posterior refuses other observations, because it is wrong outside of the region that it
    was trained in. Inside, it is the posterior under the prior restricted to that region.

    Raises:
        ValueError: if it is not a learned density at all.
    """
    if getattr(posterior, "amortised", None) is None or not is_dataclass(posterior):
        raise ValueError(
            "it holds for one observation alone, so there are no other truths to find; "
            "NPE(rounds=1) trains one that can be calibrated"
        )
    return replace(posterior, amortised=True)  # type: ignore[call-arg]


def draws_of(posterior: Posterior, simulations: Simulations, draws: int, seed: int = 0) -> Draws:
    """``draws`` of the posterior of each simulation, which must all be valid.

    Raises:
        ValueError: if the posterior holds for one observation alone.
    """
    flow = getattr(posterior, "ready", None)
    if flow is not None and getattr(posterior, "amortised", False):
        return _compiled(flow, posterior, simulations, draws, seed)
    if hasattr(posterior, "draws_each"):
        return Draws(*posterior.draws_each(simulations, draws, seed))  # type: ignore[attr-defined]
    theta, density = [], []
    for i, (truth, x) in enumerate(zip(simulations.theta.array, simulations.x.array, strict=True)):
        here = posterior.at(Observation.from_array(x, simulations.x.columns))
        drawn = here.sample(draws, seed=stream(seed, f"calibration draws {i}")).array
        theta.append(drawn)
        if posterior.has_density:
            density.append(here.log_prob(np.concatenate([truth[None], drawn])))
    return Draws(np.stack(theta), np.stack(density) if density else None)


def unbounded(prior: Prior, theta: np.ndarray) -> np.ndarray:
    """Parameters (..., d) in the prior's unbounded space, as float64."""
    flat = jnp.asarray(theta.reshape(-1, theta.shape[-1]), jnp.float32)
    return np.asarray(_inverse(_Constant(prior), flat), np.float64).reshape(theta.shape)


def _compiled(flow, posterior: Any, simulations: Simulations, draws: int, seed: int) -> Draws:
    n, prior = len(simulations), posterior.prior
    with np.errstate(over="ignore"):
        base = mix(np.uint64(stream(seed, "calibration draws")))
        words = key_data(mix(base + np.arange(n * draws, dtype=np.uint64)))
    rows = np.arange(-(-n // _TOGETHER) * _TOGETHER) % n  # a rest would be compiled by itself
    theta, density = _many(
        flow,
        getattr(posterior, "validity", None),
        _Constant(prior),
        jnp.asarray(simulations.x.array[rows], jnp.float32),
        jnp.asarray(simulations.theta.array[rows], jnp.float32),
        jnp.asarray(words.reshape(n, draws, 2)[rows]),
    )
    held = np.clip(np.asarray(theta, np.float64)[:n], prior.low, prior.high)
    return Draws(held, np.asarray(density, np.float64)[:n])


class _Constant(eqx.Module):
    """A prior as a constant of compiled programs."""

    prior: Prior = eqx.field(static=True)


@eqx.filter_jit
def _inverse(constant: _Constant, theta: Array) -> Array:
    return jax.vmap(constant.prior.bijection.inverse)(theta)


@eqx.filter_jit
def _many(flow, validity, constant: _Constant, x, truth, words) -> tuple[Array, Array]:
    """Draws (n, L, d) and log densities of truth and draws (n, 1 + L), of all observations."""
    bijection = constant.prior.bijection

    def alive(z: Array) -> Array:
        return jnp.asarray(True) if validity is None else validity.allows(z)

    def draw(key: Array, c: Array) -> Array:
        first = flow.sample(jr.fold_in(key, 0), c)
        if validity is None:
            return first
        return jax.lax.while_loop(
            lambda state: ~alive(state[0]) & (state[1] < _TRIES),
            lambda state: (flow.sample(jr.fold_in(key, state[1]), c), state[1] + 1),
            (first, 1),
        )[0]

    def density(z: Array, c: Array) -> Array:
        value = flow.log_prob(z, c) - bijection.transform_and_log_det(z)[1]
        return jnp.where(alive(z), value, -jnp.inf)

    def one(given) -> tuple[Array, Array]:
        c, theta, word = given
        keys = jr.wrap_key_data(word, impl="threefry2x32")
        z = jax.vmap(draw, (0, None))(keys, c)
        both = jnp.concatenate([bijection.inverse(theta)[None], z])
        return jax.vmap(bijection.transform)(z), jax.vmap(density, (0, None))(both, c)

    return jax.lax.map(one, (x, truth, words), batch_size=_TOGETHER)
