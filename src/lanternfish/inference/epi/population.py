"""A population that is annealed from the prior to the property: where EPI's loop starts.

Between the base measure and the optimum lie the tilted distributions

    p(z) ∝ N(z)^(1 - lambda) b(z)^lambda exp(eta . T(z)),

and a sequential Monte Carlo sampler (Del Moral, Doucet & Jasra 2006) follows them from the prior,
eta = 0, lambda = 0. Each level takes a natural step of eta (``dual``), no longer than leaves
``_WORTH`` of the weights, resamples, and moves all members until the statistics have forgotten
where they were. Where the base measure is not the prior's, lambda then goes to 1, and Newton steps
with a falling gain hold the property meanwhile and after. Every mode of the prior that the property
leaves alive is there at the end, by its mass; no gradient is needed, and few simulations.

Moves are those of differential evolution (ter Braak 2006; Nelson et al. 2014) between two halves of
the population: a difference of two members of one half, scaled, is added to a member of the other,
so that steps have the shape of the ridges that they run along.

Weights of the levels multiply to Z, by which the entropy of the optimum is known, too:
H* = log Z(eta) - eta . [0 ; 1]. Islands are resampled by themselves; their spread is its error.

With some slack (``slack``) it ends where moments are as near to the property as that asks. Its
steps are those of Newton's method then, and more levels hold it there and are kept.

A member of a noisy simulator keeps the statistics that it was accepted with. That leaves it where
E exp(eta . T) is large, not exp(eta . E T); residuals are those of simulations anew, so that the
property is met all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.core import Folder
from lanternfish.flows import standard_normal
from lanternfish.inference import checkpoints
from lanternfish.inference.epi.dual import MOST, Spread, natural, spread, tilted
from lanternfish.inference.epi.pilot import Pilot
from lanternfish.inference.epi.problem import Features, Problem, natural_log
from lanternfish.inference.epi.slack import Slack, allowance

SIZE, _SIZE_OF_COSTLY = 4_096, 1_024  # members, and those of a costly simulator
_ISLANDS = 4
_WORTH = 0.6  # effective share of the weights that a level leaves
_NEAR = 0.15  # length of the residual, sqrt(nats), at which Newton steps take over
_SWEEPS = 4  # of moves between two looks at what they forgot
_LOOKS = (8, 3)  # at most, in one level: of a cheap simulator, and of a costly one
_FORGOTTEN = 0.5  # largest correlation of a statistic with what it was before the moves
_LEVELS = 150  # at most, beside those whose members are kept
_PATIENCE = 25  # levels after which the residual must be shorter
_HOLDS = (3, 1)  # levels of Newton steps before members are kept: cheap, costly
_KEPT = 5  # levels whose members are kept, at least
_LOOSE = 10  # both, with slack, where moments that hang together are slow to settle
_LOST = 1.0  # of a moment that slack should hold, from which members went elsewhere
_KEPT_A_DIMENSION = 2  # of a cheap simulator: fewer points, and a density learns them by heart
_ACCEPTED = 0.3
_JUMP = 0.1  # share of moves by a whole difference, from mode to mode
_JITTER = 1e-4
_VARIED = 0.8  # of the logarithm of a move's scale


class Members(NamedTuple):
    """Points z (d, n), T of them, log N(z) and log b(theta) |d theta / d z|, (n,)."""

    z: Array
    features: Features
    log_n: Array
    log_b: Array


class Tilt(NamedTuple):
    """Which of the tilted distributions: eta (2, r), and lambda."""

    eta: Array
    base: Array


@dataclass(frozen=True)
class Annealed:
    """What a population ended as.

    Attributes:
        z: members of the last levels, (d, n).
        eta: natural parameter of the optimum, (2, r).
        spread: moments of the statistics.
        entropy, error: estimate of the largest entropy, in nats, and its standard error.
        levels: what each level found, for the curves.
        simulations: how many it took.
        slack: that it was given.
    """

    z: np.ndarray
    eta: np.ndarray
    spread: Spread
    entropy: float
    error: float
    levels: list[dict] = field(repr=False)
    simulations: int
    slack: Slack | None = None

    def keep(self, folder: Folder) -> None:
        """Leave it in a folder, for a study that is interrupted later."""
        arrays = self.z, self.eta, *(np.asarray(part) for part in self.spread)
        checkpoints.write(folder, arrays, 0, self.as_plain() | {"members": self.z.shape[1]})

    def as_plain(self) -> dict:
        """For the history of a run."""
        return {"entropy": self.entropy, "error": self.error, "levels": self.levels,
                "simulations": self.simulations}  # fmt: skip


def anneal(
    problem: Problem, seed: int, pilot: Pilot, tell: Callable[[dict], None],
    size: int | None = None, slack: Slack | None = None,
) -> Annealed | None:  # fmt: skip
    """Take a population to the property; None where it does not get there.

    Args:
        pilot: whether the simulator is costly, and noisy.
        tell: called with what each level found.
        size: members, a multiple of 8; by the cost of a simulation where left out.
        slack: what means and mean squares may be off by, in the property's spread.
    """
    walk = _Walk(problem, seed, size or (_SIZE_OF_COSTLY if pilot.costly else SIZE), pilot, slack)
    kept: list[Array] = []
    many = _KEPT if pilot.costly else max(_KEPT, _KEPT_A_DIMENSION * len(problem.prior))
    holds = _HOLDS[pilot.costly]
    if slack:
        many, holds = max(many, _LOOSE), _LOOSE
    while len(kept) < many:
        if len(walk.levels) >= _LEVELS + many or walk.stuck or not walk.level():
            return None
        tell(walk.levels[-1])
        if walk.held > holds and walk.there:
            if slack and walk.off > _LOST:
                return None
            kept.append(walk.members.z)
    last = walk.levels[-many:]
    entropy = np.array([level["islands"] for level in last]).mean(axis=0)
    error = float(entropy.std(ddof=1) / np.sqrt(_ISLANDS))
    z = np.concatenate([np.asarray(part) for part in kept], axis=1)
    return Annealed(
        z, np.asarray(walk.tilt.eta), walk.found, float(entropy.mean()), error, walk.levels,
        walk.simulated, slack,
    )  # fmt: skip


def recalled(folder: Folder, problem: Problem) -> Annealed:
    """The population that an interrupted study left in a folder."""
    d, r = len(problem.prior), problem.constraints
    size = folder.read_json("training.json")["members"]
    like = np.empty((d, size)), np.empty((2, r)), np.empty(r), np.empty((r, r)), np.empty(r)
    (z, eta, *found), note = checkpoints.read(folder, like)
    levels, simulations = note["levels"], note["simulations"]
    return Annealed(
        z, eta, Spread(*found), note["entropy"], note["error"], levels, simulations
    )  # fmt: skip


class _Walk:
    """A population on its way."""

    def __init__(self, problem: Problem, seed: int, size: int, pilot: Pilot, slack) -> None:
        self.problem, self.size, self.noisy = problem, size, pilot.noisy
        self.slack, self.looks = slack, _LOOKS[pilot.costly]
        self.rng, self.key = np.random.default_rng(seed), jr.key(seed % 2**32)
        self.members = _first(problem, self._next(), size)
        self.tilt = Tilt(jnp.zeros((2, problem.constraints)), jnp.zeros(()))
        self.scale = jnp.asarray(0.5, jnp.float32)
        self.log_z = np.zeros(_ISLANDS)
        self.alive = np.asarray(self.members.features.valid)
        self.held, self.simulated, self.levels = 0, size, []
        self.found = self._spread()

    @property
    def there(self) -> bool:
        """Whether the base measure is the problem's own."""
        return float(self.tilt.base) == 1.0

    @property
    def stuck(self) -> bool:
        """Whether many levels brought the property no nearer."""
        lengths = [level["length"] for level in self.levels]
        far = self.held == 0 and len(lengths) > _PATIENCE
        return far and lengths[-1] > 0.9 * lengths[-1 - _PATIENCE]

    @property
    def off(self) -> float:
        """How far the mean or the mean square that is farthest is from where it should be."""
        mean, square = self.found.mean, self.found.variance + self.found.mean**2
        return float(np.abs(np.r_[mean, square] - self._goal()).max())

    def level(self) -> bool:
        """One level: a step, resampling, and moves; False where it cannot go on."""
        step, length = self._newton_step() if self.slack else self._natural()
        if not np.isfinite(length) or np.abs(np.asarray(self.tilt.eta)).max() >= MOST:
            return False
        if self.held == 0 and length > _NEAR:
            target = self._as_far(step)
        else:
            self.held += 1
            target = self._hold()
        logs = self._log_weights(target)
        self._resample(logs)
        self.tilt, self.alive = target, np.ones(self.size, bool)
        accepted = self._move()
        self.found = self._spread()
        self._tell(length, accepted)
        return True

    def _natural(self) -> tuple[Callable[[float], Array], float]:
        """eta after a share of the natural step, and the length of the residual."""
        a, b, length = natural(self.found)

        def after(share: float) -> Array:
            return tilted(self.tilt.eta, (a, b), self.found.mean, jnp.asarray(share))

        return after, float(length)

    def _newton_step(self) -> tuple[Callable[[float], Array], float]:
        """The same of Newton's step, which slack keeps short where moments hang together."""
        T = _moments(self._anew())
        away = T - T.mean(axis=0)
        curvature = away.T @ away / self.size + np.diag(self._allowed()[1])
        residual = self._goal() - T.mean(axis=0)
        step = np.linalg.solve(curvature, residual)
        whole = jnp.asarray(step.reshape(2, -1), jnp.float32)
        return lambda share: self.tilt.eta + share * whole, float(np.sqrt(residual @ step))

    def _as_far(self, after: Callable[[float], Array]) -> Tilt:
        """A step, as long as weights allow."""

        def at(share: float) -> Tilt:
            return Tilt(after(share), self.tilt.base)

        return at(self._longest(at))

    def _hold(self) -> Tilt:
        """As far towards the problem's base measure as weights allow, and a step of Newton's."""

        def at(share: float) -> Tilt:
            return Tilt(self.tilt.eta, self.tilt.base + share * (1 - self.tilt.base))

        further = at(1.0) if self.there else at(self._longest(at))
        if not self.there:
            self.held = 1
            if float(further.base) > 0.999:
                further = further._replace(base=jnp.ones(()))
        kept, anew = _moments(self.members.features), _moments(self._anew())
        goal = self._goal()
        away = anew - anew.mean(axis=0)  # eta moves what simulations anew give by what is kept
        response = away.T @ (kept - kept.mean(axis=0)) / self.size
        response += np.diag(1e-3 * anew.var(axis=0) + 1e-9 + self._allowed()[1])
        step = np.linalg.solve(response, goal - anew.mean(axis=0)) / self.held
        return further._replace(eta=self.tilt.eta + jnp.asarray(step, jnp.float32).reshape(2, -1))

    def _longest(self, at: Callable[[float], Tilt]) -> float:
        """The largest share of a step, up to 1, that leaves weights worth enough."""

        def worth(share: float) -> float:
            logs = self._log_weights(at(share))
            weights = np.exp(logs - logs.max())
            return float(weights.sum() ** 2 / (weights**2).sum()) / self.alive.sum()

        if worth(1.0) >= _WORTH:
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if worth(middle) > _WORTH else (low, middle)
        return low

    def _log_weights(self, target: Tilt) -> np.ndarray:
        logs = np.asarray(_log_p(self.members, target) - _log_p(self.members, self.tilt))
        return np.where(self.alive, logs, -np.inf).astype(np.float64)

    def _resample(self, logs: np.ndarray) -> None:
        """Systematically, within islands; the mean weights are theirs of Z."""
        each = self.size // _ISLANDS
        rows = np.empty((each, _ISLANDS), int)
        for i in range(_ISLANDS):
            mine = logs[i::_ISLANDS]
            top = mine.max()
            weights = np.exp(mine - top)
            self.log_z[i] += np.log(weights.mean()) + top
            ends = np.cumsum(weights) / weights.sum()
            places = np.searchsorted(ends, (np.arange(each) + self.rng.uniform()) / each)
            rows[:, i] = self.rng.permutation(np.minimum(places, each - 1)) * _ISLANDS + i
        chosen = jnp.asarray(rows.ravel())
        self.members = jax.tree.map(lambda part: part[..., chosen], _turned(self.members))
        self.members = _turned(self.members)

    def _move(self) -> float:
        before = np.asarray(self.members.features.u)
        for _ in range(self.looks):
            moved = _moved(self.problem, self.members, self.tilt, self._next(), self.scale)
            self.members, self.scale, accepted = moved
            self.simulated += self.size * _SWEEPS
            if _alike(before, np.asarray(self.members.features.u)) < _FORGOTTEN:
                break
        return float(accepted)

    def _anew(self) -> Features:
        """T of the members, of simulations anew where they are noisy."""
        if not self.noisy:
            return self.members.features
        self.simulated += self.size
        return _again(self.problem, self.members.z, self._next())

    def _spread(self) -> Spread:
        found = self._anew()
        return spread(found.u, found.square, jnp.asarray(found.valid, jnp.float32))

    def _next(self) -> Array:
        self.key, key = jr.split(self.key)
        return key

    def _goal(self) -> np.ndarray:
        """What moments should be, (2 r,): the property's, less what slack allows."""
        return np.repeat([0.0, 1.0], self.problem.constraints) - self._allowed()[0]

    def _allowed(self) -> tuple[np.ndarray, np.ndarray]:
        allowed, slope = allowance(np.asarray(self.tilt.eta, np.float64), self.slack)
        return np.asarray(allowed), np.asarray(slope)

    def _tell(self, length: float, accepted: float) -> None:
        eta = np.asarray(self.tilt.eta, np.float64).ravel()
        islands = self.log_z - float(eta @ self._goal())
        self.levels.append({
            "entropy": float(islands.mean()), "islands": islands.tolist(), "length": length,
            "mean": np.asarray(self.found.mean).tolist(), "accepted": accepted,
            "variance": np.asarray(self.found.variance).tolist(), "simulated": self.simulated,
            "base": float(self.tilt.base),
        })  # fmt: skip


