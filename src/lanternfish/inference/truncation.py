"""Proposals restricted to where the posterior may be (truncated SNPE; Deistler et al. 2022).

The proposal of the next round is the prior restricted to

    R = { theta : q(theta | x_o) / p(theta) > tau },

tau being the epsilon-quantile of that ratio over samples of q: a set that holds all but epsilon of
the posterior and does not depend on how parameters are written - and, where some simulations were
invalid, to where they can be valid (see ``validity``). As a restricted prior changes nothing inside
R, the next round trains with the first round's loss, on the simulations of all rounds that lie in
R: they are draws from the prior there, and what lies outside would only widen the scales that the
flow has to cover.

Where R holds more than 0.4 % of the prior, proposals are drawn from the prior until one lies in R,
which is exact. Rejection would waste 99.9 % and more of its draws in 31 dimensions: there the
restricted prior is reached by elliptical slice sampling (see ``chains``), from a draw of q inside R
that is resampled from a few by p / q, and so starts near to it.
"""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.core import Prior
from lanternfish.core.compilation import fast_jit
from lanternfish.core.prior import key_data
from lanternfish.core.seeds import mix, stream
from lanternfish.inference.chains import beyond_normal, log_prior, walk
from lanternfish.inference.npe_posterior import Constant, NPEPosterior

_THRESHOLD_SAMPLES = 20_000
_STEPS = 100  # a region may be much narrower along one direction than along another
_BLOCK = {"cpu": 128}  # chains that run together: a core's cache holds no more at once
_MOST = 1024  # on other devices
_ROWS = 8192  # whose density is evaluated at a time
_WASTEFUL = 0.004  # share of the prior in the region below which rejection costs more than chains
_PATIENCE = 20.0  # times the expected number of candidates, after which a chain takes over
_CANDIDATES = 200_000  # from the prior at a time, at most
_STARTS = 64  # draws of q, of which one starts a chain


