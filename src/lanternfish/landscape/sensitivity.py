"""Sensitivity: the directions in which a posterior is stiff, and those in which it is sloppy.

Around a point theta* the log density is, to second order along its curvature,

    log p(theta* + delta) = log p(theta*) + slope . delta + 1/2 delta^T H delta.

Eigenvectors of the Hessian H with the most negative eigenvalues are stiff: there the behaviour that
the posterior stands for changes fastest. Along eigenvector v_i with eigenvalue lambda_i < 0 half a
nat is lost within

    length_i = 1 / sqrt(|lambda_i|),

which is one standard deviation where the posterior is normal.

Neither modes nor eigenvectors survive a change of units: what is stiff per mS need not be so per
uS, and log g has other directions than g. With ``scale="prior"`` the Hessian is taken in shares of
the width of each parameter's prior, which does away with units but not with the choice of prior;
with ``scale="units"`` it is taken in the parameters' units, which compares like with like only
where all have the same.

Learned densities ripple, and so do those of noisy models: over lengths that mean nothing, curvature
at the very point may be a thousand times that of the ridge it is on. With ``reach`` c > 0 the
Hessian is that of the quadratic which fits the log density best over a normal around the point,
whose sd along each direction is c lengths; both are found together, by iteration, and are those of
the point where the density is normal.

Reference: Bittner et al. (2021), eLife 10:e56265, figures 1 and 5; Gutenkunst et al. (2007), PLoS
Comput Biol 3:e189, on sloppiness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.stats import qmc

from lanternfish.core import Posterior, Prior, Table
from lanternfish.landscape.mode_path import conditional_mode
from lanternfish.landscape.modes import Mode, Modes
from lanternfish.landscape.space import as_one_point, margin
from lanternfish.landscape.words import aligned, point_in_words

SCALES = ("prior", "units")
_SHOWN = 8  # directions in the text of a result
_PARTS = 3  # parameters told of each direction
_DRAWS = 4_096  # of a prior without bounds, for its width
_TAIL = 0.025  # of those draws beyond each end of the width
_FITS = 20  # of quadratics, at most
_SETTLED = 0.02  # relative change of their widths at which they end
_POINTS, _EACH = 512, 8  # points of a fit, and points for each number in it, at least


@dataclass(frozen=True)
class Sensitivity:
    """Curvature of a log density at one point, the stiffest direction first.

    Attributes:
        at: the point, a table of one row.
        log_density: there.
        scale: "prior" or "units": what a distance of 1 is.
        widths: of each parameter, shape (d,): what counts as 1; all 1 for "units".
        eigenvalues: shape (k,), increasing: the most negative, and stiffest, first.
        vectors: unit vectors in scaled coordinates, shape (k, d); the component of largest size is
            positive, or that of the parameter which the call named.
        slope: gradient of the log density in scaled coordinates, shape (d,): 0 at a mode, but for
            parameters that were given or lie at a bound.
        held: names of parameters at a bound, which no direction moves; k = d - len(held).
        reach: of the neighbourhood, in lengths; 0 for the point alone.
    """

    at: Table
    log_density: float
    scale: str
    widths: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray
    slope: np.ndarray
    held: tuple[str, ...] = ()
    reach: float = 0.0

    @property
    def lengths(self) -> np.ndarray:
        """Distance along each direction in which half a nat is lost, shape (k,).

        Infinite where there is no curvature.
        """
        with np.errstate(divide="ignore"):
            return 1 / np.sqrt(np.abs(self.eigenvalues))

    @property
    def directions(self) -> Table:
        """Change of the parameters, in their units, for a distance of 1 along each; (k, d)."""
        return Table(self.vectors * self.widths, self.at.columns)

    @property
    def arrows(self) -> Table:
        """Change of the parameters over the length of each direction, for plots; (k, d).

        None is longer than the prior is wide.
        """
        reach = np.max(np.abs(self.vectors), axis=1)
        longest = 1 / reach if self.scale == "prior" else np.inf
        lengths = np.minimum(self.lengths, longest)
        lengths = np.where(np.isfinite(lengths), lengths, 0.0)
        return Table(lengths[:, None] * self.vectors * self.widths, self.at.columns)

    def __len__(self) -> int:
        return len(self.eigenvalues)

    def __repr__(self) -> str:
        told = point_in_words(self.at.columns, self.at.array[0])
        unit = "widths of the prior" if self.scale == "prior" else "the parameters' units"
        lines = [f"Sensitivity at {told}", f"  in {unit}; log density {self.log_density:.4g}"]
        if self.reach:
            lines.append(f"  by the quadratic that fits best over {self.reach:g} lengths around it")
        rows = [["direction", "eigenvalue", "length", "made of"]]
        k = len(self)
        shown = range(k) if k <= _SHOWN else [*range(_SHOWN // 2), *range(k - _SHOWN // 2, k)]
        for i in shown:
            name = f"v{i + 1}" + (" stiffest" if i == 0 else " sloppiest" if i == k - 1 else "")
            name += " (rises)" if self.eigenvalues[i] > 0 else ""
            value, length = f"{self.eigenvalues[i]:.4g}", f"{self.lengths[i]:.3g}"
            rows.append([name, value, length, self._made_of(i)])
        longest = max(len(row[3]) for row in rows)
        lines.append(aligned([[*row[:3], row[3].ljust(longest)] for row in rows]))
        if k > _SHOWN:
            lines.append(f"  and {k - _SHOWN} between them")
        if self.held:
            lines.append(f"  held at the prior's bound: {', '.join(self.held)}")
        if np.any(self.eigenvalues > 0):
            lines.append("  (rises): the density curves upward there, so the point is no mode")
        return "\n".join(lines)

    def _made_of(self, i: int) -> str:
        """The parameters of largest weight, such as ``+0.98 g_synA -0.20 g_el``."""
        vector, names = self.vectors[i], self.at.names
        largest = np.argsort(-np.abs(vector), kind="stable")[:_PARTS]
        parts = [f"{vector[j]:+.2f} {names[j]}" for j in largest if abs(vector[j]) >= 0.05]
        return " ".join(parts)


def sensitivity(
    posterior: Posterior,
    at: Mode | Modes | Table | None = None,
    *,
    scale: str = "prior",
    positive: str | None = None,
    reach: float = 0.0,
    seed: int = 0,
) -> Sensitivity:
    """Stiff and sloppy directions of a posterior at a mode, or at any point.

    Parameters at a bound of the prior are held: the density has a slope there and no maximum.

    Args:
        posterior: any whose log density has second derivatives.
        at: a mode or conditional mode; ``Modes``, for the first of them; or one point, by name or
            in order. The highest mode is sought where left out.
        scale: "prior" measures each parameter in widths of its prior (its bounds, or the central
            95 % where it has none); "units" in its own unit.
        positive: the parameter whose component is positive in every direction; where left out, the
            largest component of each is.
        reach: 0: the Hessian of the point itself; else of the best quadratic over so many lengths
            around it, 0.5 for instance, which ripples of a learned density do not change.
        seed: of the samples from which a mode is sought, and of points around it.

    Raises:
        ValueError: if the point lies outside the bounds or all of it at them, the Hessian is not
            finite there, or there is no density around it.
    """
    if not isinstance(posterior, Posterior):
        raise TypeError(f"Expected a Posterior; got {type(posterior).__name__}.")
    prior = posterior.prior
    if scale not in SCALES:
        raise ValueError(f'Expected scale="prior" or scale="units"; got {scale!r}.')
    if positive is not None and positive not in prior.names:
        raise ValueError(f"Expected positive as one of {', '.join(prior.names)}; got {positive!r}.")
    if not 0 <= reach < np.inf:
        raise ValueError(f"Expected a reach of 0 or more, in lengths; got {reach!r}.")
    theta = _point(posterior, at, seed)
    widths = prior_widths(prior) if scale == "prior" else np.ones(len(prior))
    loose = ~_at_bounds(prior, theta)
    if not loose.any():
        raise ValueError(
            "Expected a point inside the prior; got one with every parameter at a bound."
        )
    if reach:
        slope, hessian = fitted_derivatives(posterior, theta, widths, loose, reach, seed)
    else:
        slope, hessian = derivatives(posterior, theta, widths)
    _check_finite(hessian[np.ix_(loose, loose)], prior, theta, loose)
    eigenvalues, vectors = np.linalg.eigh(hessian[np.ix_(loose, loose)])
    whole = np.zeros((len(eigenvalues), len(prior)))
    whole[:, loose] = vectors.T
    return Sensitivity(
        Table(theta[None], prior.columns),
        float(posterior.log_prob(theta)[0]),
        scale,
        widths,
        eigenvalues,
        _signed(whole, None if positive is None else prior.names.index(positive)),
        slope,
        tuple(np.array(prior.names)[~loose].tolist()),
        float(reach),
    )


def prior_widths(prior: Prior) -> np.ndarray:
    """Width of each parameter, (d,): its bounds; the central 95 % of draws where it lacks one."""
    with np.errstate(invalid="ignore"):
        bounds = prior.high - prior.low
    if np.all(np.isfinite(bounds)):
        return bounds
    ends = np.quantile(prior.sample(_DRAWS).array, [_TAIL, 1 - _TAIL], axis=0)
    return np.where(np.isfinite(bounds), bounds, ends[1] - ends[0])


def derivatives(
    posterior: Posterior, theta: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (d,) and Hessian (d, d) of the log density in coordinates theta / widths.

    The columns of the Hessian are forward derivatives of the gradient, one after the other. The
    mean with its transpose is returned: float32 leaves the two apart in the last digits.
    """
    middle = jnp.asarray(theta, jnp.float32)
    density = eqx.filter_closure_convert(posterior.log_density, middle)
    slope, hessian = _derivatives(density, middle, jnp.asarray(widths, jnp.float32))
    hessian = np.asarray(hessian, np.float64)
    return np.asarray(slope, np.float64), (hessian + hessian.T) / 2


