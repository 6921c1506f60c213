"""Paths between two parameter sets along which the probability stays high, and across them.

Two circuits with the same behaviour may be connected: ``path`` bends a curve between them until
the density along it is as high as it can be (``curve``). ``orthogonal_path`` leaves it at one point
at right angles, the way on which the density falls fastest,

    u <- u - step P grad log p / |P grad log p|,    P = I - t t^T,

with t the path's tangent and u the parameters in prior standard deviations: what a random
direction hides, a short walk this way shows.

Reference: Gonçalves et al. (2020), eLife 9:e56261, figure 5 and Methods "Finding paths in the
posterior". Lengths are in standard deviations of the prior, as there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import Posterior, Table
from lanternfish.core.table import as_table
from lanternfish.landscape import curve as curves
from lanternfish.landscape.density import check_density
from lanternfish.landscape.sensitivity import prior_widths
from lanternfish.landscape.space import Space, as_one_point
from lanternfish.landscape.words import point_in_words

_DENSE = 1_025  # places at which lengths along the curve are added up
_SAMPLES = 1_000  # with which the ends' density is compared
_NEGLIGIBLE = 30.0  # nats below the lowest sample
_POINTS = 80


@dataclass(frozen=True)
class Path:
    """A curve through parameter space, at points the same length apart.

    Attributes:
        theta: the points, a table (m, d), the first and last the ends that were asked for.
        log_density: of the posterior there, shape (m,), without the score.
        position: length of the curve up to each point, in prior standard deviations, (m,).
        sd: the standard deviation of each parameter's prior, (d,), in its unit.
        lowest: log density along the straight line between the ends, at its lowest point.
        converged: whether the bending ended, rather than running out of iterations.
        seconds: that it took.
        what: "path" or "orthogonal path".
    """

    theta: Table
    log_density: np.ndarray
    position: np.ndarray
    sd: np.ndarray
    lowest: float = np.nan
    converged: bool = True
    seconds: float = field(default=0.0, compare=False)
    what: str = "path"

    @property
    def length(self) -> float:
        """In prior standard deviations."""
        return float(self.position[-1])

    @property
    def straight(self) -> float:
        """Distance between the ends, in prior standard deviations."""
        return float(np.linalg.norm((self.theta.array[-1] - self.theta.array[0]) / self.sd))

    def at(self, shares) -> Table:
        """Points at these shares of the length, from 0 to 1, shape (m,): a table (m, d)."""
        from scipy.interpolate import PchipInterpolator

        asked = np.atleast_1d(np.asarray(shares, np.float64))
        if asked.ndim != 1 or not np.all((asked >= 0) & (asked <= 1)):
            raise ValueError(f"Expected shares of the length from 0 to 1; got {shares!r:.80}.")
        smooth = PchipInterpolator(self.position, self.theta.array)
        return Table(smooth(asked * self.length), self.theta.columns)

    def tangent(self, share: float) -> np.ndarray:
        """The unit vector along the curve, in prior standard deviations, (d,)."""
        step = 0.5 / (len(self.theta) - 1)
        near = self.at([max(share - step, 0.0), min(share + step, 1.0)]).array / self.sd
        return (near[1] - near[0]) / np.linalg.norm(near[1] - near[0])

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def sentence(self) -> str:
        lowest = float(self.log_density.min())
        told = (
            f"The {self.what} is {self.length:.3g} prior standard deviations long, "
            f"{self.straight:.3g} as the crow flies; the log density is {self.log_density[0]:.4g} "
            f"at the start, {self.log_density[-1]:.4g} at the end and nowhere below {lowest:.4g}"
        )
        if np.isfinite(self.lowest):
            told += f" (on the straight line {self.lowest:.4g})"
        return told + ("." if self.converged else "; it was still bending: raise iterations.")

    def __repr__(self) -> str:
        first, last = (point_in_words(self.theta.columns, self.theta.array[i]) for i in (0, -1))
        return f"Path of {len(self)} points\n  from {first}\n  to   {last}\n  {self.sentence}"


def path(
    posterior: Posterior,
    start,
    end,
    *,
    points: int = _POINTS,
    score: Callable | None = None,
    harmonics: int = curves.HARMONICS,
    betas=None,
    seed: int = 0,
) -> Path:
    """A smooth curve between two parameter sets along which the probability stays high.

    Args:
        posterior: any whose log density is a JAX function.
        start, end: one point each, by name or in order, inside the prior.
        points: of the result, the same length apart.
        score: ``score(theta)`` of one point (d,), a JAX function in nats, is added to the log
            density: what else should be high, such as the log chance of a valid simulation.
        harmonics: sines in each parameter; more bend more sharply.
        betas: per nat, rising; the larger, the more a dip counts against length. By the number of
            parameters where left out (see ``curve``).
        seed: of the samples with which the ends are compared.

    Raises:
        ValueError: if an end lies outside the prior or has negligible density, both are one, the
            posterior has no density or no gradients, or an option does not fit.
    """
    begun = time.monotonic()
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 3:
        raise ValueError(f"Expected points, a whole number of at least 3; got {points!r}.")
    space = _space(posterior, seed)
    chosen = curves.betas_for(len(posterior.prior)) if betas is None else betas
    betas = np.atleast_1d(np.asarray(chosen, np.float64))
    if harmonics < 1 or not np.all(np.isfinite(betas) & (betas > 0)) or np.any(np.diff(betas) < 0):
        raise ValueError(
            f"Expected harmonics of at least 1 and rising betas above 0; got {harmonics!r} and "
            f"{betas.tolist()}."
        )
    sd = prior_widths(posterior.prior) / np.sqrt(12)
    wanted = np.stack([_end(space, start, "start"), _end(space, end, "end")])
    if np.linalg.norm((wanted[1] - wanted[0]) / sd) < 1e-6:
        raise ValueError("Expected two different ends; got the same point twice.")
    found = curves.problem(posterior, sd, score)
    both = np.concatenate([wanted, space.samples.array])
    to_z = jax.jit(jax.vmap(posterior.prior.bijection.inverse))
    z = np.asarray(to_z(jnp.asarray(space.to_theta(space.to_y(both)))), np.float64)
    ends = z[:2]
    bent = curves.bend(found, ends, z[2:].std(axis=0), betas, harmonics)
    theta = _evenly(found, bent, sd, points)
    theta[[0, -1]] = wanted
    pieces = np.linalg.norm(np.diff(theta / sd, axis=0), axis=1)
    s = jnp.linspace(0.0, 1.0, _DENSE)
    line = curves.points(found, jnp.asarray(ends, jnp.float32), jnp.zeros((1, len(sd))), s)[0]
    return Path(
        Table(theta, posterior.parameters),
        space.log_prob(theta),
        np.concatenate([[0.0], np.cumsum(pieces)]),
        sd,
        float(np.min(space.log_prob(np.asarray(line, np.float64)[:: (_DENSE - 1) // 64]))),
        bent.converged,
        time.monotonic() - begun,
    )


def _evenly(found: curves.Problem, bent: curves.Bent, sd: np.ndarray, points: int) -> np.ndarray:
    """Points (m, d) the same length apart along the curve."""
    ends = jnp.asarray(bent.ends, jnp.float32)
    coefficients = jnp.asarray(bent.coefficients, jnp.float32)
    s = np.linspace(0, 1, _DENSE)
    dense = np.asarray(curves.points(found, ends, coefficients, jnp.asarray(s))[0], np.float64)
    steps = np.linalg.norm(np.diff(dense / sd, axis=0), axis=1)
    run = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.interp(np.linspace(0, run[-1], points), run, s)
    theta = curves.points(found, ends, coefficients, jnp.asarray(places))[0]
    return np.array(theta, np.float64)


def orthogonal_path(
    posterior: Posterior,
    path: Path,
    *,
    at: float = 0.29,
    length: float | None = None,
    step: float = 0.01,
    score: Callable | None = None,
) -> Path:
    """Leave a path at right angles, the way on which the density falls fastest.

    Args:
        posterior: as for ``path``.
        at: share of the path's length where it is left; the published one leaves at point 23 of
            80.
        length: at which to stop, in prior standard deviations; 1/27 of the path's where left out.
        step: length of each step, likewise.
        score: as for ``path``.

    Raises:
        ValueError: if an option does not fit, or the density has no slope across the path there.
    """
    begun = time.monotonic()
    length = path.length / 27 if length is None else float(length)
    if not 0 <= at <= 1 or not 0 < step <= length < np.inf:
        raise ValueError(
            f"Expected 0 <= at <= 1 and 0 < step <= length; got at={at}, step={step} and "
            f"length={length:.4g}."
        )
    _space(posterior, 0)
    found = curves.problem(posterior, path.sd, score)
    slope = jax.jit(jax.grad(found.density))
    prior, normal = posterior.prior, path.tangent(at)
    theta = [path.at([at]).array[0]]
    for _ in range(round(length / step)):
        up = np.asarray(slope(jnp.asarray(theta[-1], jnp.float32)), np.float64) * path.sd
        up -= normal * (normal @ up)
        size = np.linalg.norm(up)
        if not np.isfinite(size) or size == 0:
            raise ValueError(
                "Expected a slope of the log density across the path; got none at "
                f"{point_in_words(prior.columns, theta[-1])}: leave the path elsewhere (at=...)."
            )
        theta.append(np.clip(theta[-1] - step * up / size * path.sd, prior.low, prior.high))
    points = np.stack(theta)
    pieces = np.linalg.norm(np.diff(points / path.sd, axis=0), axis=1)
    return Path(
        Table(points, path.theta.columns),
        posterior.log_prob(points),
        np.concatenate([[0.0], np.cumsum(np.maximum(pieces, 1e-9))]),
        path.sd,
        seconds=time.monotonic() - begun,
        what="orthogonal path",
    )


def _space(posterior: Posterior, seed: int) -> Space:
    check_density(posterior)
    return Space.of(posterior, _SAMPLES, seed)


def _end(space: Space, point, what: str) -> np.ndarray:
    """One end, shape (d,), checked."""
    prior = space.posterior.prior
    table = as_table(point, space.parameters, what)
    theta = as_one_point(table, space.parameters, what)
    out = ~((theta >= prior.low) & (theta <= prior.high))
    if out.any():
        i = int(np.argmax(out))
        raise ValueError(
            f"Expected {what} inside the prior; got {prior.names[i]} = {theta[i]:.6g}, outside "
            f"{prior.low[i]:.6g} to {prior.high[i]:.6g}: take a sample of the posterior."
        )
    lowest = float(np.min(space.density(space.to_y(space.samples.array))))
    value = float(space.density(space.to_y(theta[None]))[0])
    if not value >= lowest - _NEGLIGIBLE:
        raise ValueError(
            f"Expected {what} where the posterior has density; got a log density of {value:.4g}, "
            f"while the lowest of {len(space.samples):,} samples has {lowest:.4g}: take a sample, "
            "or a pair of landscape.ends."
        )
    return theta
