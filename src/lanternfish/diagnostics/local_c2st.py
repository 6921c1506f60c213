"""Local two-sample test: is the posterior right at this observation, not only on average?

Of simulated truths (theta_n, x_n), and one posterior draw (theta'_n, x_n) for each, a classifier
learns a score f(theta, x) that is +1 for truths and -1 for draws. Where q = p at x_o, nothing can
be learned there, and f(., x_o) is noise. The statistic is its mean square over draws at x_o,

    T = 1/m sum_i f(theta_i, x_o)^2,    theta_i ~ q(. | x_o).

Under the null hypothesis truth and draw of a pair may be exchanged, which gives T its law without
any assumption: labels are swapped within pairs at random, the classifier fitted anew, T computed.
Classifiers are kernel least squares, (K + n ridge I) alpha = y, so that all shuffles are right-hand
sides of one linear system. Two kernels look together, and the smaller p-value counts by its own law
under the same shuffles:

    quadratic  (1 + z'z* / d)^2 (1 + x'x* / k)     shifts and widths that depend on x
    Gaussian   exp(-|z - z*|^2 / 2d) exp(-|x - x*|^2 / 2k)     anything else, near to x_o

in standardised unbounded parameters z and statistics x.

Reference: Linhart, Gramfort & Rodrigues (NeurIPS 2023), "L-C2ST: local diagnostics for posterior
approximations in simulation-based inference".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from lanternfish.core.seeds import stream

_SHUFFLES = 599
_RIDGE = 0.02
_FEWEST = 50  # pairs
_FAR = 8.0  # standardised values are held within


@dataclass(frozen=True)
class LocalTest:
    """What a classifier makes of posterior draws at the observation.

    Attributes:
        statistic: T of each kernel, in units of its mean under the null hypothesis, (2,).
        chance: the largest T that one of 20 right posteriors reaches, likewise, (2,).
        p_value: of both together.
        null: T under the null hypothesis, in the same units, (shuffles, 2).
        score: f at the draws, of the kernel that tells more, (m,).
    """

    statistic: np.ndarray
    chance: np.ndarray
    p_value: float
    null: np.ndarray
    score: np.ndarray


def local_c2st(
    truths: np.ndarray, draws: np.ndarray, x: np.ndarray, here: np.ndarray, x_obs: np.ndarray,
    seed: int = 0,
) -> LocalTest:  # fmt: skip
    """Test draws at an observation.

    Args:
        truths, draws: unbounded parameters (n, d) of pairs.
        x: their statistics (n, k).
        here: draws at the observation, (m, d).
        x_obs: its statistics, (k,).

    Raises:
        ValueError: if there are too few pairs, or statistics are constant.
    """
    n = len(truths)
    if n < _FEWEST:
        raise ValueError(
            f"Expected at least {_FEWEST} pairs to compare; got {n}: raise the budget."
        )
    both = np.concatenate([truths, draws])
    centre, scale = both.mean(axis=0), both.std(axis=0) + 1e-300
    x_centre, x_scale = _robust(x)
    z, z_here = _held((both - centre) / scale), _held((here - centre) / scale)
    s, s_obs = _held((x - x_centre) / x_scale), _held((x_obs - x_centre) / x_scale)
    s, s_here = np.tile(s, (2, 1)), np.tile(s_obs, (len(here), 1))
    rng = np.random.default_rng(stream(seed, "local c2st"))
    signs = np.concatenate([np.ones((n, 1)), rng.choice([-1.0, 1.0], (n, _SHUFFLES))], axis=1)
    labels = np.concatenate([signs, -signs])
    scores = [_scores(kernel, (z, s), (z_here, s_here), labels) for kernel in (_quadratic, _normal)]
    squares = np.stack([np.mean(f**2, axis=0) for f in scores], axis=1)  # (1 + shuffles, 2)
    p = _combined(squares)
    unit = squares[1:].mean(axis=0)
    best = int(np.argmax(squares[0] / unit))
    return LocalTest(
        statistic=squares[0] / unit,
        chance=np.quantile(squares[1:], 0.95, axis=0) / unit,
        p_value=p,
        null=squares[1:] / unit,
        score=scores[best][:, 0],
    )


def _robust(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, middle, high = np.quantile(x, [0.16, 0.5, 0.84], axis=0)
    scale = (high - low) / 2
    return middle, np.where(scale > 0, scale, x.std(axis=0) + 1e-300)


def _held(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -_FAR, _FAR)


def _quadratic(a, b) -> np.ndarray:
    (z, x), (z_, x_) = a, b
    return (1 + z @ z_.T / z.shape[1]) ** 2 * (1 + x @ x_.T / x.shape[1])


def _normal(a, b) -> np.ndarray:
    (z, x), (z_, x_) = a, b
    return np.exp(-_squares(z, z_) / (2 * z.shape[1]) - _squares(x, x_) / (2 * x.shape[1]))


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    found = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    return np.maximum(found, 0.0)


def _scores(kernel, rows, here, labels: np.ndarray) -> np.ndarray:
    """f at draws of the observation, (m, 1 + shuffles), of labellings (2n, 1 + shuffles)."""
    gram = kernel(rows, rows)
    size = float(np.mean(np.diag(gram)))
    gram[np.diag_indices_from(gram)] += _RIDGE * size * len(gram)
    weights = cho_solve(cho_factor(gram, overwrite_a=True), kernel(rows, here))  # few columns
    return weights.T @ labels


def _combined(squares: np.ndarray) -> float:
    """p-value of the first row: how often the smaller p-value of a shuffle is as small as its."""
    n = len(squares)
    order = np.sort(squares, axis=0)
    each = np.stack(
        [n - np.searchsorted(order[:, j], squares[:, j]) for j in range(squares.shape[1])], axis=1
    )  # how many are as large, itself included
    least = each.min(axis=1) + each.sum(axis=1) / (n * (squares.shape[1] + 1))
    return float(np.sum(least <= least[0]) / n)
