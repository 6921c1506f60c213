"""``Posterior``: a distribution over parameters given a target.

Methods return subclasses; diagnostics, landscape and plots ask for nothing beyond what stands here.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import numpy as np
from jaxtyping import Array, ArrayLike

from lanternfish.core.columns import Column
from lanternfish.core.files import Folder
from lanternfish.core.prior import Prior
from lanternfish.core.properties import EmergentProperty
from lanternfish.core.table import Table, as_table
from lanternfish.core.targets import Observation


class Posterior(abc.ABC):
    """Samples, normalised log density and gradients, by parameter name."""

    kind: str  #: name under the entry-point group ``lanternfish.posteriors``
    prior: Prior
    statistics: tuple[Column, ...]
    observation: Observation
    has_density: bool = True  #: whether ``log_prob`` is known

    @cached_property
    def target(self) -> Observation | EmergentProperty:
        """What the model should do: the observation, where a subclass has no other target."""
        return self.observation

    @property
    def parameters(self) -> tuple[Column, ...]:
        return self.prior.columns

    @abc.abstractmethod
    def sample(self, n: int, seed: int = 0) -> Table:
        """``n`` independent samples. Each lies inside the prior's bounds; no loop, no rejection."""

    def at_hand(self, n: int, seed: int = 0) -> Table:
        """At most ``n`` samples: those that the posterior keeps, where new ones take long."""
        return self.sample(n, seed=seed)

    @abc.abstractmethod
    def log_density(self, theta: Array) -> Array:
        """Normalised log density of one point (d,): a JAX function, differentiable."""

    @abc.abstractmethod
    def at(self, observation: Observation) -> Posterior:
        """The posterior for another observation.

        Raises:
            ValueError: if the posterior was trained for one observation alone.
        """

    @abc.abstractmethod
    def write(self, folder: Folder) -> None:
        """Store the posterior as JSON and safetensors."""

    @cached_property
    def _rows(self) -> tuple[Callable[[ArrayLike], Array], Callable[[ArrayLike], Array]]:
        """Compiled log density and gradient of rows (n, d)."""
        return jax.jit(jax.vmap(self.log_density)), jax.jit(jax.vmap(jax.grad(self.log_density)))

    def log_prob(self, theta) -> np.ndarray:
        """Normalised log density, shape (n,); minus infinity outside the prior's bounds.

        Args:
            theta: a table, a mapping of names, or an array (n, d) or (d,).
        """
        array = as_table(theta, self.parameters, "theta").array
        inside = self.prior.contains(array)
        held = np.clip(np.nan_to_num(array), self.prior.low, self.prior.high)
        return np.where(inside, np.asarray(self._rows[0](held), np.float64), -np.inf)

    def gradient(self, theta) -> np.ndarray:
        """Gradient of ``log_prob`` with respect to the parameters, shape (n, d).

        Raises:
            ValueError: if a row lies outside the prior's bounds.
        """
        table = self.prior.check_inside(theta)
        return np.asarray(self._rows[1](table.array), np.float64)

    def map(self, seed: int = 0, starts: int = 2_000) -> Table:
        """The parameters of highest density, a table of one row.

        Gradient ascent (L-BFGS-B inside the prior's bounds, each parameter scaled by the spread of
        the samples) from the best of ``starts`` samples. A point of the parameter space, so it
        moves when a parameter is transformed; the marginals do not.
        """
        from scipy.optimize import minimize

        samples = self.sample(starts, seed=seed)
        scores = self.log_prob(samples)
        scale = samples.array.std(axis=0) + np.finfo(np.float32).tiny
        best = samples.array[np.argsort(scores)[::-1][:5]]
        margin = 1e-4 * scale
        low, high = self.prior.low + margin, self.prior.high - margin
        bounds = list(zip(low / scale, high / scale, strict=True))

        def loss(point):
            theta = np.clip(point * scale, low, high)
            value, slope = float(self._rows[0](theta[None])[0]), self._rows[1](theta[None])[0]
            return -value, -np.asarray(slope, np.float64) * scale

        climb = partial(minimize, loss, jac=True, bounds=bounds, method="L-BFGS-B")
        found = [climb(point / scale) for point in best]
        ends = np.stack([np.clip(f.x * scale, low, high) for f in found] + [best[0]])
        return Table(ends[np.argmax(self.log_prob(ends))][None], self.parameters)

    def marginal(self, name: str, n: int = 10_000, seed: int = 0) -> Marginal:
        """The marginal of one parameter, from ``n`` samples."""
        samples = self.sample(n, seed=seed)
        values = samples[name]
        return Marginal(self.parameters[samples.names.index(name)], values, self.prior)

    def marginals(self, n: int = 10_000, seed: int = 0) -> list[Marginal]:
        """The marginals of all parameters, from the same ``n`` samples."""
        samples = self.sample(n, seed=seed)
        return [Marginal(c, samples[c.name], self.prior) for c in self.parameters]


@dataclass(frozen=True)
class Marginal:
    """The posterior of one parameter by itself.

    Attributes:
        column: the parameter.
        samples: shape (n,), in its unit.
    """

    column: Column
    samples: np.ndarray
    prior: Prior

    @property
    def mean(self) -> float:
        return float(np.mean(self.samples))

    @property
    def sd(self) -> float:
        return float(np.std(self.samples))

    def interval(self, mass: float = 0.9) -> tuple[float, float]:
        """The central interval that holds this share of the posterior."""
        if not 0 < mass < 1:
            raise ValueError(f"Expected a mass between 0 and 1; got {mass}.")
        low, high = np.quantile(self.samples, [(1 - mass) / 2, (1 + mass) / 2])
        return float(low), float(high)

    def density(self, values) -> np.ndarray:
        """Probability density at these values, shape (n,), per unit of the parameter.

        A Gaussian kernel estimate of the samples, reflected at the prior's bounds.
        """
        from scipy.stats import gaussian_kde  # slow to import, and seldom needed

        i = self.prior.names.index(self.column.name)
        low, high = self.prior.low[i], self.prior.high[i]
        values = np.atleast_1d(np.asarray(values, np.float64))
        estimate = gaussian_kde(self.samples)
        total = estimate(values)
        for bound in (low, high):
            if np.isfinite(bound):
                total = total + estimate(2 * bound - values)
        return np.where((values >= low) & (values <= high), total, 0.0)

    def __repr__(self) -> str:
        low, high = self.interval()
        spread = f"{self.mean:.4g} [{low:.4g}, {high:.4g}]"
        return f"{self.column.name} = {spread} {self.column.unit}".rstrip()