class TruncatedPrior:
    """The prior where the posterior's density ratio exceeds a threshold.

    Args:
        posterior: of the last round.
        epsilon: share of the posterior that the region may lose.
        seed: for the samples from which the threshold is taken.
    """

    def __init__(self, posterior: NPEPosterior, epsilon: float, seed: int) -> None:
        self.posterior = posterior
        self._parts = (posterior.ready, Constant(posterior.prior), posterior.x)
        self._validity = posterior.validity
        drawn = posterior.sample(_THRESHOLD_SAMPLES, seed=seed)
        ratios = self.log_ratio(drawn.array)
        self.threshold = float(np.quantile(ratios, epsilon))
        candidates = posterior.prior.sample(_ROWS, seed=stream(seed, "candidates")).array
        self.share = float(self._allows(candidates).mean())

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log q(theta | x_o) - log p(theta), shape (n,)."""
        return self._in_rows(_ratios, *self._parts, theta=theta)

    def holds(self, theta: np.ndarray) -> np.ndarray:
        """Whether each of theta (n, d) lies in the region; shape (n,)."""
        return self.log_ratio(theta) > self.threshold

    def _allows(self, theta: np.ndarray) -> np.ndarray:
        """Whether each of theta (n, d) lies in the region, where simulations can be valid."""
        if self._validity is None:
            return self.holds(theta)
        alive = self._in_rows(_alive, self._validity, self._parts[1], theta=theta)
        return self.holds(theta) & alive

    @staticmethod
    def _in_rows(function, *given, theta: np.ndarray) -> np.ndarray:
        """A function of rows of theta (n, d), in blocks of one compiled shape."""
        blocks = range(0, len(theta), _ROWS)
        shape = (_ROWS, theta.shape[1])
        padded = [np.resize(theta[i : i + _ROWS], shape) for i in blocks]
        values = [np.asarray(function(*given, jnp.asarray(block))) for block in padded]
        return np.concatenate(values)[: len(theta)] if values else np.zeros(0)

    def __call__(self, seeds: np.ndarray) -> np.ndarray:
        """One draw for each seed (n,) uint64; shape (n, d)."""
        if self.share < _WASTEFUL:
            return self._by_chains(seeds)
        theta, missing = self._by_rejection(np.asarray(seeds, np.uint64))
        if len(missing):
            theta[missing] = self._by_chains(seeds[missing])
        return theta

    def _by_rejection(self, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first of each seed's candidates from the prior inside; and which seeds found none."""
        prior = self.posterior.prior
        theta, missing = np.zeros((len(seeds), len(prior))), np.arange(len(seeds))
        expected, tried = max(1, round(1 / self.share)), 0
        most = int(_PATIENCE * expected)
        while len(missing) and tried < most:
            each = min(expected, max(1, _CANDIDATES // len(missing)), most - tried)
            steps = np.arange(tried, tried + each, dtype=np.uint64)
            with np.errstate(over="ignore"):
                words = mix(mix(seeds[missing])[:, None] + steps)
            candidates = prior.sample_at(words.ravel()).reshape(len(missing), each, -1)
            inside = self._allows(candidates.reshape(-1, len(prior))).reshape(words.shape)
            found = inside.any(axis=1)
            first = candidates[np.arange(len(missing)), inside.argmax(axis=1)]
            theta[missing[found]] = first[found]
            missing, tried = missing[~found], tried + each
        return theta, missing

    def _by_chains(self, seeds: np.ndarray) -> np.ndarray:
        p, rows = self.posterior, []
        block = _BLOCK.get(jax.default_backend(), _MOST)
        for start in range(0, len(seeds), block):
            part = seeds[start : start + block]
            words = np.zeros((block, 2), np.uint32)
            words[: len(part)] = key_data(part)
            drawn = _chains(*self._parts, jnp.float32(self.threshold), self._validity, words)
            rows.append(np.asarray(drawn, np.float64)[: len(part)])
        return np.clip(np.concatenate(rows), p.prior.low, p.prior.high)


@fast_jit
def _ratios(flow, constant: Constant, x: Array, theta: Array) -> Array:
    z = jax.vmap(constant.prior.bijection.inverse)(theta)
    return flow.log_probs(z, x) - jax.vmap(partial(log_prior, constant.prior))(z)


@eqx.filter_jit
def _alive(validity, constant: Constant, theta: Array) -> Array:
    inverse = constant.prior.bijection.inverse
    return jax.vmap(lambda row: validity.allows(inverse(row)))(theta)


def _ratio(flow, prior: Prior, x: Array, z: Array) -> Array:
    return flow.log_prob(z, x) - log_prior(prior, z)


def _inside(ratio: Array, threshold, validity, z: Array) -> Array:
    inside = ratio > threshold
    return inside if validity is None else inside & validity.allows(z)


@fast_jit
def _chains(flow, constant: Constant, x, threshold, validity, words) -> Array:
    prior = constant.prior

    def log_likelihood(z: Array) -> Array:
        """Minus infinity outside the region; inside, what the prior has beyond N(0, I)."""
        inside = _inside(_ratio(flow, prior, x, z), threshold, validity, z)
        return jnp.where(inside, beyond_normal(prior, z), -jnp.inf)

    def chain(word: Array) -> Array:
        key = jr.fold_in(jr.wrap_key_data(word, impl="threefry2x32"), 2)
        start_key, step_key = jr.split(key)
        z = start(start_key)
        return prior.bijection.transform(walk(log_likelihood, z, step_key, _STEPS))

    def start(key: Array) -> Array:
        """One of a few draws of q, resampled by p / q inside (the chance of none there is ~ 0)."""
        draw_key, choice_key = jr.split(key)
        z = jax.vmap(partial(flow.sample, c=x))(jr.split(draw_key, _STARTS))
        ratios = jax.vmap(lambda row: _ratio(flow, prior, x, row))(z)
        inside = jax.vmap(lambda ratio, row: _inside(ratio, threshold, validity, row))(ratios, z)
        return z[jr.categorical(choice_key, jnp.where(inside, -ratios, -1e30))]

    return jax.vmap(chain)(words)
