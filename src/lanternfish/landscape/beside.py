"""Two posteriors beside each other: where they agree, and where they differ, in numbers.

With densities a and b over the same parameters:

    entropy of each        H(a) = - E_a log a
    divergences            KL(a || b) = E_a log (a / b), and the other way round
    overlap                integral of min(a, b): 1 where they are the same, 0 where they never meet
    support                the share of a inside the region of highest density of b that holds
                           99 % of b, and the other way round
    predictive statistics  mean and standard deviation over fresh simulations of each

All are averages over samples, with standard errors. The overlap is taken over samples of both, of
which each counts between 0 and 1, so that it is reliable where the divergences are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lanternfish.core import Column, Model, Posterior, Table
from lanternfish.core.columns import spans
from lanternfish.core.seeds import check_seed, stream
from lanternfish.simulation import simulate

_MASS = 0.99
_ALIKE, _APART = 0.9, 0.5  # overlap above which two say the same, and below which they do not
_FLOOR = -700.0  # a log density where there is none


@dataclass(frozen=True)
class Number:
    """An estimate and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: of it.
        entropy: in nats, in the parameters' units.
        divergence: from it to the other, KL(it || other), in nats.
        inside: share of it in the other's region of 99 %.
        valid: share of its simulations that are valid.
        predicted: statistics of its samples that are valid, (m, k).
        samples: (n, d).
    """

    name: str
    entropy: Number
    divergence: Number
    inside: Number
    valid: float
    predicted: np.ndarray
    samples: Table

    @property
    def mean(self) -> np.ndarray:
        """Of each statistic, (k,); NaN where nothing is valid."""
        return self._each(np.mean)

    @property
    def sd(self) -> np.ndarray:
        """Of each statistic, (k,)."""
        return self._each(np.std)

    def _each(self, function) -> np.ndarray:
        if not len(self.predicted):
            return np.full(self.predicted.shape[1], np.nan)
        return function(self.predicted, axis=0)


@dataclass(frozen=True)
class Beside:
    """Two posteriors beside each other; see the module.

    Attributes:
        sides: both.
        overlap: integral of the smaller density.
        statistics: columns of the predictive statistics.
        sentence: all that in words.
    """

    sides: tuple[Side, Side]
    overlap: Number
    statistics: tuple[Column, ...]
    sentence: str


def beside(
    first: Posterior,
    second: Posterior,
    model: Model,
    *,
    names: tuple[str, str] = ("first", "second"),
    statistics: Sequence[str] | None = None,
    n: int = 5_000,
    trials: int = 1,
    seed: int = 0,
    executor=None,
) -> Beside:
    """Compare two posteriors of one model that answer the same question.

    Args:
        first, second: over the same parameters, with densities.
        model: simulates from both.
        names: of the two, for words and pictures.
        statistics: of the model, that count; all numbers where left out.
        n: samples of each.
        trials: simulations of each sample, whose mean is the statistic.
        seed: of the samples and simulations.
        executor: runs simulations elsewhere.

    Raises:
        ValueError: if the parameters differ, fewer than 100 samples are asked for, or the model has
            no such statistic.
    """
    check_seed(seed)
    if n < 100:
        raise ValueError(f"Expected n of at least 100 samples; got {n}.")
    for posterior in (first, second):
        if posterior.parameters != model.parameters:
            raise ValueError(
                f"Expected posteriors over the parameters of {model.name} "
                f"({', '.join(model.prior.names)}); got "
                f"{', '.join(c.name for c in posterior.parameters)}."
            )
    columns = _chosen(model, statistics)
    samples = [p.sample(n, seed=stream(seed, f"beside {i}")) for i, p in enumerate((first, second))]
    logs = [[_log(p, s) for p in (first, second)] for s in samples]
    pairs = ((logs[0][0], logs[0][1]), (logs[1][1], logs[1][0]))  # own density, the other's
    thresholds = [np.quantile(own, 1 - _MASS) for own, _ in pairs]
    sides = []
    for i, (own, other) in enumerate(pairs):
        x = _predicted(model, samples[i], columns, trials, stream(seed, f"run {i}"), executor)
        sides.append(Side(
            names[i], _mean(-own), _mean(own - other), _mean(other > thresholds[1 - i]),
            len(x) / n, x, samples[i],
        ))  # fmt: skip
    shared = [2 / (1 + np.exp(np.abs(own - other))) for own, other in pairs]
    overlap = _mean(np.concatenate(shared))
    whole = (sides[0], sides[1])
    return Beside(whole, overlap, columns, _sentence(whole, overlap))


def _chosen(model: Model, names: Sequence[str] | None) -> tuple[Column, ...]:
    numbers = {c.name: c for c in model.statistics if not c.is_array}
    wanted = list(numbers) if names is None else list(names)
    unknown = [name for name in wanted if name not in numbers]
    if unknown:
        raise ValueError(
            f"Expected statistics of {model.name} that are numbers ({', '.join(numbers)}); got "
            f"{', '.join(unknown)}."
        )
    return tuple(numbers[name] for name in wanted)


def _log(posterior: Posterior, samples: Table) -> np.ndarray:
    found = np.asarray(posterior.log_prob(samples), np.float64)
    return np.maximum(np.nan_to_num(found, nan=_FLOOR, neginf=_FLOOR), _FLOOR)


def _mean(values: np.ndarray) -> Number:
    values = np.asarray(values, np.float64)
    return Number(float(values.mean()), float(values.std() / np.sqrt(len(values))))


def _predicted(
    model: Model, samples: Table, columns, trials: int, seed: int, executor
) -> np.ndarray:
    """Statistics of the samples, means over trials, where they are finite, (m, k)."""
    theta = np.repeat(np.clip(samples.array, model.prior.low, model.prior.high), trials, axis=0)
    sims = simulate(model, theta=theta, seed=seed, executor=executor, progress=False)
    places = dict(zip((c.name for c in model.statistics), spans(model.statistics), strict=True))
    x = sims.x.array[:, [places[c.name].start for c in columns]]
    means = x.reshape(len(samples), trials, -1).mean(axis=1)
    return means[np.isfinite(means).all(axis=1)]


def _sentence(sides: tuple[Side, Side], overlap: Number) -> str:
    a, b = sides
    share = f"{100 * overlap.value:.0f} %"
    if overlap.value >= _ALIKE:
        return f"{a.name} and {b.name} say the same: {share} of their mass is shared."
    wider, narrower = (a, b) if a.entropy.value >= b.entropy.value else (b, a)
    more = wider.entropy.value - narrower.entropy.value
    held = 100 * narrower.inside.value
    words = "say much the same" if overlap.value >= _APART else "differ"
    return (
        f"{a.name} and {b.name} {words}: {share} of their mass is shared. {wider.name} has "
        f"{more:.2f} nats more entropy, as if it covered {np.exp(min(more, 50)):.3g} times the "
        f"volume, and holds {held:.0f} % of {narrower.name} in its region of 99 %."
    )
