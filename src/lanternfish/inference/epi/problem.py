"""The problem that EPI solves, in coordinates in which it has no scale.

With statistics f, trials x_1 .. x_t of each parameter set, and the property's mean mu and standard
deviation sigma,

    u = (1/t sum_j f(x_j) - mu) / sigma,
    T = [u ; u^2]    (with total variance, u^2 becomes 1/t sum_j ((f(x_j) - mu) / sigma)^2),

the property is E_q[T] = [0 ; 1], and of all q that have it the one of maximum entropy is

    p(theta) = b(theta) exp(eta . T(theta)) / Z(eta)

for one natural parameter eta. b is the base measure: 1 on the prior's support ("uniform": then
entropy is that of q in the parameters' units), or the prior ("prior": then entropy means minus
KL(q || prior), which does not depend on units).

Densities live in the prior's unbounded space z; theta = B(z).
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.core import EmergentProperty, JaxSimulator, Model, Prior
from lanternfish.simulation.jax_call import OneSimulation

_ROWS = 8_192  # simulations at a time, to bound the memory of gradients
OUTSIDE = 6.0  # of the property's standard deviations, beyond which nothing is pulled outwards


class Features(NamedTuple):
    """T of n parameter sets: u and u^2, each (n, r), and which are finite (n,)."""

    u: Array
    square: Array
    valid: Array


class Problem(eqx.Module):
    """Prior, simulator, property and base measure."""

    mean: Array
    sd: Array
    prior: Prior = eqx.field(static=True)
    simulation: OneSimulation | None = eqx.field(static=True)
    places: tuple[int, ...] = eqx.field(static=True)
    total: tuple[bool, ...] = eqx.field(static=True)
    trials: int = eqx.field(static=True)
    base: str = eqx.field(static=True)

    def __init__(self, model: Model, target: EmergentProperty, trials: int, base: str) -> None:
        self.mean = jnp.asarray(target.means, jnp.float32)
        self.sd = jnp.asarray(target.sds, jnp.float32)
        self.prior = model.prior
        simulator, names = model.simulator, model.prior.names
        compiled = isinstance(simulator, JaxSimulator)
        self.simulation = OneSimulation(simulator, names) if compiled else None
        self.places = tuple(target.places(model.statistics).tolist())
        self.total = tuple(target.total.tolist())
        self.trials, self.base = trials, base

    @property
    def constraints(self) -> int:
        """How many statistics there are: r."""
        return len(self.places)

    def parameters(self, z: Array) -> tuple[Array, Array]:
        """theta (n, d) of points z (d, n), and log b(theta) |d theta / d z| of each (n,)."""
        theta, slope = jax.vmap(self.prior.bijection.transform_and_log_det, in_axes=1)(z)
        if self.base == "prior":
            slope = slope + jax.vmap(self.prior.log_density)(theta)
        return theta, jnp.asarray(slope)

    def features(self, x: Array) -> Features:
        """T from statistics of trials, (n, t, r)."""
        each = (x - self.mean) / self.sd
        u = jnp.mean(each, axis=1)
        square = jnp.where(jnp.array(self.total), jnp.mean(each**2, axis=1), u**2)
        valid = jnp.all(jnp.isfinite(u) & jnp.isfinite(square), axis=1)
        keep = valid[:, None]
        return Features(jnp.where(keep, u, 0.0), jnp.where(keep, square, 0.0), valid)

    def simulate(self, theta: Array, key: Array) -> Array:
        """Statistics of trials (n, t, r) of parameters (n, d): differentiable, in bounded memory.

        Beyond ``_ROWS`` simulations go in chunks; a gradient simulates each chunk again.
        """
        assert self.simulation is not None
        simulation, places = self.simulation, jnp.array(self.places)
        n = len(theta)
        words = jr.key_data(jr.split(key, (n, self.trials)))

        def one(theta, words):
            return jax.vmap(lambda w: simulation(theta, w)[places])(words)

        if n * self.trials <= _ROWS:
            return jax.vmap(one)(theta, words)
        chunk = jax.checkpoint(lambda args: one(*args))  # pyright: ignore
        size = max(1, _ROWS // self.trials)
        return jax.lax.map(chunk, (theta, words), batch_size=size)


def work(problem: Problem) -> float:
    """Numbers that one simulation computes, loops counted by their length; 0 where it is not JAX.

    A loop of unknown length counts once.
    """
    if problem.simulation is None:
        return 0.0
    theta = jax.ShapeDtypeStruct((len(problem.prior),), jnp.float32)
    words = jax.eval_shape(lambda: jr.key_data(jr.key(0)))
    return _numbers(jax.make_jaxpr(problem.simulation)(theta, words).jaxpr)


def _numbers(jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [v for v in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program)
                 if _is_program(v)]  # fmt: skip
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        if inner:
            total += times * sum(_numbers(getattr(part, "jaxpr", part)) for part in inner)
        else:
            total += sum(float(np.prod(out.aval.shape)) for out in equation.outvars)
    return total


def _is_program(value) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def natural_log(features: Features, eta: Array) -> Array:
    """eta . T of each row (n,), for eta (2, r); what widens does so up to ``OUTSIDE`` deviations.

    Else exp(eta_2 u^2) with eta_2 above zero has no integral where a statistic has no bound.
    """
    inwards, widening = jnp.minimum(eta[1], 0.0), jnp.maximum(eta[1], 0.0)
    square = features.square
    return features.u @ eta[0] + square @ inwards + jnp.minimum(square, OUTSIDE**2) @ widening
