"""The last step: the nearest weights whose moments are those of the property.

What training leaves of the residual r of means and variances (m, v - 1) is mostly noise of the last
batches. Newton steps of least length remove it,

    d = J^T (J J^T)^-1 (-r),    J the slopes of m and v in the weights,

in the weights of the last layers that do not depend on where a point is: shifts and scales of the
couplings and between them. They are so few that J is known well, by differences on the same draws;
of all weights, a short step would mostly fit the noise of J. Moments are those of quasi-random
draws (Owen 1997), more than slopes are taken of. No slope of the simulator is needed.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from scipy.special import ndtri
from scipy.stats import qmc

from lanternfish.flows import Pushforward
from lanternfish.inference.epi.problem import Problem

_DRAWS, _PARTS, _CHUNK = 32_768, 4, 512  # one part is for slopes
_NEWTON = 3  # steps
_HALVED = 3  # times that a step that does not help is halved
_DIFFERENCE = 0.02  # of a weight
_LAYERS = 3  # the last ones


def projected(flow: Pushforward, problem: Problem, seed: int) -> Pushforward:
    """The density with the property's moments, or the same one where no step brings them nearer."""
    points = qmc.Sobol(flow.dim, rng=np.random.default_rng(seed)).random(_DRAWS)
    points = ndtri(np.clip(points, 1e-7, 1 - 1e-7)).reshape(_PARTS, -1, _CHUNK, flow.dim)
    draws = jnp.asarray(points.transpose(0, 1, 3, 2), jnp.float32)
    keys = jr.split(jr.key(seed % 2**32), draws.shape[:2])
    slopes = _slopes(flow, problem, draws[:1], keys[:1])
    residual = _residual(flow, problem, draws, keys)
    for _ in range(_NEWTON):
        step = np.linalg.lstsq(slopes, -residual, rcond=1e-6)[0]
        for halving in range(_HALVED):
            moved = _moved(flow, step / 2**halving)
            after = _residual(moved, problem, draws, keys)
            if np.max(np.abs(after)) < np.max(np.abs(residual)):
                flow, residual = moved, after
                break
        else:
            return flow
    return flow


def _moved(flow: Pushforward, step: np.ndarray) -> Pushforward:
    vector, build = _split(flow)
    return build(vector + jnp.asarray(step, jnp.float32))


def _split(flow: Pushforward):
    """The weights that are moved, as a vector, and the flow of such a vector."""
    moved = flow.dim - flow.dim // 2
    mixed = jnp.arange(flow.layers.upper.shape[-1])

    def build(vector: Array) -> Pushforward:
        biases, scales = unravel(vector)
        where = lambda f: (f.layers.last.bias, f.layers.upper)  # noqa: E731
        bias = flow.layers.last.bias.at[-_LAYERS:, : 2 * moved].set(biases)
        upper = flow.layers.upper.at[-_LAYERS:, mixed, mixed].set(scales)
        return eqx.tree_at(where, flow, (bias, upper))

    layers = flow.layers
    found = layers.last.bias[-_LAYERS:, : 2 * moved], layers.upper[-_LAYERS:, mixed, mixed]
    vector, unravel = ravel_pytree(found)
    return vector, build


def _residual(flow: Pushforward, problem: Problem, draws: Array, keys: Array) -> np.ndarray:
    """(m, v - 1) of all draws, (2r,)."""
    parts = [_sums(flow, problem, *part) for part in zip(draws, keys, strict=True)]
    total = sum(np.asarray(sums, np.float64) for sums, _ in parts)
    mean, square = np.split(total / max(sum(int(count) for _, count in parts), 1), 2)
    return np.r_[mean, square - mean**2 - 1]


def _slopes(flow: Pushforward, problem: Problem, draws: Array, keys: Array) -> np.ndarray:
    """Slopes of the residual, (2r, weights), by differences on the same draws."""
    here, size = _residual(flow, problem, draws, keys), len(_split(flow)[0])
    steps = _DIFFERENCE * np.eye(size)
    there = [_residual(_moved(flow, step), problem, draws, keys) for step in steps]
    return (np.array(there) - here).T / _DIFFERENCE


@eqx.filter_jit
def _sums(flow: Pushforward, problem: Problem, draws: Array, keys: Array) -> tuple[Array, Array]:
    """Sums of u and its square over draws with finite statistics, (2r,), and how many there are."""

    def chunk(args):
        noise, key = args
        z, _ = flow.forward(noise)
        found = problem.features(problem.simulate(problem.parameters(z)[0], key))
        each = jnp.where(found.valid[:, None], jnp.c_[found.u, found.square], 0.0)
        return jnp.sum(each, axis=0), jnp.sum(found.valid)

    return jax.tree.map(lambda a: jnp.sum(a, axis=0), jax.lax.map(chunk, (draws, keys)))
