"""The last step: the nearest weights whose moments are those of the property.

What training leaves of the residual r of means and variances (m, v - 1) is mostly noise of the last
batches. Newton steps of least length remove it,

    d = J^T (J J^T + e I)^-1 (-r),    J the slopes of m and v in the weights,

with e as small as helps (Levenberg 1944; Marquardt 1963), in the weights of the last layers that do
not depend on where a point is: shifts and scales of the couplings and between them. They are so few
that J is known well, by differences on the same draws; of all weights, a short step would mostly
fit the noise of J. Moments are those of quasi-random draws (Owen 1997), more than slopes are taken
of. No slope of the simulator is needed. Where simulations are costly, moments of all densities are
those of the same simulated points, with weights q / r.

In many dimensions these weights move all moments alike. There the steps are of all weights, but in
2r directions: those of least length that each move one number by 1, by the slopes of one part of
the draws. What of a slope was noise moves nothing on the other parts, and J is by differences on
one of those. The numbers are the means and the mean squares; of statistics that are too narrow, but
follow what drives them (``objective.drives``), the mean product with that, because the slope of a
square moves most the samples that are farthest out already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from scipy.special import ndtri

from lanternfish.flows import Pushforward
from lanternfish.inference.epi.memory import Memory
from lanternfish.inference.epi.objective import NEVER, drives
from lanternfish.inference.epi.problem import Problem
from lanternfish.inference.epi.training import MANY

_DRAWS, _PARTS, _CHUNK = 32_768, 4, 512  # one part is for slopes
_DRAWS_OF_MANY = 16_384
_NEWTON = 8  # steps, at most
_DONE, _NEAR = 3e-3, 1.0  # residual at which they end, and from which there is no short step
_DRIVEN = 0.3  # product of a statistic with what drives it, by which it may be widened
_DONE_OF_MANY, _NEAR_OF_MANY = 1e-2, 3.0  # the same in many dimensions
_DAMPINGS = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of steps, until one helps
_ENOUGH = 0.5  # share of the residual that a step leaves, below which no other is tried
_CREEPS = 0.9  # share of the residual that a step leaves, above which there is no further one
_DIFFERENCE = 0.01  # of a weight
_LAYERS = 3  # the last ones
_WORTH = 0.3  # effective share of weights below which they tell no moments


class Split(NamedTuple):
    """What of a flow is moved: how many numbers, and the flow after a step of them."""

    size: int
    build: Callable[[Array], Pushforward]


def projected(flow: Pushforward, moments: Drawn | Remembered) -> Pushforward:
    """The density with the property's moments, or the same one where no step brings them nearer."""
    residual = moments.residual(flow)
    done, near = (_DONE_OF_MANY, _NEAR_OF_MANY) if flow.dim > MANY else (_DONE, _NEAR)
    for _ in range(_NEWTON):
        before = _size(residual)
        if not done < before < near:
            break
        split = moments.split(flow, residual)
        found = _nearest(split, moments, residual)
        if _size(found[1]) < before:
            flow, residual = found
        if not _size(residual) < _CREEPS * before:
            break
    return flow


def _nearest(
    split: Split, moments: Drawn | Remembered, residual: np.ndarray
) -> tuple[Pushforward, np.ndarray]:
    """The density after the best of steps, each more damped than the one before it."""
    slopes, before, best = _slopes(split, moments), _size(residual), None
    for damping in _DAMPINGS:
        moved = _moved(split, _step(residual, slopes, damping))
        after = moments.residual(moved)
        if best is not None and _size(best[1]) < min(before, _size(after)):
            break
        if best is None or _size(after) < _size(best[1]):
            best = moved, after
        if _size(after) < _ENOUGH * before:
            break
    assert best is not None
    return best


def _size(residual: np.ndarray) -> float:
    """The largest part of a residual (2r,); the test lets variances be off by twice as much."""
    mean, variance = np.split(np.abs(np.nan_to_num(residual, nan=np.inf)), 2)
    return float(max(np.max(mean), np.max(variance) / 2))