def _moments(features: Features) -> np.ndarray:
    """T as one matrix (n, 2 r), in double precision."""
    return np.concatenate([np.asarray(part, np.float64) for part in features[:2]], axis=1)


def _turned(members: Members) -> Members:
    """Members with rows as columns in their features, and back."""
    u, square, valid = members.features
    return members._replace(features=Features(u.T, square.T, valid))


def _alike(before: np.ndarray, after: np.ndarray) -> float:
    """The largest correlation of a statistic with what it was."""
    a, b = before - before.mean(axis=0), after - after.mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)) + 1e-12
    return float(((a * b).sum(axis=0) / norm).max())


def _log_p(members: Members, tilt: Tilt) -> Array:
    base = (1 - tilt.base) * members.log_n + tilt.base * members.log_b
    logs = base + natural_log(members.features, tilt.eta)
    return jnp.where(members.features.valid, logs, -jnp.inf)


def _simulated(problem: Problem, z: Array, key: Array) -> Members:
    theta, log_b = problem.parameters(z)
    return Members(
        z, problem.features(problem.simulate(theta, key)), standard_normal(z), log_b
    )  # fmt: skip


@eqx.filter_jit
def _first(problem: Problem, key: Array, size: int) -> Members:
    one, two = jr.split(key)
    return _simulated(problem, jr.normal(one, (len(problem.prior), size)), two)


