"""Conditional distributions: some parameters of a posterior given all the others.

    p(theta_free | theta_given, x)  ~  p(theta_free, theta_given | x),

exact for the density that the posterior has. Of one or two free parameters the density is
normalised by quadrature (``slices``); of more it is known up to a constant, and samples come from
slice sampling (``slice_sampling``), for which split R-hat says whether its chains agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import jax.numpy as jnp
import numpy as np

from lanternfish.core import Column, Posterior, Table
from lanternfish.core.seeds import stream
from lanternfish.core.table import as_table
from lanternfish.landscape.density import check_density, density_of
from lanternfish.landscape.slice_sampling import Box, draw, rhat
from lanternfish.landscape.slices import DROP, weights
from lanternfish.landscape.space import Space
from lanternfish.landscape.words import aligned, named

_SAMPLES = 4_000
_LINE, _PLANE = 1_025, 129  # nodes of grids
_LOOKS = 6  # at ever smaller windows
_CHAINS = 256
_NEGLIGIBLE = 30.0  # nats below the lowest sample
_FAR = 30.0  # standard deviations: where a parameter without bounds ends
_AGREE = 1.05  # of R-hat


@dataclass(frozen=True)
class Conditional:
    """A posterior given some of its parameters.

    Attributes:
        posterior: of all parameters.
        given: values by name.
        space: the posterior in units of its spread.
    """

    posterior: Posterior
    given: Mapping[str, float]
    space: Space = field(repr=False)

    @property
    def free(self) -> tuple[Column, ...]:
        """The parameters that are not given."""
        return tuple(c for c in self.posterior.parameters if c.name not in self.given)

    @cached_property
    def _places(self) -> np.ndarray:
        names = self.posterior.prior.names
        return np.array([names.index(c.name) for c in self.free])

    def _whole(self, free: np.ndarray) -> np.ndarray:
        """All parameters (n, d) of free ones (n, k)."""
        names = self.posterior.prior.names
        theta = np.empty((len(free), len(names)))
        theta[:, [names.index(n) for n in self.given]] = list(self.given.values())
        theta[:, self._places] = free
        return theta

    def log_density(self, free) -> np.ndarray:
        """Log density of all parameters with the given ones in place, (n,)."""
        array = as_table(free, self.free, "free parameters").array
        return self.posterior.log_prob(self._whole(array))

    def log_prob(self, free) -> np.ndarray:
        """Normalised conditional log density of free parameters, (n,).

        Raises:
            ValueError: with more than two free parameters, whose constant is not known.
        """
        if len(self.free) > 2:
            raise ValueError(
                f"Expected one or two free parameters for a normalised density; got "
                f"{len(self.free)}: use log_density, which lacks a constant, or sample."
            )
        return self.log_density(free) - self.log_mass

    @property
    def log_mass(self) -> float:
        """Log of the integral over the free parameters, of which there are one or two."""
        return self._grid[2]

    @property
    def grid(self) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Values of each free parameter, and the normalised density on all of them.

        One or two free parameters; shapes (n,) and (n,), or (n,), (m,) and (n, m), the first
        parameter along the first axis. Outside of the grid the density is negligible.
        """
        axes, height, mass, _ = self._grid
        return axes, np.exp(height - mass)

    @cached_property
    def _grid(self) -> tuple[tuple[np.ndarray, ...], np.ndarray, float, np.ndarray]:
        k = len(self.free)
        if k > 2:
            raise ValueError(f"Expected one or two free parameters for a grid; got {k}: sample.")
        windows = self._windows(65 if k == 1 else 33)
        n = _LINE if k == 1 else _PLANE
        axes = tuple(np.linspace(low, high, n) for low, high in windows)
        height = self._heights(axes)
        rule = [weights(n) * (axis[1] - axis[0]) for axis in axes]
        part = np.exp(height - height.max())
        part = part * (rule[0] if k == 1 else rule[0][:, None] * rule[1])
        return axes, height, float(np.log(part.sum()) + height.max()), part / part.sum()

    def _windows(self, n: int) -> list[tuple[float, float]]:
        """Ends between which the density of each free parameter is not negligible."""
        bounds = self._bounds
        windows = list(bounds)
        for _ in range(_LOOKS):
            axes = tuple(np.linspace(low, high, n) for low, high in windows)
            height = self._heights(axes)
            high = height > height.max() - 2 * DROP
            for i, axis in enumerate(axes):
                rows = np.flatnonzero(high if len(axes) == 1 else high.any(axis=1 - i))
                step = axis[1] - axis[0]
                low = max(axis[rows[0]] - step, bounds[i][0])
                windows[i] = (low, min(axis[rows[-1]] + step, bounds[i][1]))
        return windows

    @cached_property
    def _bounds(self) -> list[tuple[float, float]]:
        """Ends of the free parameters, in their units."""
        y, spread = self.space.samples.array, self.space.spread
        low = np.where(
            np.isfinite(self.space.low), self.space.low * spread, y.min(0) - _FAR * spread
        )
        high = np.where(
            np.isfinite(self.space.high), self.space.high * spread, y.max(0) + _FAR * spread
        )
        return [(float(low[i]), float(high[i])) for i in self._places]

    def _heights(self, axes: tuple[np.ndarray, ...]) -> np.ndarray:
        mesh = np.meshgrid(*axes, indexing="ij")
        points = np.stack([m.ravel() for m in mesh], axis=1)
        y = self._whole(points) / self.space.spread
        return self.space.density(y).reshape(mesh[0].shape)

    def sample(self, n: int, seed: int = 0) -> Table:
        """``n`` draws of the free parameters: exact for one, else the ends of chains."""
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise ValueError(f"Expected n, a whole number of at least 0; got {n!r}.")
        if len(self.free) == 1:
            return Table(self._inverse(int(n), seed)[:, None], self.free)
        return Table(self.chains(int(n), seed)[0][: int(n)], self.free)

    def _inverse(self, n: int, seed: int) -> np.ndarray:
        """Draws of one parameter, its density straight between 1,025 nodes."""
        (axis,), height, _, _ = self._grid
        p = np.exp(height - height.max())
        below = np.concatenate([[0.0], np.cumsum((p[1:] + p[:-1]) / 2)])
        u = np.random.default_rng(stream(seed, "conditional")).random(n) * below[-1]
        cell = np.clip(np.searchsorted(below, u, side="right") - 1, 0, len(axis) - 2)
        left, rise, rest = p[cell], p[cell + 1] - p[cell], u - below[cell]
        root = np.sqrt(np.maximum(left**2 + 2 * rise * rest, 0))
        share = 2 * rest / np.maximum(left + root, 1e-300)
        return axis[cell] + np.clip(share, 0, 1) * (axis[1] - axis[0])

    def chains(self, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """At least n draws (m, k), and split R-hat of each parameter over their chains, (k,)."""
        k = len(self.free)
        chains = int(np.clip(n // 4, 16, _CHAINS))
        keep = max(-(-n // chains), 4)
        unit = self.space.spread[self._places]
        low, high = np.array(self._bounds).T
        root = self._directions()
        box = Box(*(jnp.asarray(a, jnp.float32) for a in (low / unit, high / unit, root)))
        known = self._whole(np.zeros((1, k)))[0]
        arguments = (
            density_of(self.posterior, slope=False),
            jnp.asarray(known, jnp.float32),
            jnp.asarray(self._places),
            jnp.asarray(unit, jnp.float32),
        )
        found = draw(
            _at, arguments, box, self._starts(chains, seed) / unit, stream(seed, "chains"),
            burn=60 + 12 * k, keep=keep, thin=5 + 2 * k,
        )  # fmt: skip
        theta = np.clip(found * unit, low, high)
        order = np.random.default_rng(stream(seed, "order")).permutation(chains * keep)
        return theta.reshape(-1, k)[order], rhat(theta)

    def _directions(self) -> np.ndarray:
        """Root of 8 times the covariance that the free parameters have given the others, (k, k)."""
        y = self.space.samples.array / self.space.spread
        covariance = np.atleast_2d(np.cov(y.T)) + 1e-6 * np.eye(y.shape[1])
        precision = np.linalg.inv(covariance)[np.ix_(self._places, self._places)]
        return np.linalg.cholesky(8.0 * np.linalg.inv(precision))

    def _starts(self, chains: int, seed: int) -> np.ndarray:
        """Free parameters (chains, k) from which chains start: likely ones, some repeatedly."""
        free = self.space.samples.array[:, self._places]
        height = self.space.density(self._whole(free) / self.space.spread)
        rng = np.random.default_rng(stream(seed, "starts"))
        top = np.argsort(-height)[: max(chains, 16)]
        p = np.exp(np.clip((height[top] - height[top[0]]) / 4, -50, 0))
        return free[rng.choice(top, chains, p=p / p.sum())]

    def __repr__(self) -> str:
        told = ", ".join(f"{n} = {v:.4g}" for n, v in list(self.given.items())[:4])
        rest = f" and {len(self.given) - 4} more" if len(self.given) > 4 else ""
        lines = f"Conditional of {len(self.free)} parameters given {told}{rest}"
        if len(self.free) > 2:
            return lines
        axes = self.grid[0]
        rows = [["", "mean", "sd"]]
        for i, (column, axis) in enumerate(zip(self.free, axes, strict=True)):
            p = self._grid[3] if len(axes) == 1 else self._grid[3].sum(axis=1 - i)
            mean = float(p @ axis)
            rows.append([named(column), f"{mean:.4g}", f"{np.sqrt(p @ (axis - mean) ** 2):.3g}"])
        return f"{lines}\n{aligned(rows)}"


def _at(arguments, u):
    """Log density of free parameters u (k,), in units of their spread."""
    density, known, places, unit = arguments
    return density(known.at[places].set(u * unit))


def conditional(
    posterior: Posterior,
    given: Mapping[str, float] | Table,
    free: list[str] | tuple[str, ...] | None = None,
    *,
    seed: int = 0,
) -> Conditional:
    """The distribution of some parameters of a posterior given all the others.

    Args:
        posterior: any whose log density is known.
        given: values by name; with ``free``, of all parameters, such as one of the samples.
        free: names of those that are free, whose values in ``given`` are left out; all that are not
            given where left out.
        seed: of the samples that say how wide the posterior is.

    Raises:
        ValueError: if names do not fit, nothing is free or nothing given, a value lies outside the
            prior, or the posterior has negligible density for all that is free.
    """
    check_density(posterior)
    prior = posterior.prior
    values = _values(given, prior.names)
    names = [n for n in prior.names if n not in values] if free is None else list(free)
    unknown = [n for n in [*values, *names] if n not in prior.names]
    if isinstance(free, str) or unknown:
        got = ", ".join(map(str, unknown or names))
        raise ValueError(f"Expected names among {', '.join(prior.names)}; got {got}.")
    values = {n: v for n, v in values.items() if n not in names}
    lost = [n for n in prior.names if n not in values and n not in names]
    if lost or not names or not values:
        what = f"neither for {', '.join(lost)}" if lost else "nothing free" if not names else "none"
        raise ValueError(
            "Expected a value of each parameter that is not free, and one of either kind; got "
            f"{what}."
        )
    for name, value in values.items():
        i = prior.names.index(name)
        if not prior.low[i] <= value <= prior.high[i]:
            raise ValueError(
                f"Expected {name} between {prior.low[i]:.6g} and {prior.high[i]:.6g}, the prior's "
                f"bounds; got {value:.6g}: give a value of a sample."
            )
    space = Space.of(posterior, _SAMPLES, stream(seed, "conditional"))
    found = Conditional(posterior, values, space)
    _check_mass(found, names)
    return found


def _values(given, names: tuple[str, ...]) -> dict[str, float]:
    if isinstance(given, Table):
        if len(given) != 1:
            raise ValueError(f"Expected given as one point; got {len(given)} rows: choose one.")
        return dict(zip(given.names, given.array[0].tolist(), strict=True))
    if not isinstance(given, Mapping):
        raise TypeError(
            f"Expected given as values by name, such as {{{names[0]!r}: 1.0}}; got {given!r:.80}."
        )
    return {str(name): float(value) for name, value in given.items()}


def _check_mass(found: Conditional, names: list[str]) -> None:
    """A sentence where the given values lie outside of the posterior's support."""
    space = found.space
    samples = space.samples.array
    best = float(np.max(space.density(found._whole(samples[:, found._places]) / space.spread)))
    lowest = float(np.min(space.density(samples / space.spread)))
    if not best >= lowest - _NEGLIGIBLE:
        raise ValueError(
            "Expected given values that the posterior reaches; got a log density of at most "
            f"{best:.4g} over {len(samples):,} values of {', '.join(names[:3])}, while its own "
            f"lowest sample has {lowest:.4g}: give values of a sample."
        )


@dataclass(frozen=True)
class ConditionalPairs:
    """Conditional densities of single parameters and of pairs, all others held at one point.

    Attributes:
        columns: the parameters, k of them.
        at: their values at the point, (k,).
        lines: of each parameter values (n,) and normalised density (n,).
        planes: by the places (i, j), i < j, of two parameters: their values, (n,) and (m,), and the
            normalised density (n, m).
    """

    columns: tuple[Column, ...]
    at: np.ndarray
    lines: tuple[tuple[np.ndarray, np.ndarray], ...]
    planes: Mapping[tuple[int, int], tuple[tuple[np.ndarray, np.ndarray], np.ndarray]]


def conditional_pairs(posterior: Posterior, at, names=None, *, seed: int = 0) -> ConditionalPairs:
    """Conditional densities around one point, for ``plot.conditionals``.

    Args:
        posterior: any whose log density is known.
        at: one point, a table of one row or values by name, such as a sample or a mode.
        names: parameters to show, two to eight or so; all where left out.
        seed: as for ``conditional``.

    Raises:
        ValueError: as ``conditional``.
    """
    names = list(posterior.prior.names if names is None else names)
    first = conditional(posterior, at, names[:1], seed=seed)
    whole = {**_values(at, posterior.prior.names)}

    def of(free: list[str]) -> Conditional:
        given = {n: whole[n] for n in posterior.prior.names if n not in free}
        return Conditional(posterior, given, first.space)

    order = {n: k for k, n in enumerate(posterior.prior.names)}
    names = sorted(names, key=lambda n: order[n])
    lines = [of([n]).grid for n in names]
    planes = {(i, j): of([names[i], names[j]]).grid for j in range(len(names)) for i in range(j)}
    by_name = {c.name: c for c in posterior.parameters}
    return ConditionalPairs(
        tuple(by_name[n] for n in names),
        np.array([whole[n] for n in names]),
        tuple((axes[0], density) for axes, density in lines),
        {k: ((axes[0], axes[1]), density) for k, (axes, density) in planes.items()},
    )