def fitted_derivatives(
    posterior: Posterior,
    theta: np.ndarray,
    widths: np.ndarray,
    loose: np.ndarray,
    reach: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """As ``derivatives``, of the quadratic that fits best over a neighbourhood (see ``reach``).

    Args:
        loose: which parameters move, (d,) of bool; the others' derivatives are 0.

    Raises:
        ValueError: if there is no density around the point.
    """
    prior, d = posterior.prior, int(loose.sum())
    unit = prior_widths(prior)[loose]
    spread = posterior.sample(_DRAWS, seed=seed).array[:, loose] / unit
    covariance = reach**2 * np.atleast_2d(np.cov(spread, rowvar=False))
    numbers = (d + 1) * (d + 2) // 2
    count = 2 ** int(np.ceil(np.log2(max(_POINTS, _EACH * numbers))))
    draws = qmc.MultivariateNormalQMC(np.zeros(d), rng=np.random.default_rng(seed)).random(count)
    found = None
    for _ in range(_FITS):
        moved = draws @ _root(covariance).T
        log_density = _around(posterior, theta, loose, moved * unit)
        known = np.isfinite(log_density)
        if known.sum() < 2 * numbers:
            covariance = covariance / 4  # nearer, fewer points lie beyond a bound
            continue
        found = _quadratic(moved[known], log_density[known], np.sqrt(np.diag(covariance)))
        eigenvalues, vectors = np.linalg.eigh(found[1])
        variances = 1 / np.maximum(-eigenvalues, 1.0)  # no wider than the prior
        now = reach**2 * (vectors * variances) @ vectors.T
        change = np.linalg.norm(now - covariance) / np.linalg.norm(covariance)
        covariance = 0.5 * (covariance + now)
        if change < _SETTLED:
            break
    if found is None:
        raise ValueError(
            f"Expected density around {point_in_words(prior.columns, theta)}; got some at "
            f"{known.sum()} of {count} points: take reach=0, or another point."
        )
    ratio = np.asarray(widths)[loose] / unit
    slope, hessian = np.zeros(len(theta)), np.zeros((len(theta), len(theta)))
    slope[loose] = found[0] * ratio
    hessian[np.ix_(loose, loose)] = found[1] * np.outer(ratio, ratio)
    return slope, hessian


def _around(
    posterior: Posterior, theta: np.ndarray, loose: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """Log density of theta with loose parameters moved (n, k), minus infinity beyond a bound."""
    points = np.tile(theta, (len(moved), 1))
    points[:, loose] += moved
    low, high = posterior.prior.low[loose], posterior.prior.high[loose]
    inside = np.all((points[:, loose] > low) & (points[:, loose] < high), axis=1)
    log_density = np.full(len(moved), -np.inf)
    log_density[inside] = posterior.log_prob(points[inside])
    return log_density


def _quadratic(
    moved: np.ndarray, values: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slope (k,) and Hessian (k, k) at 0 of the quadratic nearest to values at points (n, k)."""
    k, e = moved.shape[1], moved / scale
    rows, columns = np.triu_indices(k)
    twice = np.where(rows == columns, 0.5, 1.0)
    terms = np.c_[np.ones(len(e)), e, twice * e[:, rows] * e[:, columns]]
    found = np.linalg.lstsq(terms, values, rcond=None)[0]
    hessian = np.zeros((k, k))
    hessian[rows, columns] = hessian[columns, rows] = found[1 + k :]
    return found[1 : 1 + k] / scale, hessian / np.outer(scale, scale)


def _root(covariance: np.ndarray) -> np.ndarray:
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(eigenvalues, 0.0))


@eqx.filter_jit
def _derivatives(density: Callable[[Array], Array], theta: Array, width: Array):
    """The weights inside ``density`` are arguments, so that posteriors share a compilation."""

    def gradient(u):
        return jax.grad(lambda v: density(theta + width * v))(u)

    def column(e):
        return jax.jvp(gradient, (origin,), (e,))[1]

    origin = jnp.zeros_like(theta)
    return gradient(origin), jax.lax.map(column, jnp.eye(len(theta)))


def _point(posterior: Posterior, at, seed: int) -> np.ndarray:
    if at is None:
        at = conditional_mode(posterior, seed=seed)
    if isinstance(at, Modes):
        at = at[0]
    if isinstance(at, Mode):
        at = at.theta
    return as_one_point(posterior.prior.check_inside(at), posterior.parameters, "at")


def _at_bounds(prior: Prior, theta: np.ndarray) -> np.ndarray:
    """Which parameters lie at a bound, within the margin that ascents keep, (d,) of bool."""
    widths = prior_widths(prior)
    low = theta <= prior.low + margin(prior.low, widths)
    return low | (theta >= prior.high - margin(prior.high, widths))


def _check_finite(hessian: np.ndarray, prior: Prior, theta: np.ndarray, loose: np.ndarray) -> None:
    wrong = ~np.isfinite(hessian).all(axis=1)
    if not wrong.any():
        return
    names: Sequence[str] = np.array(prior.names)[loose][wrong].tolist()
    raise ValueError(
        f"Expected a finite Hessian of the log density; got none for {', '.join(names)} at "
        f"{point_in_words(prior.columns, theta)}: give another point, further from the bounds or "
        "where the posterior has density."
    )


def _signed(vectors: np.ndarray, positive: int | None) -> np.ndarray:
    """Vectors (k, d), each turned so that one component is positive."""
    rows = np.arange(len(vectors))
    chosen = np.argmax(np.abs(vectors), axis=1)
    if positive is not None:
        chosen = np.where(vectors[:, positive] != 0, positive, chosen)
    return vectors * np.where(vectors[rows, chosen] < 0, -1.0, 1.0)[:, None]
