"""The posterior that NPE learns: a conditional flow in the prior's unbounded space.

    log q(theta | x) = log q_z(z | x) - log |d theta / d z|,    theta = T(z)

with T the prior's bijection. All mass lies inside the prior's bounds by construction: sampling is
one pass, and the density is normalised without a correction for leakage.

Where some simulations were invalid, the flow is restricted to the region V where they can be valid
(see ``validity``), with its mass there as the new constant:

    log q_V(theta | x) = log q(theta | x) - log q(V | x)   inside V, minus infinity outside.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import paramax
from jaxtyping import Array

from lanternfish import flows
from lanternfish.core import Column, Folder, Observation, Posterior, Prior, Table
from lanternfish.core.compilation import fast_jit
from lanternfish.core.posterior_files import read_common, write_common
from lanternfish.core.prior import key_data
from lanternfish.core.seeds import mix, stream
from lanternfish.inference.agreement import nats
from lanternfish.inference.validity import Validity
from lanternfish.inference.weights import read_weights, write_weights

_BLOCK = {"cpu": 256}  # draws that go through the flow together: as many as a core's cache holds
_MOST = 4096  # of other devices
_MEMBER = np.uint64(0x6D656D6265727300)  # tells the word that picks a member from the draw's
_MASS_DRAWS = 16_384
TRIES = 20  # draws of the flow for one sample, at most; the last is kept where all were dead


@dataclass(frozen=True)
class NPEPosterior(Posterior):
    """q(theta | x) of a trained flow.

    Attributes:
        prior: of the model.
        statistics: columns of x.
        observation: the x that it is conditioned on.
        flow: the trained density, or an ensemble of several.
        architecture: what the flow is made of.
        amortised: whether it holds for any observation, not this one alone.
        validity: where simulations are valid, if some were not; there is no mass elsewhere.
    """

    prior: Prior
    statistics: tuple[Column, ...]
    observation: Observation
    flow: flows.ConditionalFlow | flows.Ensemble
    architecture: flows.Architecture
    amortised: bool = True
    validity: Validity | None = None
    kind = "npe"

    @cached_property
    def x(self) -> Array:
        """The observation in the order of the statistics, shape (k,)."""
        return jax.device_put(np.float32(self.observation.array_for(self.statistics)))

    @property
    def members(self) -> int:
        """How many flows there are."""
        return self.flow.size if isinstance(self.flow, flows.Ensemble) else 1

    def disagreement(self, n: int = 1_000, seed: int = 0) -> float:
        """How much the members disagree, in nats: 0 where all say the same, at most log(members).

        See ``agreement``.
        """
        if not isinstance(self.flow, flows.Ensemble):
            return 0.0
        theta = jnp.asarray(self.sample(n, seed).array)
        logs = _of_members(self.ready, Constant(self.prior), self.x, theta)
        return nats(np.asarray(logs, np.float64))

    @cached_property
    def ready(self) -> flows.ConditionalFlow | flows.Ensemble:
        """The flow with its wrapped parameters resolved."""
        return paramax.unwrap(self.flow)

    def sample(self, n: int, seed: int = 0) -> Table:
        """Draws of the flow, and new draws, up to ``TRIES`` times, for those in the dead region."""
        if n < 0:
            raise ValueError(f"Expected n of at least 0; got {n}.")
        return Table(self.sample_at(_seeds(n, stream(seed, "attempt 0"))), self.parameters)

    def sample_at(self, seeds: np.ndarray) -> np.ndarray:
        """The sample of each seed (n,) uint64, shape (n, d), whatever the other seeds are."""
        theta = np.zeros((len(seeds), len(self.prior)))
        missing = np.arange(len(seeds))
        for attempt in range(TRIES):
            if not len(missing):
                break
            with np.errstate(over="ignore"):
                again = mix(seeds[missing] + np.uint64(attempt)) if attempt else seeds
            theta[missing], alive = self._draws_at(again)
            missing = missing[~alive]
        return np.clip(theta, self.prior.low, self.prior.high)

    def _draws_at(self, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One draw for each seed (n,), shape (n, d), and whether it is where simulations live.

        The seed decides which member draws; all share a program.
        """
        theta, alive = np.zeros((len(seeds), len(self.prior))), np.zeros(len(seeds), bool)
        which = mix(seeds ^ _MEMBER) % np.uint64(self.members)
        rows = [np.flatnonzero(which == i) for i in range(self.members)]
        block = _BLOCK.get(jax.default_backend(), _MOST)
        for flow, mine in zip(self._alone, rows, strict=True):
            words = np.resize(key_data(seeds[mine]), (-(-len(mine) // block) * block, 2))
            parts = (flow, self.validity, Constant(self.prior), self.x)
            for at in range(0, len(mine), block):
                drawn = _draws(*parts, words[at : at + block])
                here = mine[at : at + block]
                theta[here], alive[here] = (np.asarray(a)[: len(here)] for a in drawn)
        return theta, alive

    @cached_property
    def _alone(self) -> list[flows.ConditionalFlow]:
        """The members, each by itself, ready."""
        return self.ready.members() if isinstance(self.ready, flows.Ensemble) else [self.ready]

    @cached_property
    def log_mass(self) -> float:
        """Log of the share of the flow's mass that lies where simulations are valid."""
        if self.validity is None:
            return 0.0
        alive = self._draws_at(_seeds(_MASS_DRAWS, 0))[1]
        return float(np.log(max(alive.mean(), 1 / _MASS_DRAWS)))

    def log_density(self, theta: Array) -> Array:
        inside = self.validity, self.log_mass
        return log_density((self.ready, *inside), self.prior, self.x, theta)

    @cached_property
    def _rows(self):
        rest = ((self.ready, self.validity, self.log_mass), Constant(self.prior), self.x)
        return partial(_densities, *rest), partial(_gradients, *rest)

    def at(self, observation: Observation) -> NPEPosterior:
        if not self.amortised:
            raise ValueError(
                "Expected an amortised posterior, trained with NPE(rounds=1); got one of several "
                "rounds, which were spent around one observation: call infer for the new one."
            )
        observation.array_for(self.statistics)
        return replace(self, observation=observation)

    def write(self, folder: Folder) -> None:
        details = {
            "architecture": asdict(self.architecture),
            "amortised": self.amortised,
            "members": self.members,
            "validity": self.validity is not None,
        }
        layout = self.flow.condition.layout
        if any(part != flows.Part() for part in layout):
            details["layout"] = [[p.kind, list(p.shape), p.masked] for p in layout]
        write_weights(folder, "posterior.safetensors", self.flow)
        if self.validity is not None:
            write_weights(folder, "validity.safetensors", self.validity)
        write_common(folder, self, details)


def _seeds(n: int, seed: int) -> np.ndarray:
    """Seeds of n samples, shape (n,) uint64."""
    return mix(np.uint64(seed) + np.arange(n, dtype=np.uint64))


class Constant(eqx.Module):
    """A prior as a constant of compiled programs, which posteriors of one prior then share."""

    prior: Prior = eqx.field(static=True)


def log_density(parts, prior: Prior, x: Array, theta: Array) -> Array:
    """log q(theta | x) of one point; ``parts`` are flow, validity and log mass."""
    flow, validity, log_mass = parts
    z, slope = prior.bijection.inverse_and_log_det(theta)
    value = flow.log_prob(z, x) + slope - log_mass
    return value if validity is None else jnp.where(validity.allows(z), value, -jnp.inf)


@fast_jit
def _densities(parts, constant: Constant, x: Array, theta: Array) -> Array:
    flow, validity, log_mass = parts
    z, slopes = jax.vmap(constant.prior.bijection.inverse_and_log_det)(theta)
    values = flow.log_probs(z, x) + slopes - log_mass
    return values if validity is None else jnp.where(jax.vmap(validity.allows)(z), values, -jnp.inf)


@fast_jit
def _of_members(ensemble, constant: Constant, x: Array, theta: Array) -> Array:
    return ensemble.of_members(jax.vmap(constant.prior.bijection.inverse)(theta), x)


@eqx.filter_jit
def _gradients(parts, constant: Constant, x: Array, theta: Array) -> Array:
    return jax.vmap(jax.grad(lambda row: log_density(parts, constant.prior, x, row)))(theta)


@partial(fast_jit, brief=True)
def _draws(flow, validity, constant: Constant, x: Array, words: Array) -> tuple[Array, Array]:
    z = flow.samples(jr.wrap_key_data(words, impl="threefry2x32"), x)
    alive = jnp.ones(len(z), bool) if validity is None else jax.vmap(validity.allows)(z)
    return jax.vmap(constant.prior.bijection.transform)(z), alive


def read(folder: Folder, prior: Prior | None = None) -> NPEPosterior:
    """The posterior stored in a folder; the entry point ``npe`` of ``lanternfish.posteriors``.

    Args:
        prior: of the model, needed where it holds a user's own law.
    """
    common, details = read_common(folder, prior)
    architecture = flows.Architecture(**details["architecture"])
    layout: list[flows.Part] | int = len(common["statistics"])
    if "layout" in details:
        layout = [flows.Part(kind, tuple(shape), m) for kind, shape, m in details["layout"]]
    members = details.get("members", 1)
    empty = flows.empty_ensemble(architecture, len(common["prior"]), layout, members)
    flow = read_weights(folder, "posterior.safetensors", empty)
    validity = None
    if details.get("validity", False):
        blank = Validity(np.random.default_rng(0), len(common["prior"]))
        validity = read_weights(folder, "validity.safetensors", blank)
    return NPEPosterior(
        flow=flow,
        architecture=architecture,
        amortised=details["amortised"],
        validity=validity,
        **common,
    )