@eqx.filter_jit
def _again(problem: Problem, z: Array, key: Array) -> Features:
    return _simulated(problem, z, key).features


@eqx.filter_jit
def _moved(problem: Problem, members: Members, tilt: Tilt, key: Array, scale: Array):
    """A few sweeps over both halves: the members, the scale that fits them, and what it accepts."""
    half = members.z.shape[1] // 2
    turned = _turned(members)
    halves = [_turned(jax.tree.map(lambda part, s=s: part[..., s], turned))
              for s in (slice(half), slice(half, None))]  # fmt: skip

    def move(carry, key):
        (mine, other), scale = carry
        mine, scale, accepted = _evolved(problem, mine, other, tilt, key, scale)
        return ((other, mine), scale), accepted

    keys = jax.vmap(jr.split)(jr.split(key, _SWEEPS)).ravel()
    (halves, scale), accepted = jax.lax.scan(move, (tuple(halves), scale), keys)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], -1), *map(_turned, halves))
    return _turned(both), scale, jnp.mean(accepted[1::2])


def _evolved(
    problem: Problem, mine: Members, other: Members, tilt: Tilt, key: Array, scale: Array
) -> tuple[Members, Array, Array]:  # fmt: skip
    """One half after a Metropolis step along differences of the other."""
    dim, n = mine.z.shape
    keys = jr.split(key, 7)
    a = jr.randint(keys[0], (n,), 0, n)
    b = (a + jr.randint(keys[1], (n,), 1, n)) % n
    jump = jr.bernoulli(keys[2], _JUMP, (n,))
    size = scale * 2.38 / np.sqrt(2 * dim) * jnp.exp(_VARIED * jr.normal(keys[3], (n,)))
    along = jnp.where(jump, 1.0, size) * (other.z[:, a] - other.z[:, b])
    new = _simulated(problem, mine.z + along + _JITTER * jr.normal(keys[4], (dim, n)), keys[5])
    ratio = _log_p(new, tilt) - _log_p(mine, tilt)
    taken = jnp.log(jr.uniform(keys[6], (n,))) < ratio
    kept = jax.tree.map(lambda x, y: jnp.where(taken, x, y), _turned(new), _turned(mine))
    accepted = jnp.sum(taken & ~jump) / jnp.maximum(jnp.sum(~jump), 1)
    return _turned(kept), scale * jnp.exp(0.3 * (accepted - _ACCEPTED)), accepted
