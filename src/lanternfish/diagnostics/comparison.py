"""How far is a posterior from a reference, such as samples of the exact one?

    C2ST          share of samples that a classifier assigns to the right set (``c2st``)
    Wasserstein   mean over directions u of  integral |F(u'z) - G(u'z)|,   z in standard deviations
                  of the reference (sliced Wasserstein-1 distance: Bonneel et al. 2015)
    means         |mean(z) - mean(z_ref)| / sqrt(d)
    covariances   |cov(y) - I|_F / sqrt(d),   y whitened by the reference

Each comes with its standard error (bootstrap) and with what sets of one law of this size reach in
one of 20 cases: by permutation of both sets' labels, or for C2ST by the binomial law of its hits.
The comparison passes where no distance is beyond chance, with a false alarm of ``FALSE_ALARM`` over
all four.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from lanternfish.core import Column, Posterior, Table
from lanternfish.core.seeds import stream
from lanternfish.core.table import as_table
from lanternfish.diagnostics.c2st import FOLDS, c2st

FALSE_ALARM = 0.05  # chance that samples of the reference's law fail
_DIRECTIONS = 100
_SHUFFLES = 199
_BOOTSTRAPS = 50
_REPEATED = 0.05  # share of samples that may be repeats before it is said
_NAMES = ("C2ST", "Wasserstein", "means", "covariances")


@dataclass(frozen=True)
class Comparison:
    """Distances of a posterior from a reference.

    Attributes:
        finding: numbers and sentences, ready for ``Run.with_checks`` and for JSON: ``passed``,
            ``sentence``, ``distances`` (name, value, error, chance, p_value), ``parameters`` (name,
            difference of means in reference deviations, ratio of deviations, their errors).
        columns: the parameters.
    """

    finding: dict
    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> dict:
        """One distance by name: ``C2ST``, ``Wasserstein``, ``means`` or ``covariances``."""
        for row in self.finding["distances"]:
            if row["name"] == name:
                return row
        raise KeyError(f"Expected one of {', '.join(_NAMES)}; got {name}.")

    @property
    def passed(self) -> bool:
        return self.finding["passed"]

    def __repr__(self) -> str:
        return self.finding["sentence"]


def compare(
    posterior: Posterior | Table | np.ndarray,
    reference: Posterior | Table | np.ndarray,
    *,
    n: int = 1_000,
    seed: int = 0,
) -> Comparison:
    """Compare samples of two posteriors.

    Args:
        posterior: to be judged: a posterior, which is sampled, or samples, a table or (m, d).
        reference: that it should be, likewise, with the same parameters.
        n: samples of each that are looked at; fewer where fewer are given. More see smaller
            differences and take longer.
        seed: of the samples, shuffles and the classifier.

    Raises:
        ValueError: if there are too few samples, they are not finite, of other parameters, or the
            reference does not vary in every direction.
        TypeError: if either is neither posterior nor samples.
    """
    columns = _columns(posterior) or _columns(reference)
    a = _samples(reference, columns, n, stream(seed, "compare reference"), "reference samples")
    columns = columns or tuple(Column(f"parameter_{i}") for i in range(a.shape[1]))
    b = _samples(posterior, columns, n, stream(seed, "compare samples"), "samples")
    m = min(len(a), len(b))
    a, b = a[:m], b[:m]
    root = _root_of(a, columns)
    rng = np.random.default_rng(stream(seed, "compare shuffles"))
    rows = [_told_apart(a, b, seed)]
    z = np.concatenate([a, b])
    z = (z - a.mean(axis=0)) / a.std(axis=0)
    y = solve_triangular(root, (np.concatenate([a, b]) - a.mean(axis=0)).T, lower=True).T
    rows += [
        _shuffled("Wasserstein", _sliced(z, rng), m, rng),
        _shuffled("means", _mean_distance(z), m, rng),
        _shuffled("covariances", _covariance_distance(y), m, rng),
    ]
    for row in rows:
        row["passed"] = row["p_value"] >= FALSE_ALARM / len(rows)
    finding = {
        "passed": all(row["passed"] for row in rows),
        "n": m,
        "distances": rows,
        "parameters": [_parameter(c, a[:, i], b[:, i]) for i, c in enumerate(columns)],
    }
    finding["sentence"] = _sentence(finding, a, b)
    return Comparison(finding, columns)


def _columns(given) -> tuple[Column, ...] | None:
    if isinstance(given, Posterior):
        return given.parameters
    return given.columns if isinstance(given, Table) else None


def _samples(given, columns, n: int, seed: int, what: str) -> np.ndarray:
    """Up to n samples (m, d), in the order of the columns."""
    if isinstance(given, Posterior):
        draw = getattr(given, "systematic", given.sample)  # of a set: with as few repeats as can be
        given = draw(n, seed=seed)
    if isinstance(given, Table) or (columns is not None and np.ndim(given) == 2):
        array = as_table(given, columns, what).array
    else:
        array = np.asarray(given, np.float64)
    if array.ndim != 2 or len(array) < 10 * FOLDS:
        raise ValueError(
            f"Expected a posterior, or at least {10 * FOLDS} {what} of shape (m, d); got shape "
            f"{array.shape}: draw more."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite {what}; got NaN or infinity: leave those rows out.")
    rows = np.random.default_rng(seed).permutation(len(array))[:n]
    return np.array(array[rows])


def _root_of(a: np.ndarray, columns) -> np.ndarray:
    """Cholesky root of the reference's covariance."""
    covariance = np.atleast_2d(np.cov(a.T, bias=True))
    constant = [c.name for c, v in zip(columns, np.diag(covariance), strict=True) if not v > 0]
    if constant:
        raise ValueError(
            f"Expected a reference that varies in each parameter; got {', '.join(constant)} "
            "constant: leave it out of both."
        )
    sd = np.sqrt(np.diag(covariance))
    try:
        root = np.linalg.cholesky(covariance / np.outer(sd, sd))
    except np.linalg.LinAlgError:
        root = np.zeros_like(covariance)
    if np.min(np.diag(root)) < 1e-6:
        raise ValueError(
            "Expected a reference that varies in every direction; got a parameter that is a "
            "combination of others, or fewer samples than parameters: leave it out of both, or "
            "draw more."
        )
    return sd[:, None] * root


