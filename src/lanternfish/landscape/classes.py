"""Classes of behaviour over a parameter space: how large is each, and which parameters decide?

A label for each simulation divides the space. What one parameter says about the label is their
mutual information,

    I(theta_j; label) = sum_{b, c} p(b, c) log2 [ p(b, c) / (p(b) p(c)) ]    bits,

over its bins b: its levels where it has few, else shares of equal number. Of n independent counts
2 n ln(2) I has, without relation, the chi-squared law of (bins - 1)(classes - 1) degrees of freedom
(G-test, Wilks 1938): its mean is taken off, and its quantile is what chance may reach. The error is
a bootstrap's. A parameter may decide together with another and say nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import chi2

from lanternfish.core import Column, Simulations, Table
from lanternfish.core.weighted import Share, share
from lanternfish.landscape.spiking import FIRING, known_firing
from lanternfish.landscape.words import aligned, named, percent

Label = Callable[[Table, Table], Sequence]
_LEVELS = 24  # different values up to which each is a bin of its own
_BINS = 12
_BOOTSTRAPS = 30
_FALSE_ALARM = 0.01  # chance that some parameter without a say is told to have one


@dataclass(frozen=True)
class Importance:
    """What each parameter by itself says about the label.

    Attributes:
        columns: the parameters.
        bits: mutual information of each, (d,), less what chance gives on average.
        error: standard error of each, (d,).
        chance: what the largest of d parameters without a say passes in one case of a hundred.
        entropy: of the label, in bits: what there is to say.
    """

    columns: tuple[Column, ...]
    bits: np.ndarray
    error: np.ndarray
    chance: float
    entropy: float

    @property
    def order(self) -> np.ndarray:
        """Numbers of the parameters, the most telling first."""
        return np.argsort(-self.bits, kind="stable")

    @property
    def sentence(self) -> str:
        telling = [i for i in self.order if self.bits[i] > self.chance]
        if not telling:
            return "No parameter by itself tells the class beyond chance."
        first = ", ".join(
            f"{self.columns[i].name} ({self.bits[i]:.2g} ± {self.error[i]:.1g} bits)"
            for i in telling[:3]
        )
        return (
            f"Of {self.entropy:.2g} bits, {first} tell most by themselves; "
            f"{len(telling)} of {len(self.columns)} parameters tell something beyond chance."
        )

    def __repr__(self) -> str:
        rows = [("", "bits", "error")]
        rows += [
            (named(self.columns[i]), f"{self.bits[i]:.3f}", f"{self.error[i]:.3f}")
            for i in self.order
        ]
        return f"{self.sentence}\n{aligned(rows)}"


@dataclass(frozen=True)
class Classes:
    """Labelled parameters.

    Attributes:
        theta: parameters, a table (n, d).
        names: of the classes.
        codes: which class each row is of, (n,), numbers into ``names``.
        weight: importance weights, (n,).
    """

    theta: Table
    names: tuple[str, ...]
    codes: np.ndarray
    weight: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The class of each row by name, (n,)."""
        return np.array(self.names)[self.codes]

    @cached_property
    def shares(self) -> dict[str, Share]:
        """Share of each class, with its 95 % interval, by name."""
        return {name: share(self.codes == i, self.weight) for i, name in enumerate(self.names)}

    def of(self, name: str) -> Table:
        """The parameters of one class."""
        if name not in self.names:
            raise ValueError(f"Expected a class out of {', '.join(self.names)}; got {name!r}.")
        return self.theta[self.codes == self.names.index(name)]

    def importance(self, seed: int = 0) -> Importance:
        """What each parameter by itself says about the class."""
        rng, d = np.random.default_rng(seed), len(self.theta.columns)
        bins = [binned(values) for values in self.theta.array.T]
        found = np.array([self._information(b, self.codes, self.weight) for b in bins])
        classes = len(np.unique(self.codes))
        freedom = np.array([(len(np.unique(b)) - 1) * (classes - 1) for b in bins])
        effective = self.weight.sum() ** 2 / np.sum(self.weight**2)
        unit = 1 / (2 * effective * np.log(2))
        most = chi2.ppf((1 - _FALSE_ALARM) ** (1 / d), np.maximum(freedom, 1))
        again = np.empty((_BOOTSTRAPS, d))
        for i in range(_BOOTSTRAPS):
            weight = self.weight * rng.poisson(1.0, len(self.codes))
            again[i] = [self._information(b, self.codes, weight) for b in bins]
        return Importance(
            columns=self.theta.columns,
            bits=found - freedom * unit,
            error=again.std(axis=0, ddof=1),
            chance=float(np.max((most - freedom) * unit)),
            entropy=_entropy(np.bincount(self.codes, self.weight, len(self.names))),
        )

    def _information(self, bins: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> float:
        classes = len(self.names)
        counts = np.bincount(bins * classes + codes, weight, (bins.max() + 1) * classes)
        joint = counts.reshape(-1, classes)
        return _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - _entropy(joint)

    def __repr__(self) -> str:
        rows = [
            (name, percent(s.value), f"{percent(s.low)} to {percent(s.high)}")
            for name, s in self.shares.items()
        ]
        return f"Classes of {len(self.codes):,} simulations\n{aligned(rows)}"


def classify(
    simulations: Simulations, label: Label | None = None, names: Sequence[str] | None = None
) -> Classes:
    """Label simulations.

    >>> import lanternfish as lf
    >>> model = lf.Model(
    ...     lf.Prior(a=lf.Uniform(-1, 1)), lf.BatchSimulator(lambda theta, seeds: theta**2, ["b"])
    ... )
    >>> sims = lf.simulate(model, 1_000, seed=0)
    >>> classify(sims, lambda theta, x: np.where(x["b"] > 0.25, "far", "near")).names
    ('far', 'near')

    Args:
        simulations: of one model, invalid ones included.
        label: ``label(theta, x)`` of tables of n rows returns n labels, of text, numbers or bool;
            rows that are invalid have NaN among their statistics. Where left out, ``"valid"`` or
            ``"invalid"``.
        names: of the classes, in order; by their share where left out, and silent, tonic,
            bursting, irregular where these are the labels.

    Raises:
        ValueError: if there are not as many labels as simulations, or one is not among the names.
    """
    if label is None:
        found = np.where(simulations.valid, "valid", "invalid")
    else:
        found = np.asarray(label(simulations.theta, simulations.x))
    if found.shape != (len(simulations),) or not len(found):
        raise ValueError(
            f"Expected a label for each of {len(simulations):,} simulations; got shape "
            f"{found.shape}: label(theta, x) is called with tables of all rows."
        )
    known, codes, counts = np.unique(found.astype(str), return_inverse=True, return_counts=True)
    ordered: list[str] = known[np.argsort(-counts, kind="stable")].tolist()
    if names is not None:
        ordered = list(names)
    elif known_firing(ordered):
        ordered = [name for name in FIRING if name in ordered]
    strange = [name for name in known if name not in ordered]
    if strange:
        raise ValueError(
            f"Expected labels out of {', '.join(ordered)}; got {', '.join(strange[:5])} too."
        )
    places = np.array([ordered.index(name) for name in known])
    return Classes(simulations.theta, tuple(ordered), places[codes], simulations.weight)


def binned(values: np.ndarray) -> np.ndarray:
    """A bin for each value, (n,) of whole numbers: its level, or its place among equal shares."""
    levels = np.unique(values)
    if len(levels) <= _LEVELS:
        return np.searchsorted(levels, values)
    edges = np.quantile(values, np.arange(1, _BINS) / _BINS)
    return np.searchsorted(edges, values, side="right")


def _entropy(counts: np.ndarray) -> float:
    """In bits, of counts of any shape."""
    p = counts[counts > 0] / counts.sum()
    return float(-np.sum(p * np.log2(p)))
