"""Which parameters compensate for which: conditional correlations, and how far conditions narrow.

With all parameters but two held at a sample theta* of the posterior, the slice of its density has a
correlation; where it is positive a rise of one can be made up for by a rise of the other,

    rho_ij(theta*) = corr(theta_i, theta_j | theta*_rest),    rho_ij = mean over theta*.

Marginal correlations are small where many parameters can compensate; these are not (Gonçalves et
al. 2020, eLife 9:e56261, figure 6). Of a normal posterior rho_ij is the partial correlation.

How much narrower a parameter is once others are known,

    widening_i  = sd(theta_i) / sqrt(E[ var(theta_i | all others) ]),
    release_ij  = sqrt(E[ var(theta_i | all but j) ] / E[ var(theta_i | all others) ]),

says how much room the others give it altogether, and how much of that j gives by itself.

Slices are integrated, not gridded over the whole prior (``slices``). Errors are those of the mean
over conditioning points: bootstrap (Efron 1979). The spread over points says how much it matters
where in the posterior one looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from lanternfish.core import Column, Posterior, Table
from lanternfish.core.seeds import stream
from lanternfish.landscape.density import density_of
from lanternfish.landscape.slices import Window, slices
from lanternfish.landscape.space import Space
from lanternfish.landscape.words import aligned

_SAMPLES = 4_000
_BOOTSTRAPS = 1_000
_FALSE_ALARM = 0.05
_SHOWN = 8
_FAR = 30.0  # of the posterior's standard deviation: where a parameter without bounds ends


@dataclass(frozen=True)
class Compensation:
    """Conditional correlations of all pairs, and the room that parameters give each other.

    Attributes:
        columns: the parameters, d of them.
        correlation: mean conditional correlation, (d, d), 1 on the diagonal.
        error: its bootstrap standard error over conditioning points, (d, d).
        low, high: its 95 % bootstrap interval, (d, d).
        spread: standard deviation over conditioning points, (d, d).
        marginal: correlation of samples of the posterior, (d, d).
        widening: marginal over conditional standard deviation, (d,).
        widening_error: its bootstrap standard error, (d,).
        release: how much wider i is when j is free too, (d, d), row i; 1 on the diagonal.
        conditional_sd: root mean square over points, in the parameters' units, (d,).
        marginal_sd: in the parameters' units, (d,).
        points: where slices were taken, a table (n, d).
        values: the correlation at each point, (n, d, d).
        cut: share of slices that did not fit into their window: 0 where all is well.
        seconds: that it took.
    """

    columns: tuple[Column, ...]
    correlation: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    spread: np.ndarray
    marginal: np.ndarray
    widening: np.ndarray
    widening_error: np.ndarray
    release: np.ndarray
    conditional_sd: np.ndarray
    marginal_sd: np.ndarray
    points: Table
    values: np.ndarray = field(repr=False)
    cut: float = 0.0
    seconds: float = field(default=0.0, compare=False)

    @property
    def pairs(self) -> list[tuple[str, str, float, float]]:
        """Names, correlation and its error of each pair, the strongest first."""
        i, j = np.triu_indices(len(self.columns), 1)
        order = np.argsort(-np.abs(self.correlation[i, j]), kind="stable")
        names = [c.name for c in self.columns]
        return [
            (names[a], names[b], float(self.correlation[a, b]), float(self.error[a, b]))
            for a, b in zip(i[order], j[order], strict=True)
        ]

    @property
    def beyond_chance(self) -> int:
        """How many pairs differ from 0, with one false alarm in 20 over all of them together."""
        from scipy.stats import norm

        i, j = np.triu_indices(len(self.columns), 1)
        z = norm.isf(_FALSE_ALARM / 2 / max(len(i), 1))
        return int(np.sum(np.abs(self.correlation[i, j]) > z * self.error[i, j]))

    @property
    def sentence(self) -> str:
        a, b, value, error = self.pairs[0]
        names = [c.name for c in self.columns]
        most = int(np.argmax(self.widening))
        total = len(names) * (len(names) - 1) // 2
        told = (
            f"{self.beyond_chance} of {total} pairs compensate beyond chance, most of all {a} and "
            f"{b} ({value:+.2f} ± {error:.2f}: {'rise together' if value > 0 else 'in turn'}); "
            f"knowing all others narrows {names[most]} most, by a factor of "
            f"{self.widening[most]:.2g} ± {self.widening_error[most]:.1g}."
        )
        if self.cut > 0.01:
            told += (
                f" {self.cut:.0%} of the slices reach beyond their windows: take these as bounds."
            )
        return told

    def partners(self, name: str, most: int = 3) -> list[tuple[str, float, float]]:
        """The parameters that make most room for one: names, release, conditional correlation."""
        names = [c.name for c in self.columns]
        if name not in names:
            raise ValueError(f"Expected a name among {', '.join(names)}; got {name!r}.")
        i = names.index(name)
        order = [int(j) for j in np.argsort(-self.release[i], kind="stable") if j != i]
        found = [
            (names[j], float(self.release[i, j]), float(self.correlation[i, j])) for j in order
        ]
        return found[:most]

    def __repr__(self) -> str:
        rows = [["pair", "correlation", "error", "spread", "marginal"]]
        names = [c.name for c in self.columns]
        for a, b, value, error in self.pairs[:_SHOWN]:
            i, j = names.index(a), names.index(b)
            rest = f"{self.spread[i, j]:.2f}", f"{self.marginal[i, j]:+.2f}"
            rows.append([f"{a}, {b}", f"{value:+.2f}", f"{error:.2f}", *rest])
        head = f"Compensation among {len(names)} parameters, at {len(self.points)} points"
        return f"{head}\n  {self.sentence}\n{aligned(rows)}"


def compensation(
    posterior: Posterior,
    *,
    points: int = 20,
    names: Sequence[str] | None = None,
    at: Table | None = None,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> Compensation:
    """Conditional correlations of all pairs of parameters, with their uncertainty.

    Args:
        posterior: any whose log density is a JAX function.
        points: samples of the posterior at which the other parameters are held.
        names: parameters to look at; all where left out. The rest is held.
        at: points to hold them at instead, a table (n, d).
        progress: called with the number of points done and of all.
        seed: of the samples and of the bootstrap.

    Raises:
        ValueError: if there is no density, a name is unknown, or there are fewer than two
            parameters or points.
    """
    begun = time.monotonic()
    density = density_of(posterior, slope=False)
    space = Space.of(posterior, _SAMPLES, stream(seed, "compensation"))
    chosen = _chosen(posterior, names)
    where = _points(space, points, at)
    bounds = _bounds(space)
    i, j = np.triu_indices(len(chosen), 1)
    pairs = jnp.asarray(np.stack([chosen[i], chosen[j]], axis=1))
    unit = jnp.asarray(space.spread, jnp.float32)
    found = []
    for k, theta in enumerate(where.array):
        u = jnp.asarray(space.to_y(theta[None])[0], jnp.float32)
        lines, planes = slices(density, u, unit, bounds, pairs)
        found.append([np.asarray(a, np.float64) for a in (lines.variance, *planes[1:])])
        if progress is not None:
            progress(k + 1, len(where))
    variance, covariance, cut = (np.stack([f[k] for f in found]) for k in range(3))
    return _gathered(space, chosen, where, variance[:, chosen], covariance, cut, seed, begun)


def _gathered(
    space: Space, chosen: np.ndarray, where: Table, variance: np.ndarray, covariance: np.ndarray,
    cut: np.ndarray, seed: int, begun: float,
) -> Compensation:  # fmt: skip
    """The result of variances (n, d) and covariances (n, p, 2, 2) at n points."""
    n, d = variance.shape
    i, j = np.triu_indices(d, 1)
    values = np.broadcast_to(np.eye(d), (n, d, d)).copy()
    scale = np.sqrt(np.maximum(covariance[:, :, 0, 0] * covariance[:, :, 1, 1], 1e-300))
    values[:, i, j] = values[:, j, i] = covariance[:, :, 0, 1] / scale
    free = np.broadcast_to(np.eye(d), (n, d, d)) * variance[:, :, None]
    free = free.copy()
    free[:, i, j], free[:, j, i] = covariance[:, :, 0, 0], covariance[:, :, 1, 1]
    marginal = space.samples.array[:, chosen] / space.spread[chosen]
    draws = np.random.default_rng(stream(seed, "bootstrap")).multinomial(
        n, np.full(n, 1 / n), _BOOTSTRAPS
    ) / n  # fmt: skip
    again = np.einsum("bn,nij->bij", draws, values)
    low, high = np.quantile(again, [0.025, 0.975], axis=0)
    narrow = variance.mean(axis=0)
    rng = np.random.default_rng(stream(seed, "marginal"))
    wide = np.stack(
        [marginal[rng.integers(len(marginal), size=len(marginal))].std(axis=0) for _ in range(100)]
    )
    repeats = wide / np.sqrt(draws[: len(wide)] @ variance)
    columns = tuple(space.parameters[k] for k in chosen)
    return Compensation(
        columns=columns,
        correlation=values.mean(axis=0),
        error=again.std(axis=0, ddof=1),
        low=low,
        high=high,
        spread=values.std(axis=0, ddof=1),
        marginal=np.atleast_2d(np.corrcoef(marginal.T)),
        widening=marginal.std(axis=0) / np.sqrt(narrow),
        widening_error=repeats.std(axis=0, ddof=1),
        release=np.sqrt(free.mean(axis=0) / narrow[:, None]),
        conditional_sd=np.sqrt(narrow) * space.spread[chosen],
        marginal_sd=marginal.std(axis=0) * space.spread[chosen],
        points=where,
        values=values,
        cut=float(cut.mean()),
        seconds=time.monotonic() - begun,
    )


def _chosen(posterior: Posterior, names: Sequence[str] | None) -> np.ndarray:
    known = posterior.prior.names
    if names is None:
        names = known
    unknown = [name for name in names if name not in known]
    if isinstance(names, str) or unknown:
        raise ValueError(f"Expected names among {', '.join(known)}; got {names!r:.80}.")
    if len(names) < 2:
        raise ValueError(f"Expected at least two parameters, to correlate; got {len(names)}.")
    return np.array([known.index(name) for name in names])


def _points(space: Space, points: int, at: Table | None) -> Table:
    if at is not None:
        where = space.posterior.prior.check_inside(at)
    else:
        if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 2:
            raise ValueError(f"Expected points, a whole number of at least 2; got {points!r}.")
        where = space.samples[: min(int(points), len(space.samples))]
    if len(where) < 2:
        raise ValueError(f"Expected at least two points, for an error; got {len(where)}.")
    known = np.isfinite(space.density(space.to_y(where.array)))
    if not known.all():
        raise ValueError(
            "Expected points where the posterior has density; got "
            f"{np.sum(~known)} of {len(where)} outside its support: take samples of it."
        )
    return where


def _bounds(space: Space) -> Window:
    """The prior's bounds in units of the spread; far out where there are none."""
    y = space.samples.array / space.spread
    low = np.where(np.isfinite(space.low), space.low, y.min(axis=0) - _FAR)
    high = np.where(np.isfinite(space.high), space.high, y.max(axis=0) + _FAR)
    return Window(jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32))
