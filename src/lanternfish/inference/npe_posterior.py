"""The posterior that NPE learns: a conditional flow in the prior's unbounded space.

    log q(theta | x) = log q_z(z | x) - log |d theta / d z|,    theta = T(z)

with T the prior's bijection. All mass lies inside the prior's bounds by construction: sampling is
one pass, and the density is normalised without a correction for leakage.
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
from lanternfish.core.posterior_files import read_common, write_common

_BLOCK = 4096


@dataclass(frozen=True)
class NPEPosterior(Posterior):
    """q(theta | x) of a trained flow.

    Attributes:
        prior: of the model.
        statistics: columns of x.
        observation: the x that it is conditioned on.
        flow: the trained density.
        architecture: what the flow is made of.
        amortised: whether it holds for any observation, not this one alone.
    """

    prior: Prior
    statistics: tuple[Column, ...]
    observation: Observation
    flow: flows.ConditionalFlow
    architecture: flows.Architecture
    amortised: bool = True
    kind = "npe"

    @cached_property
    def x(self) -> Array:
        """The observation in the order of the statistics, shape (k,)."""
        return jnp.asarray(self.observation.array_for(self.statistics), jnp.float32)

    @cached_property
    def ready(self) -> flows.ConditionalFlow:
        """The flow with its wrapped parameters resolved."""
        return paramax.unwrap(self.flow)

    def sample(self, n: int, seed: int = 0) -> Table:
        if n < 0:
            raise ValueError(f"Expected n of at least 0; got {n}.")
        block = min(_BLOCK, 1 << max(6, (n - 1).bit_length() if n else 6))
        parts = [np.zeros((0, len(self.prior)))]
        for start in range(0, n, block):
            key = jr.fold_in(jr.key(seed % 2**32), start // block)
            drawn = _draw(self.ready, Constant(self.prior), self.x, jr.split(key, block))
            parts.append(np.asarray(drawn, np.float64)[: n - start])
        samples = np.clip(np.concatenate(parts), self.prior.low, self.prior.high)
        return Table(samples, self.parameters)

    def log_density(self, theta: Array) -> Array:
        return log_density(self.ready, self.prior, self.x, theta)

    @cached_property
    def _rows(self):
        rest = (self.ready, Constant(self.prior), self.x)
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
        details = {"architecture": asdict(self.architecture), "amortised": self.amortised}
        write_common(folder, self, details)
        leaves = jax.tree.leaves(eqx.filter(self.flow, eqx.is_array))
        folder.write_weights(
            "posterior.safetensors", {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        )


class Constant(eqx.Module):
    """A prior as a constant of compiled programs, which posteriors of one prior then share."""

    prior: Prior = eqx.field(static=True)


def log_density(flow, prior: Prior, x: Array, theta: Array) -> Array:
    """log q(theta | x) of one point."""
    z, slope = prior.bijection.inverse_and_log_det(theta)
    return flow.log_prob(z, x) + slope


@eqx.filter_jit
def _densities(flow, constant: Constant, x: Array, theta: Array) -> Array:
    return jax.vmap(lambda row: log_density(flow, constant.prior, x, row))(theta)


@eqx.filter_jit
def _gradients(flow, constant: Constant, x: Array, theta: Array) -> Array:
    return jax.vmap(jax.grad(lambda row: log_density(flow, constant.prior, x, row)))(theta)


@eqx.filter_jit
def _draw(flow, constant: Constant, x: Array, keys: Array) -> Array:
    bijection = constant.prior.bijection
    return jax.vmap(lambda key: bijection.transform(flow.sample(key, x)))(keys)


def read(folder: Folder, prior: Prior | None = None) -> NPEPosterior:
    """The posterior stored in a folder; the entry point ``npe`` of ``lanternfish.posteriors``.

    Args:
        prior: of the model, needed where it holds a user's own law.
    """
    common, details = read_common(folder, prior)
    architecture = flows.Architecture(**details["architecture"])
    empty = flows.empty(architecture, len(common["prior"]), len(common["statistics"]))
    weights = folder.read_weights("posterior.safetensors")
    arrays, rest = eqx.partition(empty, eqx.is_array)
    structure = jax.tree.structure(arrays)
    leaves = [jnp.asarray(weights[f"{i:04d}"]) for i in range(structure.num_leaves)]
    flow = eqx.combine(jax.tree.unflatten(structure, leaves), rest)
    return NPEPosterior(
        flow=flow, architecture=architecture, amortised=details["amortised"], **common
    )
