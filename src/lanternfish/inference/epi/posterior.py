"""The distribution that EPI finds: a pushforward in the prior's unbounded space.

    theta = B(f(e)),  e ~ N(0, I),    log q(theta) = log N(e; 0, I) - log |det df/de| - log |dB/dz|

with B the prior's bijection, so that all mass lies inside the prior's bounds. It is a ``Posterior``
like any other; its ``target`` is an emergent property where others have an observation. Learned for
a range of properties, ``at`` gives the distribution of any of them at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike

from lanternfish import flows
from lanternfish.core import (
    Column,
    EmergentProperty,
    Folder,
    Posterior,
    Prior,
    PropertyRange,
    Table,
)
from lanternfish.core.posterior_files import read_common, write_common
from lanternfish.core.prior import key_data
from lanternfish.core.seeds import mix, stream
from lanternfish.inference.weights import read_weights, write_weights

_BLOCK = 1024  # draws at a time, always: a sample's bits do not depend on how many there are
_WEIGHTS = "posterior.safetensors"


@dataclass(frozen=True)
class EPIPosterior(Posterior):
    """q(theta) of a trained pushforward.

    Attributes:
        prior: of the model; its bounds are those of q.
        statistics: that the model reports.
        target: the property that q was trained for.
        flow: the density in unbounded space.
        push: what the flow is made of.
        base: ``"uniform"`` or ``"prior"``, the measure that entropy is relative to.
        converged: whether q was proven to have the property.
        entropy: of q, in nats; NaN at another property of a range than the middle's.
        range: the properties that q was learned for, where there is a range of them.
    """

    prior: Prior
    statistics: tuple[Column, ...]
    target: EmergentProperty = field()  # pyright: ignore[reportIncompatibleVariableOverride]
    flow: flows.Pushforward
    push: flows.Push
    base: str = "uniform"
    converged: bool = False
    entropy: float = float("nan")
    range: PropertyRange | None = None
    kind = "epi"

    @cached_property
    def density(self) -> flows.Pushforward | flows.Steered:
        """The flow for this target."""
        if self.range is None:
            return self.flow
        means = {name: self.target[name].mean for name in self.range.ranges}
        return self.flow.steered(jnp.asarray(self.range.place(means)))

    def sample(self, n: int, seed: int = 0) -> Table:
        if n < 0:
            raise ValueError(f"Expected n of at least 0; got {n}.")
        seeds = mix(np.uint64(stream(seed, "draws")) + np.arange(n, dtype=np.uint64))
        return Table(self.sample_at(seeds), self.parameters)

    def sample_at(self, seeds: np.ndarray) -> np.ndarray:
        """The sample of each seed (n,) uint64, shape (n, d), whatever the other seeds are."""
        n = len(seeds)
        if not n:
            return np.zeros((0, len(self.prior)))
        words = np.resize(key_data(seeds), (-(-n // _BLOCK) * _BLOCK, 2))
        parts = [
            np.asarray(_draws(self.density, _Constant(self.prior), words[at : at + _BLOCK]))
            for at in range(0, len(words), _BLOCK)
        ]
        theta = np.concatenate(parts)[:n].astype(np.float64)
        return np.clip(theta, self.prior.low, self.prior.high)

    def log_density(self, theta: Array) -> Array:
        return _log_density(self.density, self.prior, theta)

    @cached_property
    def _rows(self):
        rest = self.density, _Constant(self.prior)
        return partial(_densities, *rest), partial(_gradients, *rest)

    def at(self, observation: EmergentProperty) -> EPIPosterior:  # pyright: ignore
        if observation == self.target:
            return self
        if self.range is not None:
            return self._of_range(observation)
        raise ValueError(
            f"Expected the property that this distribution was found for, {self.target!r}; got "
            f"{observation!r}: call infer for the new one, or for a PropertyRange, any of which is "
            "then had at once."
        )

    def _of_range(self, wanted: EmergentProperty) -> EPIPosterior:
        assert self.range is not None
        fits = set(wanted) == set(self.range) and wanted.total_variance == self.range.total_variance
        stays = fits and all(
            np.isclose(wanted[name].sd, moments.sd)
            and (name in self.range.ranges or np.isclose(wanted[name].mean, moments.mean))
            for name, moments in self.range.items()
        )
        if not stays:
            raise ValueError(
                f"Expected a property of the range that was learned, {self.range!r}; got "
                f"{wanted!r}: only means inside their intervals may differ."
            )
        found = self.range.at(**{name: wanted[name].mean for name in self.range.ranges})
        middle = self.range.middle
        entropy = self.entropy if found == middle else float("nan")
        return replace(self, target=found, entropy=entropy)

    def write(self, folder: Folder) -> None:
        details = {
            "push": asdict(self.push),
            "base": self.base,
            "converged": self.converged,
            "entropy": self.entropy if np.isfinite(self.entropy) else None,
            "range": None if self.range is None else self.range.as_plain(),
        }
        write_weights(folder, _WEIGHTS, self.flow)
        write_common(folder, self, details)


class _Constant(eqx.Module):
    """A prior as a constant of compiled programs."""

    prior: Prior = eqx.field(static=True)


def _log_density(flow: flows.Pushforward | flows.Steered, prior: Prior, theta: Array) -> Array:
    z, slope = prior.bijection.inverse_and_log_det(theta)
    return flow.log_prob(z[:, None])[0] + slope


@eqx.filter_jit
def _densities(flow, constant: _Constant, theta: ArrayLike) -> Array:
    return _rows_density(flow, constant.prior, jnp.asarray(theta, float))


def _rows_density(flow: flows.Pushforward | flows.Steered, prior: Prior, theta: Array) -> Array:
    z, slope = jax.vmap(prior.bijection.inverse_and_log_det)(theta)
    return flow.log_prob(z.T) + slope


@eqx.filter_jit
def _gradients(flow, constant: _Constant, theta: ArrayLike) -> Array:
    return jax.grad(lambda rows: jnp.sum(_rows_density(flow, constant.prior, rows)))(
        jnp.asarray(theta, float)
    )


@eqx.filter_jit
def _draws(flow, constant: _Constant, words: ArrayLike) -> Array:
    dim = len(constant.prior)
    noise = jax.vmap(lambda w: jr.normal(jr.wrap_key_data(w, impl="threefry2x32"), (dim,)))(words)
    return jax.vmap(constant.prior.bijection.transform)(flow.forward(noise.T)[0].T)


def read(folder: Folder, prior: Prior | None = None) -> EPIPosterior:
    """The posterior stored in a folder; the entry point ``epi`` of ``lanternfish.posteriors``.

    Args:
        prior: of the model, needed where it holds a user's own law.
    """
    common, details = read_common(folder, prior)
    push = flows.Push(**details["push"])
    plain = details.get("range")
    ranged = None if plain is None else PropertyRange.from_plain(plain, common["target"].name)
    assert ranged is None or isinstance(ranged, PropertyRange)
    steered = 0 if ranged is None else len(ranged.ranges)
    blank = flows.pushforward(0, push, len(common["prior"]), steered)
    entropy = details["entropy"]
    return EPIPosterior(
        prior=common["prior"],
        statistics=common["statistics"],
        target=common["target"],
        flow=read_weights(folder, _WEIGHTS, blank),
        push=push,
        base=details["base"],
        converged=details["converged"],
        entropy=float("nan") if entropy is None else entropy,
        range=ranged,
    )