def _told_apart(a: np.ndarray, b: np.ndarray, seed: int) -> dict:
    found = c2st(a, b, seed=seed + 1)
    return {"name": "C2ST", "nothing": 0.5, **vars(found)}


Weighted = Callable[[np.ndarray, np.ndarray], float]


def _shuffled(name: str, distance: Weighted, m: int, rng: np.random.Generator) -> dict:
    """A distance of weighted rows, its error by bootstrap and its chance by permutation.

    Args:
        distance: of weights (2 m,) that each sum to 1, of the reference and of the samples.
    """
    first = np.repeat([1.0, 0.0], m) / m
    value = distance(first, first[::-1])
    null = np.empty(_SHUFFLES)
    for i in range(_SHUFFLES):
        shuffled = rng.permutation(first)
        null[i] = distance(shuffled, 1 / m - shuffled)
    again = np.empty(_BOOTSTRAPS)
    for i in range(_BOOTSTRAPS):
        counts = [rng.multinomial(m, np.full(m, 1 / m)) / m for _ in range(2)]
        again[i] = distance(np.r_[counts[0], np.zeros(m)], np.r_[np.zeros(m), counts[1]])
    return {
        "name": name,
        "nothing": 0.0,
        "value": value,
        "error": float(again.std(ddof=1)),
        "chance": float(np.quantile(null, 0.95)),
        "p_value": float((1 + np.sum(null >= value)) / (1 + _SHUFFLES)),
    }


def _sliced(z: np.ndarray, rng: np.random.Generator) -> Weighted:
    """Sliced Wasserstein-1 distance: sorted once, so that a weighting takes one running sum."""
    directions = rng.normal(size=(z.shape[1], _DIRECTIONS if z.shape[1] > 1 else 1))
    along = z @ (directions / np.linalg.norm(directions, axis=0))
    order = np.argsort(along, axis=0)
    steps = np.diff(np.take_along_axis(along, order, axis=0), axis=0)

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        between = np.cumsum((first - second)[order], axis=0)[:-1]
        return float(np.mean(np.sum(np.abs(between) * steps, axis=0)))

    return distance


def _mean_distance(z: np.ndarray) -> Weighted:
    size = np.sqrt(z.shape[1])
    return lambda first, second: float(np.linalg.norm((first - second) @ z) / size)


def _covariance_distance(y: np.ndarray) -> Weighted:
    def covariance(weight: np.ndarray) -> np.ndarray:
        away = y - weight @ y
        return (weight[:, None] * away).T @ away

    size = np.sqrt(y.shape[1])
    return lambda first, second: float(
        np.linalg.norm(covariance(first) - covariance(second)) / size
    )


def _parameter(column: Column, a: np.ndarray, b: np.ndarray) -> dict:
    """One parameter: difference of means, ratio of deviations, with standard errors.

    That of a ratio r is r sqrt((k_a - 1) / n_a + (k_b - 1) / n_b) / 2, with k the kurtosis.
    """
    sd, ratio = a.std(), b.std() / a.std()
    kurtosis = [np.mean((v - v.mean()) ** 4) / max(v.var(), 1e-300) ** 2 for v in (a, b)]
    spread = sum(max(k - 1, 0) / len(v) for k, v in zip(kurtosis, (a, b), strict=True))
    return {
        "name": column.name,
        "difference": float((b.mean() - a.mean()) / sd),
        "difference_error": float(np.sqrt(1 / len(a) + ratio**2 / len(b))),
        "ratio": float(ratio),
        "ratio_error": float(ratio * np.sqrt(spread) / 2),
    }


def _sentence(finding: dict, a: np.ndarray, b: np.ndarray) -> str:
    told = ", ".join(
        f"{row['name']} {row['value']:.3f} ± {row['error']:.3f} (chance up to {row['chance']:.3f})"
        for row in finding["distances"]
    )
    n = finding["n"]
    start = f"No difference from the reference beyond chance in {n:,} samples"
    if not finding["passed"]:
        failed = [row["name"] for row in finding["distances"] if not row["passed"]]
        start = (
            f"Differs from the reference beyond chance, in {' and '.join(failed)}, by {n:,} samples"
        )
    sentence = f"{start}: {told}."
    different = min(len(np.unique(v, axis=0)) for v in (a, b))
    if different < (1 - _REPEATED) * n:
        sentence += (
            f" Only {different:,} of {n:,} samples are different ones, which the classifier learns "
            "by heart: compare more accepted simulations, or a smoothed posterior."
        )
    return sentence
