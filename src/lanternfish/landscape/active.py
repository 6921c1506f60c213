"""Active subspaces: the directions of parameter space along which a statistic changes on average.

Over the posterior, with u the parameters in units of the scale,

    C = E[ grad f(u) grad f(u)^T ] = W diag(lambda) W^T,    lambda_1 >= lambda_2 >= ...

Along w_1 the statistic f changes most, along the last directions hardly: lambda_i is the mean
squared slope of f along w_i. Gradients come from a network that learned f from simulations
(``regression``), or from the simulator itself where it is written in JAX. Errors: over members of
the network, or over bootstrap samples of the points.

The activity of a parameter is the mean squared slope along it, C_jj (its share of the trace).

Reference: Constantine, Dow & Wang (2014), SIAM J. Sci. Comput. 36:A1500; for the energy of a
circuit, Deistler, Macke & Gonçalves (2022), PNAS 119:e2207632119.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import Column, JaxSimulator, Model, Posterior, Simulations, Table
from lanternfish.core.seeds import stream
from lanternfish.core.summaries import in_numbers
from lanternfish.landscape.regression import fit
from lanternfish.landscape.sensitivity import prior_widths
from lanternfish.landscape.words import aligned, percent
from lanternfish.simulation import simulate

_FEWEST = 30  # simulations with the statistic, beside two for each parameter
_MEMBERS = 5
_WIDTH = 32
_BOOTSTRAPS = 200
_POOR = 0.5  # share of the variance explained below which gradients are doubtful
_SHOWN = 6
_PARTS = 4


@dataclass(frozen=True)
class ActiveSubspace:
    """Directions along which one statistic changes, the most active first.

    Attributes:
        column: the statistic.
        columns: the parameters, d of them.
        eigenvalues: mean squared slope of the statistic along each direction, in standard
            deviations of the statistic per unit of the scale, (d,), falling.
        error: standard error of each, (d,).
        vectors: unit vectors in scaled coordinates, (d, d), a row for each direction; the component
            of largest size is positive.
        widths: of each parameter, (d,): what counts as 1.
        spread: standard deviation of the statistic over the posterior, in its unit.
        activity: share of each parameter in the sum of mean squared slopes, (d,).
        activity_error: standard error of each share, (d,).
        explained: share of the variance of unseen simulations that the regression explains; 1 where
            gradients are the simulator's own.
        points: of the posterior, a table (n, d).
        values: the statistic at each, (n,); NaN where it cannot be measured.
    """

    column: Column
    columns: tuple[Column, ...]
    eigenvalues: np.ndarray
    error: np.ndarray
    vectors: np.ndarray
    widths: np.ndarray
    spread: float
    activity: np.ndarray
    activity_error: np.ndarray
    explained: float
    points: Table = field(repr=False)
    values: np.ndarray = field(repr=False)

    @property
    def shares(self) -> np.ndarray:
        """Share of each direction in the sum of the eigenvalues, (d,)."""
        return self.eigenvalues / self.eigenvalues.sum()

    @property
    def ratio(self) -> float:
        """First eigenvalue over the second: how much one direction stands out."""
        if len(self.eigenvalues) < 2 or self.eigenvalues[1] <= 0:
            return np.inf
        return float(self.eigenvalues[0] / self.eigenvalues[1])

    @property
    def directions(self) -> Table:
        """Change of the parameters, in their units, for a distance of 1 along each; (d, d)."""
        return Table(self.vectors * self.widths, self.columns)

    def project(self, theta: Table | None = None, direction: int = 0) -> np.ndarray:
        """Coordinates of points along a direction, (n,); of ``points`` where left out."""
        array = (self.points if theta is None else theta).array
        return (array / self.widths) @ self.vectors[direction]

    @property
    def sentence(self) -> str:
        told = (
            f"{percent(self.shares[0])} of the mean squared slope of {self.column.name} lies along "
            f"one direction ({self._made_of(0)}), {self.ratio:.3g} times what the second has."
        )
        if self.explained < _POOR:
            told += (
                f" The regression explains only {percent(max(self.explained, 0))} of it on "
                "simulations that it has not seen: take more before trusting the direction."
            )
        return told

    def _made_of(self, i: int) -> str:
        vector = self.vectors[i]
        largest = np.argsort(-np.abs(vector), kind="stable")[:_PARTS]
        parts = [f"{vector[j]:+.2f} {self.columns[j].name}" for j in largest]
        return " ".join(p for p, j in zip(parts, largest, strict=True) if abs(vector[j]) >= 0.05)

    def __repr__(self) -> str:
        rows = [["direction", "eigenvalue", "error", "share", "made of"]]
        for i in range(min(len(self.eigenvalues), _SHOWN)):
            value, error = f"{self.eigenvalues[i]:.3g}", f"{self.error[i]:.1g}"
            rows.append([f"w{i + 1}", value, error, percent(self.shares[i]), self._made_of(i)])
        longest = max(len(row[4]) for row in rows)
        text = aligned([[*row[:4], row[4].ljust(longest)] for row in rows])
        return f"Active subspace of {self.column.name}\n  {self.sentence}\n{text}"


def active_subspace(
    posterior: Posterior | Table,
    model: Model,
    statistic: str,
    *,
    points: int = 2_000,
    simulations: Simulations | None = None,
    gradients: str = "regression",
    scale: str = "prior",
    seed: int = 0,
    executor=None,
) -> ActiveSubspace:
    """The directions along which a statistic changes, on average over a posterior.

    Args:
        posterior: any, which is sampled; or a table of samples.
        model: prior, simulator and statistics.
        statistic: the name of one number that the model reports, such as ``energy``.
        points: samples of the posterior, simulated once each.
        simulations: of the model at samples of the posterior, instead of new ones.
        gradients: "regression", of a network that learns the statistic from the simulations; or
            "simulator", by JAX through the simulator, the seed held.
        scale: "prior" measures each parameter in standard deviations of its prior, "posterior" in
            those of the samples.
        seed: of samples, simulations and networks.
        executor: as for ``lanternfish.simulate``.

    Raises:
        ValueError: if there is no such statistic, an option does not fit, too few simulations have
            it, or it never changes.
    """
    if gradients not in ("regression", "simulator") or scale not in ("prior", "posterior"):
        raise ValueError(
            'Expected gradients="regression" or "simulator" and scale="prior" or "posterior"; got '
            f"{gradients!r} and {scale!r}."
        )
    theta = _samples(posterior, model, points, simulations, seed)
    if gradients == "simulator":
        column, values, slopes = _by_simulator(model, statistic, theta, seed)
        groups, explained = slopes[None], 1.0
        unit = _unit(model, theta, scale)
        spread = _spread(values, statistic)
        groups = groups * unit / spread
    else:
        if simulations is None:
            simulations = simulate(
                model, theta=theta, seed=stream(seed, "active"), executor=executor, progress=False
            )
        column, values = _column(simulations, statistic)
        unit = _unit(model, theta, scale)
        known = np.isfinite(values) & (simulations.weight > 0)
        _check_enough(known, theta.array.shape[1], statistic)
        spread = _spread(values[known], statistic)
        middle = theta.array[known].mean(axis=0)
        u = (theta.array - middle) / unit
        y = (values[known] - values[known].mean()) / spread
        inner = u[known].std(axis=0)
        found = fit(
            u[known] / inner, y, members=_MEMBERS, width=_WIDTH, seed=stream(seed, "regression")
        )
        groups = found.gradients(u / inner) / inner
        explained = float(found.held_out.mean())
    return _gathered(
        column, model.prior.columns, groups, unit, spread, explained, theta, values, seed
    )


def _gathered(column, columns, groups, unit, spread, explained, theta, values, seed):
    """The result of gradients (members, n, d)."""
    mean = groups.mean(axis=0) if len(groups) > 1 else groups[0]
    whole = mean.T @ mean / len(mean)
    rng = np.random.default_rng(stream(seed, "active errors"))
    repeats = []
    for _ in range(_BOOTSTRAPS):
        rows = rng.integers(len(mean), size=len(mean))
        part = groups[rng.integers(len(groups), size=len(groups))].mean(axis=0)[rows]
        repeats.append(part.T @ part / len(rows))
    eigenvalues, vectors = np.linalg.eigh(whole)
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1].T
    rows = np.arange(len(vectors))
    turn = np.sign(vectors[rows, np.argmax(np.abs(vectors), axis=1)])
    again = np.array([np.linalg.eigvalsh(c)[::-1] for c in repeats])
    activity = np.array([np.diag(c) / np.trace(c) for c in repeats])
    return ActiveSubspace(
        column=column,
        columns=columns,
        eigenvalues=eigenvalues,
        error=again.std(axis=0, ddof=1),
        vectors=vectors * turn[:, None],
        widths=unit,
        spread=spread,
        activity=np.diag(whole) / np.trace(whole),
        activity_error=activity.std(axis=0, ddof=1),
        explained=explained,
        points=theta,
        values=values,
    )


def _samples(posterior, model: Model, points: int, simulations, seed: int) -> Table:
    if simulations is not None:
        return simulations.theta
    if isinstance(posterior, Table):
        return model.prior.check_inside(posterior)
    if not isinstance(posterior, Posterior):
        raise TypeError(f"Expected a Posterior or a Table; got {type(posterior).__name__}.")
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 2:
        raise ValueError(f"Expected points, a whole number of at least 2; got {points!r}.")
    return posterior.sample(int(points), seed=stream(seed, "active samples"))


def _column(simulations: Simulations, statistic: str) -> tuple[Column, np.ndarray]:
    table = in_numbers(simulations.x)
    if statistic not in table.names:
        raise ValueError(f"Expected a statistic among {', '.join(table.names)}; got {statistic!r}.")
    return table.columns[table.names.index(statistic)], table[statistic]


def _unit(model: Model, theta: Table, scale: str) -> np.ndarray:
    if scale == "prior":
        return prior_widths(model.prior) / np.sqrt(12)
    return np.maximum(theta.array.std(axis=0), np.finfo(np.float32).tiny)


def _check_enough(known: np.ndarray, d: int, statistic: str) -> None:
    least = max(_FEWEST, 2 * d)
    if known.sum() < least:
        raise ValueError(
            f"Expected at least {least} simulations in which {statistic} can be measured; got "
            f"{known.sum()} of {len(known):,}: raise points, or choose a statistic that the model "
            "has over this posterior."
        )


def _spread(values: np.ndarray, statistic: str) -> float:
    spread = float(np.nanstd(values))
    if not spread > 1e-9 * max(float(np.nanmax(np.abs(values))), 1e-300):
        raise ValueError(
            f"Expected a statistic that changes over the posterior; got {statistic} = "
            f"{np.nanmean(values):.6g} everywhere: no direction changes it."
        )
    return spread


def _by_simulator(
    model: Model, statistic: str, theta: Table, seed: int
) -> tuple[Column, np.ndarray, np.ndarray]:
    """The statistic (n,) and its gradients (n, d), by JAX through the simulator."""
    if not isinstance(model.simulator, JaxSimulator):
        raise ValueError(
            f"Expected a simulator in JAX for its gradients; got {type(model.simulator).__name__}: "
            'use gradients="regression".'
        )
    names = [c.name for c in model.statistics]
    if statistic not in names or model.statistics[names.index(statistic)].is_array:
        raise ValueError(
            f"Expected a number among the statistics {', '.join(names)}; got {statistic!r}."
        )
    column = model.statistics[names.index(statistic)]
    one = _statistic_of(model, statistic)
    keys = jax.random.split(jax.random.key(stream(seed, "active") % 2**32), len(theta))
    run = jax.jit(
        lambda t, k: jax.lax.map(lambda a: jax.value_and_grad(one)(*a), (t, k), batch_size=64)
    )
    values, slopes = run(jnp.asarray(theta.array, jnp.float32), keys)
    values, slopes = np.asarray(values, np.float64), np.asarray(slopes, np.float64)
    good = np.isfinite(values) & np.isfinite(slopes).all(axis=1)
    _check_enough(good, slopes.shape[1], f"{statistic} and its gradient")
    return column, values, np.where(good[:, None], slopes, 0.0) * np.sqrt(len(good) / good.sum())


def _statistic_of(model: Model, statistic: str) -> Callable:
    names, outputs = model.prior.names, [c.name for c in model.statistics]
    place = sum(c.size for c in model.statistics[: outputs.index(statistic)])

    def one(theta, key):
        found = model.simulator.function(dict(zip(names, theta, strict=True)), key)
        value = found[statistic] if isinstance(found, dict) else jnp.ravel(found)[place]
        return jnp.reshape(value, ())

    return one
