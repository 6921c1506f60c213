"""An emergent property as an observation with a tolerance: the same question for SNPE.

EPI asks for a distribution of parameters whose statistics have mean mu and standard deviation
sigma. A posterior answers the nearest question that it knows: the statistics were measured, mu came
out, and the measurement errs by sigma,

    x_obs = mu,    x = f + sigma e,  e ~ N(0, 1),    p(theta | x_obs) ~ p(theta) E exp(-u^2 / 2),

with u = (f - mu) / sigma. EPI's optimum has the same form, b(theta) exp(eta . E[u ; u^2]), but with
an eta that makes the moments right where here it is (0, -1/2): the two agree where the statistics'
standard deviation under the posterior comes out as sigma by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.special import ndtri

from lanternfish.core import (
    BatchSimulator,
    EmergentProperty,
    JaxSimulator,
    Model,
    Observation,
    PythonSimulator,
    Simulator,
)
from lanternfish.core.columns import width
from lanternfish.core.seeds import mix
from lanternfish.simulation.jax_call import OneSimulation


def tolerant(model: Model, target: EmergentProperty, trials: int = 1) -> tuple[Model, Observation]:
    """The model that reports the property's statistics with an error, and what was measured.

    Args:
        model: any that runs here.
        target: a property of its statistics.
        trials: simulations of each parameter set, whose mean is the statistic.

    Raises:
        TypeError: if the simulator is of no kind that runs here.
        ValueError: if the model has no such statistics.
    """
    target.check(model.statistics)
    by_name = {c.name: c for c in model.statistics}
    columns = tuple(by_name[name] for name in target)
    simulator = _simulator(model, target, trials, columns)
    about = f"{model.about} Statistics carry the property's standard deviation as an error."
    noisy = replace(
        model, simulator=simulator, targets={}, traces=None, about=about.strip(),
        name=f"{model.name}, with tolerance",
    )  # fmt: skip
    means = {name: moments.mean for name, moments in target.items()}
    return noisy, Observation(target.name or "the property", **means)


def _simulator(model: Model, target: EmergentProperty, trials: int, columns):
    inner = model.simulator
    places = tuple(int(p) for p in target.places(model.statistics))
    given = (inner, model.prior.names, places, tuple(target.sds.tolist()), trials)
    if isinstance(inner, JaxSimulator):
        return JaxSimulator(_InJax(*given), columns, lanes=inner.lanes)
    if isinstance(inner, PythonSimulator):
        return PythonSimulator(_InPython(*given), columns, time_limit=inner.time_limit)
    if isinstance(inner, BatchSimulator):
        return BatchSimulator(_InBatches(*given), columns, block=inner.block)
    raise TypeError(
        f"Expected a model whose simulator runs here; got {type(inner).__name__}: a posterior for "
        "a property needs new simulations."
    )


@dataclass(frozen=True)
class _Tolerant:
    """A simulator, its parameters, where the statistics stand, their errors, and trials."""

    simulator: Simulator
    names: tuple[str, ...]
    places: tuple[int, ...]
    sds: tuple[float, ...]
    trials: int


class _InJax(_Tolerant):
    def __call__(self, theta, key):
        one = OneSimulation(self.simulator, self.names)  # pyright: ignore[reportArgumentType]
        row = jnp.stack([jnp.asarray(theta[name], float) for name in self.names])
        trial_key, error_key = jr.split(key)
        words = jax.vmap(jr.key_data)(jr.split(trial_key, self.trials))
        x = jax.vmap(lambda w: one(row, w)[jnp.array(self.places)])(words).mean(axis=0)
        return x + jnp.array(self.sds) * jr.normal(error_key, x.shape)


class _InPython(_Tolerant):
    def __call__(self, theta, rng):
        x = np.mean([self._once(theta, rng) for _ in range(self.trials)], axis=0)
        return x + np.array(self.sds) * rng.standard_normal(len(x))

    def _once(self, theta, rng) -> np.ndarray:
        found = self.simulator.function(theta, rng)
        if isinstance(found, dict):
            found = np.concatenate(
                [np.ravel(np.asarray(found[c.name], float)) for c in self.simulator.columns]
            )
        return np.asarray(found, float)[list(self.places)]


class _InBatches(_Tolerant):
    def __call__(self, theta, seeds):
        seeds = np.asarray(seeds, np.uint64)
        x = np.mean([self._once(theta, _after(seeds, t)) for t in range(self.trials)], axis=0)
        e = [_normal(_after(seeds, self.trials + i)) for i in range(len(self.places))]
        return x + np.array(self.sds) * np.stack(e, axis=1)

    def _once(self, theta, seeds) -> np.ndarray:
        found = self.simulator.function(theta, seeds)
        if isinstance(found, tuple):
            raise ValueError(
                "Expected a BatchSimulator without importance weights for a property; got one "
                "that returns them."
            )
        if isinstance(found, dict):
            rows = [np.reshape(found[c.name], (len(theta), -1)) for c in self.simulator.columns]
            found = np.concatenate(rows, axis=1)
        found = np.asarray(found, float)
        assert found.shape[1] == width(self.simulator.columns)
        return found[:, list(self.places)]


def _after(seeds: np.ndarray, number: int) -> np.ndarray:
    """Independent seeds, (n,), for another use of each."""
    with np.errstate(over="ignore"):
        return mix(mix(seeds) + np.uint64(number))


def _normal(seeds: np.ndarray) -> np.ndarray:
    """A standard normal number for each seed, (n,)."""
    return ndtri(((mix(seeds) >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53)
