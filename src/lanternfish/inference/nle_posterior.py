"""The posterior that NLE learns: prior times likelihood times chance of validity.

    log p(theta | x_o) = log p(theta) + log P(valid | theta) + log q(x_o | theta, valid) - log Z

with q a conditional flow over statistics, or an exponential family up to a function of x, and
P(valid | theta) a classifier. Samples are the ends of chains (``chains``) that start at kept ones.
Z, the evidence, comes from bridge sampling (Meng & Wong 1996) between the samples and a normal
fitted to half of them, in unbounded space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import paramax
from jaxtyping import Array
from scipy.special import logsumexp

from lanternfish import flows
from lanternfish.core import Column, Folder, Observation, Posterior, Prior, Table
from lanternfish.core.posterior_files import read_common, write_common
from lanternfish.core.prior import key_data
from lanternfish.core.seeds import check_seed, mix
from lanternfish.inference.chains import beyond_normal, log_prior, walk
from lanternfish.inference.npe_posterior import Constant
from lanternfish.inference.validity import Validity
from lanternfish.inference.weights import read_weights, write_weights

_BLOCK = 1024
_FURTHER = 20  # steps from a kept sample to a new one, and one more for each dimension
_BRIDGE_STEPS = 200


class Likelihood(eqx.Module):
    """log q(x | theta, valid) + log P(valid | theta), up to a constant, at unbounded points z.

    x is a few points (p, k), because a value that repeats stands for an interval (``scores``). An
    exponential family takes statistics as they are, less the observed ones, and parameters.
    """

    density: flows.ConditionalFlow | flows.Ensemble | flows.ExponentialFamily
    validity: Validity | None

    def __call__(self, z: Array, x: Array, prior: Prior, power: float | Array = 1.0) -> Array:
        """``power`` is that of the density, not of the chance: below 1, for wider proposals."""
        value = power * self._of_valid(z, x, prior)
        return value if self.validity is None else value + self.validity.log_chance(z)

    def _of_valid(self, z: Array, x: Array, prior: Prior) -> Array:
        if isinstance(self.density, flows.ExponentialFamily):
            return self.density.log_prob(x[0], prior.bijection.transform(z))
        values = jax.vmap(lambda point: self.density.log_prob(point, z))(x)
        normal = 0.5 * jnp.sum(x**2, axis=1)  # the mean is over the points' normal scores
        return jax.nn.logsumexp(values + normal)


@dataclass(frozen=True)
class NLEPosterior(Posterior):
    """p(theta | x_o) by a learned likelihood.

    Attributes:
        prior: of the model.
        statistics: columns of x.
        observation: the x that it is conditioned on.
        likelihood: the trained likelihood.
        architecture: what its flow is made of; None where an exponential family does better.
        observed: points (p, k) that stand for the observation, in the likelihood's units; zeros
            (1, k) for an exponential family.
        pool: samples in unbounded space, (m, d), from which chains start.
    """

    prior: Prior
    statistics: tuple[Column, ...]
    observation: Observation
    likelihood: Likelihood
    architecture: flows.Architecture | None
    observed: np.ndarray
    pool: np.ndarray
    kind = "nle"

    @cached_property
    def _parts(self) -> tuple[Likelihood, Constant, Array]:
        x = jnp.asarray(self.observed, jnp.float32)
        return paramax.unwrap(self.likelihood), Constant(self.prior), x

    def sample(self, n: int, seed: int = 0) -> Table:
        """Ends of ``n`` chains of a fixed number of steps, each from another kept sample."""
        check_seed(seed)
        if n < 0:
            raise ValueError(f"Expected n of at least 0; got {n}.")
        seeds = mix(mix(np.uint64(seed)) + np.arange(n, dtype=np.uint64))
        starts = self.pool[(mix(np.uint64(seed)) + np.arange(n, dtype=np.uint64)) % len(self.pool)]
        return Table(self.from_unbounded(self.chains(starts, seeds)), self.parameters)

    def at_hand(self, n: int, seed: int = 0) -> Table:
        """Samples from which chains start: the ends of those of the last round."""
        order = np.random.default_rng(check_seed(seed)).permutation(len(self.pool))[:n]
        return Table(self.from_unbounded(self.pool[order]), self.parameters)

    def chains(
        self, starts: np.ndarray, seeds: np.ndarray, *, steps: int | None = None, power: float = 1,
        tell: Callable[[int], None] = lambda done: None,
    ) -> np.ndarray:  # fmt: skip
        """Ends in unbounded space, (n, d), of chains from starts (n, d) with seeds (n,) uint64.

        The likelihood of valid simulations is taken to a ``power``. ``tell`` is called with the
        number of chains done so far.
        """
        steps = _FURTHER + len(self.prior) if steps is None else steps
        ends = [np.zeros((0, len(self.prior)))]
        for at in range(0, len(seeds), _BLOCK):
            part = slice(at, at + _BLOCK)
            size = len(seeds[part])
            padded = np.resize(starts[part], (_BLOCK, starts.shape[1])).astype(np.float32)
            words = np.resize(key_data(seeds[part]), (_BLOCK, 2))
            ends.append(
                np.asarray(_chains(*self._parts, padded, words, jnp.float32(power), steps))[:size]
            )
            tell(at + size)
        return np.concatenate(ends)

    def from_unbounded(self, z: np.ndarray) -> np.ndarray:
        """Parameters (n, d), inside the prior's bounds."""
        padded = np.resize(z, (-(-len(z) // _BLOCK) * _BLOCK, len(self.prior))).astype(np.float32)
        theta = np.asarray(_transformed(self._parts[1], padded), np.float64)[: len(z)]
        return np.clip(theta, self.prior.low, self.prior.high)

    @cached_property
    def log_evidence(self) -> float:
        """log Z: the density of x_o under the prior, in units of the scaled statistics."""
        half = len(self.pool) // 2
        mean, covariance = self.pool[:half].mean(axis=0), np.atleast_2d(np.cov(self.pool[:half].T))
        root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(mean)))
        normal = np.random.default_rng(0).normal(size=(max(half, 2_000), len(mean)))
        ratios = []
        for z in (self.pool[half:], mean + normal @ root.T):
            joint = np.asarray(_joints(*self._parts, jnp.asarray(z, jnp.float32)), np.float64)
            white = np.linalg.solve(root, (z - mean).T)
            guide = -0.5 * np.sum(white**2, axis=0) - np.sum(np.log(np.diag(root)))
            ratios.append(joint - guide + 0.5 * len(mean) * np.log(2 * np.pi))
        return bridge(*ratios)

    def log_density(self, theta: Array) -> Array:
        return _log_density(*self._parts, theta) - self.log_evidence

    @cached_property
    def _rows(self):
        parts = self._parts
        shift = self.log_evidence
        return lambda theta: _densities(*parts, theta) - shift, partial(_gradients, *parts)

    def log_valid(self, theta: Array) -> Array:
        """log P(valid | theta) at one point (d,), as learned: a JAX function, differentiable.

        Raises:
            ValueError: if every simulation was valid, so that there was nothing to learn.
        """
        likelihood, constant, _ = self._parts
        if likelihood.validity is None:
            raise ValueError(
                "Expected simulations of which some were invalid; got valid ones alone: every "
                "parameter set gives a valid simulation as far as is known."
            )
        return likelihood.validity.log_chance(constant.prior.bijection.inverse(theta))

    def at(self, observation: Observation) -> NLEPosterior:
        raise ValueError(
            "Expected an amortised posterior, trained with NPE(rounds=1); got a likelihood "
            "trained around one observation: call infer for the new one."
        )

    def write(self, folder: Folder) -> None:
        write_weights(folder, "posterior.safetensors", self.likelihood)
        folder.write_arrays("pool.npz", {"pool": self.pool, "observed": self.observed})
        density = self.likelihood.density
        family = isinstance(density, flows.ExponentialFamily)
        details = {
            "architecture": None if self.architecture is None else asdict(self.architecture),
            "bends": len(density.heights) if family else None,
            "validity": self.likelihood.validity is not None,
        }
        write_common(folder, self, details)


def bridge(of_samples: np.ndarray, of_guide: np.ndarray) -> float:
    """log Z from log (unnormalised density / guide density) at samples of both.

    The fixed point of Meng & Wong (1996), equation 4.1, with l = exp(ratio):

        Z = mean_guide[ l / (s1 l + s2 Z) ] / mean_samples[ 1 / (s1 l + s2 Z) ]
    """
    n1, n2 = len(of_samples), len(of_guide)
    log_s1, log_s2 = np.log(n1 / (n1 + n2)), np.log(n2 / (n1 + n2))
    log_z = float(np.median(of_samples))
    for _ in range(_BRIDGE_STEPS):
        below_guide = np.logaddexp(log_s1 + of_guide, log_s2 + log_z)
        below_samples = np.logaddexp(log_s1 + of_samples, log_s2 + log_z)
        above = logsumexp(of_guide - below_guide) - np.log(n2)
        log_z = float(above - (logsumexp(-below_samples) - np.log(n1)))
    return log_z


@eqx.filter_jit
def _chains(likelihood, constant: Constant, x, starts, words, power, steps: int) -> Array:
    prior = constant.prior

    def target(z):
        return likelihood(z, x, prior, power) + beyond_normal(prior, z)

    def one(z, word):
        key = jr.fold_in(jr.wrap_key_data(word, impl="threefry2x32"), 3)
        return walk(target, z, key, steps)

    return jax.vmap(one)(starts, words)


@eqx.filter_jit
def _transformed(constant: Constant, z) -> Array:
    return jax.vmap(constant.prior.bijection.transform)(z)


@eqx.filter_jit
def _joints(likelihood, constant: Constant, x, z) -> Array:
    prior = constant.prior
    return jax.vmap(lambda row: likelihood(row, x, prior) + log_prior(prior, row))(z)


def _log_density(likelihood, constant: Constant, x, theta) -> Array:
    z = constant.prior.bijection.inverse(theta)
    return likelihood(z, x, constant.prior) + constant.prior.log_density(theta)


@eqx.filter_jit
def _densities(likelihood, constant: Constant, x, theta) -> Array:
    return jax.vmap(lambda row: _log_density(likelihood, constant, x, row))(theta)


@eqx.filter_jit
def _gradients(likelihood, constant: Constant, x, theta) -> Array:
    return jax.vmap(jax.grad(lambda row: _log_density(likelihood, constant, x, row)))(theta)


def read(folder: Folder, prior: Prior | None = None) -> NLEPosterior:
    """The posterior stored in a folder; the entry point ``nle`` of ``lanternfish.posteriors``."""
    common, details = read_common(folder, prior)
    made_of = details["architecture"]
    architecture = None if made_of is None else flows.Architecture(**made_of)
    d, k = len(common["prior"]), len(common["statistics"])
    validity = Validity(np.random.default_rng(0), d) if details["validity"] else None
    if architecture is None:
        density = flows.empty_exponential(k, d, details["bends"])
    else:
        density = flows.empty(architecture, k, d)
    empty = Likelihood(density, validity)
    arrays = folder.read_arrays("pool.npz")
    return NLEPosterior(
        likelihood=read_weights(folder, "posterior.safetensors", empty),
        architecture=architecture,
        observed=arrays["observed"],
        pool=arrays["pool"],
        **common,
    )