class Drawn:
    """Moments of densities on the same draws and with the same noise, and how many they were.

    Args:
        path: whether slopes go through the simulator; else by the score function.
    """

    def __init__(self, problem: Problem, dim: int, seed: int, path: bool = False) -> None:
        from scipy.stats import qmc  # slow to import

        draws = _DRAWS_OF_MANY if dim > MANY else _DRAWS
        points = qmc.Sobol(dim, rng=np.random.default_rng(seed)).random(draws)
        points = ndtri(np.clip(points, 1e-7, 1 - 1e-7)).reshape(_PARTS, -1, _CHUNK, dim)
        self.draws = jnp.asarray(points.transpose(0, 1, 3, 2), jnp.float32)
        self.keys = jr.split(jr.key(seed % 2**32), self.draws.shape[:2])
        self.problem, self.path, self.simulated = problem, path, 0

    def split(self, flow: Pushforward, residual: np.ndarray) -> Split:
        """What of a flow with this residual to move."""
        if flow.dim <= MANY:
            return _of_few(flow)
        self.simulated += self.part * self.problem.trials
        narrow = np.zeros(self.problem.constraints, bool)
        if self.path:
            along = np.asarray(_driven(flow, self.problem, self.draws[-1], self.keys[-1]))
            narrow = (residual[self.problem.constraints :] < 0) & (along > _DRIVEN)
        found = _pulled(flow, self.problem, self.draws[-1], self.keys[-1], self.path, narrow)
        value, slopes = (np.asarray(part, np.float64) for part in found)
        mean = value[: self.problem.constraints]
        about = np.where(narrow, 0.0, 2 * mean)  # what drives has no mean
        slopes[len(mean) :] -= about[:, None] * slopes[: len(mean)]
        return _along(flow, slopes)

    @property
    def part(self) -> int:
        """Draws in each part."""
        return self.keys.shape[1] * _CHUNK

    def residual(self, flow: Pushforward, parts: int = _PARTS) -> np.ndarray:
        """(m, v - 1) of some parts of the draws, (2r,)."""
        self.simulated += parts * self.part * self.problem.trials
        of = [_sums(flow, self.problem, self.draws[i], self.keys[i]) for i in range(parts)]
        total = sum(np.asarray(sums, np.float64) for sums, _ in of)
        mean, square = np.split(total / max(sum(int(count) for _, count in of), 1), 2)
        return np.r_[mean, square - mean**2 - 1]


class Remembered:
    """Moments of densities by weights of points that were simulated before."""

    simulated = 0  # further ones

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def split(self, flow: Pushforward, residual: np.ndarray) -> Split:
        """What of a flow to move, whatever its residual."""
        return _of_few(flow)

    def residual(self, flow: Pushforward, parts: int = _PARTS) -> np.ndarray:
        """(m, v - 1) of some parts of the points, (2r,); infinite where weights say too little."""
        some = jax.tree.map(lambda a: a[:: _PARTS // parts], self.memory)
        found, worth = _weighted(flow, some)
        mean, square = np.split(np.asarray(found, np.float64), 2)
        found = np.r_[mean, square - mean**2 - 1]
        return found if float(worth) > _WORTH else np.full(len(found), np.inf)


def _slopes(split: Split, moments: Drawn | Remembered) -> np.ndarray:
    """Slopes of the residual, (2r, weights), by differences on one part."""
    start = np.zeros(split.size)
    here, steps = moments.residual(_moved(split, start), 1), _DIFFERENCE * np.eye(split.size)
    there = [moments.residual(_moved(split, step), 1) for step in steps]
    slopes = (np.array(there) - here).T / _DIFFERENCE
    return np.where(np.isfinite(slopes).all(axis=0), slopes, 0.0)  # a weight that tells nothing


def _step(residual: np.ndarray, slopes: np.ndarray, damping: float) -> np.ndarray:
    """The step d, of equations of one length each."""
    lengths = np.linalg.norm(slopes, axis=1) + 1e-30
    unit = slopes / lengths[:, None]
    square = unit @ unit.T + damping * np.eye(len(unit))
    return -unit.T @ np.linalg.solve(square, residual / lengths)


def _moved(split: Split, step: np.ndarray) -> Pushforward:
    return split.build(jnp.asarray(step, jnp.float32))


def _of_few(flow: Pushforward) -> Split:
    """Shifts and log scales of the last layers, and of the linear maps after them."""
    moved, mixed = flow.dim - flow.dim // 2, jnp.arange(flow.dim)
    all_biases, all_upper = jnp.asarray(flow.layers.last.bias), jnp.asarray(flow.layers.upper)
    found = all_biases[-_LAYERS:, : 2 * moved], all_upper[-_LAYERS:, mixed, mixed]
    vector, unravel = ravel_pytree(found)

    def build(step: Array) -> Pushforward:
        biases, scales = unravel(vector + step)
        bias = all_biases.at[-_LAYERS:, : 2 * moved].set(biases)
        upper = all_upper.at[-_LAYERS:, mixed, mixed].set(scales)
        return eqx.tree_at(lambda f: (f.layers.last.bias, f.layers.upper), flow, (bias, upper))

    return Split(len(vector), build)


def _along(flow: Pushforward, slopes: np.ndarray) -> Split:
    """Steps of least length that each move one moment by 1, of slopes (2r, weights)."""
    trained, rest = eqx.partition(flow, eqx.is_inexact_array)
    vector, unravel = ravel_pytree(trained)
    lengths = np.linalg.norm(slopes, axis=1) + 1e-30
    unit = slopes / lengths[:, None]
    square = unit @ unit.T + 1e-6 * np.eye(len(unit))
    directions = jnp.asarray(np.linalg.solve(square, unit) / lengths[:, None], jnp.float32)
    return Split(len(unit), lambda step: eqx.combine(unravel(vector + step @ directions), rest))


@eqx.filter_jit
def _pulled(
    flow: Pushforward, problem: Problem, draws: Array, keys: Array, path: bool, narrow: np.ndarray
) -> tuple[Array, Array]:  # fmt: skip
    """Means of u and its square over draws, (2r,), and their slopes in all weights.

    Args:
        narrow: of which statistics u times what drives it takes the place of the square, (r,).
    """
    fixed = (lambda a: a) if path else jax.lax.stop_gradient
    trained, rest = eqx.partition(flow, eqx.is_inexact_array)
    vector, unravel = ravel_pytree(trained)

    def chunk(total, args):
        noise, key = args

        def means(vector):
            q = eqx.combine(unravel(vector), rest)
            z = fixed(q.forward(noise)[0])
            u, square = jnp.split(_each(problem, z, key)[0], 2, axis=1)
            each = jnp.c_[u, jnp.where(narrow, drives(noise, len(narrow)) * u, square)]
            mean = jnp.mean(each, axis=0)
            of_score = mean if path else (each - mean).T @ q.log_prob(z) / len(each)
            return of_score, mean

        _, pull, mean = jax.vjp(means, vector, has_aux=True)
        slopes = jnp.stack([pull(row)[0] for row in jnp.eye(len(mean))])
        slopes = jnp.where(jnp.all(jnp.isfinite(slopes)), slopes, 0.0)
        return (total[0] + mean, total[1] + slopes), None

    zero = jnp.zeros(2 * problem.constraints), jnp.zeros((2 * problem.constraints, len(vector)))
    (value, slopes), _ = jax.lax.scan(chunk, zero, (draws, keys))
    return value / len(keys), slopes / len(keys)


@eqx.filter_jit
def _driven(flow: Pushforward, problem: Problem, draws: Array, keys: Array) -> Array:
    """Means of u times what drives it, (r,)."""

    def chunk(args):
        noise, key = args
        u = _each(problem, flow.forward(noise)[0], key)[0][:, : problem.constraints]
        return jnp.mean(u * drives(noise, problem.constraints), axis=0)

    return jnp.mean(jax.lax.map(chunk, (draws, keys)), axis=0)


def _each(problem: Problem, z: Array, key: Array) -> tuple[Array, Array]:
    """u and its square of points z (d, n), simulated, (n, 2r), 0 where not finite; which are."""
    found = problem.features(problem.simulate(problem.parameters(z)[0], key))
    return jnp.where(found.valid[:, None], jnp.c_[found.u, found.square], 0.0), found.valid


@eqx.filter_jit
def _sums(flow: Pushforward, problem: Problem, draws: Array, keys: Array) -> tuple[Array, Array]:
    """Sums of u and its square over draws with finite statistics, (2r,), and how many there are."""

    def chunk(args):
        noise, key = args
        each, valid = _each(problem, flow.forward(noise)[0], key)
        return jnp.sum(each, axis=0), jnp.sum(valid)

    return jax.tree.map(lambda a: jnp.sum(a, axis=0), jax.lax.map(chunk, (draws, keys)))


@eqx.filter_jit
def _weighted(flow: Pushforward, memory: Memory) -> tuple[Array, Array]:
    """Means of u and its square, (2r,), and the effective share of the weights."""
    found = memory.features
    log_ratio = flow.log_prob(memory.z.T) - memory.log_r
    use = found.valid & jnp.isfinite(log_ratio)
    weights = jax.nn.softmax(jnp.where(use, log_ratio, NEVER))
    each = jnp.where(use[:, None], jnp.c_[found.u, found.square], 0.0)
    worth = 1 / (jnp.sum(weights**2) * jnp.maximum(jnp.sum(use), 1))
    return weights @ each, jnp.where(jnp.any(use), worth, 0.0)
