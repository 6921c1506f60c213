"""``Reference``: samples of an exact posterior by Markov chains, and how good the chains were.

Of chains that are cut in halves, m sequences of length n with means and variances (Gelman et al.,
Bayesian Data Analysis, 3rd ed., section 11.4):

    W = mean of variances,   B = n var of means,   R = sqrt((n - 1) / n + B / (n W))

and the effective sample size is m n / (1 + 2 sum_t rho_t), autocorrelations summed in pairs until
one is negative (Geyer 1992).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np

from lanternfish.core import Table

_ARRIVED = 1.01  # R of chains that have
_ENOUGH = 400  # effective samples of each parameter


@dataclass(frozen=True)
class Reference:
    """Samples of an exact posterior.

    Attributes:
        samples: a table (chains x draws, d), chain after chain.
        rhat: of each parameter, (d,): 1 where chains agree.
        effective: effective sample size of each parameter, (d,).
        error: standard error of each parameter's mean, (d,).
        divergences: steps of NUTS that left the path; 0 of Gibbs.
    """

    samples: Table
    rhat: np.ndarray
    effective: np.ndarray
    error: np.ndarray
    divergences: int = 0

    @property
    def passed(self) -> bool:
        """Whether chains agree, are long enough, and hardly diverged."""
        few = self.divergences <= 0.001 * len(self.samples)
        return bool(np.all(self.rhat < _ARRIVED) and np.all(self.effective > _ENOUGH) and few)

    @property
    def sentence(self) -> str:
        told = (
            f"{len(self.samples):,} samples, worth at least {self.effective.min():,.0f} "
            f"independent ones, R at most {self.rhat.max():.3f}"
        )
        if self.divergences:
            told += f", {self.divergences} divergent steps"
        if self.passed:
            return f"Chains have arrived: {told}."
        return f"Chains have not arrived: {told}: draw more, or after a longer warm-up."

    def __repr__(self) -> str:
        return self.sentence


def of_chains(chains: np.ndarray, columns, divergences: int = 0) -> Reference:
    """The reference of draws (chains, n, d)."""
    c, n, d = chains.shape
    halves = chains[:, : n // 2 * 2].reshape(2 * c, n // 2, d)
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    length = n // 2
    rhat = np.sqrt((length - 1) / length + between / np.maximum(within, 1e-300))
    effective = np.array([_effective(halves[..., i]) for i in range(d)])
    sd = chains.reshape(-1, d).std(axis=0)
    return Reference(
        Table(chains.reshape(-1, d), columns), rhat, effective, sd / np.sqrt(effective), divergences
    )


def _effective(halves: np.ndarray) -> float:
    """Effective sample size of sequences (m, n) of one parameter."""
    m, n = halves.shape
    away = halves - halves.mean(axis=1, keepdims=True)
    size = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(away, size, axis=1)) ** 2
    covariance = np.fft.irfft(power, size, axis=1)[:, :n].mean(axis=0) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + halves.mean(axis=1).var(ddof=1)
    if total <= 0:
        return float(m * n)
    rho = 1 - (within - covariance) / total
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs < 0)) if (pairs < 0).any() else len(pairs)
    kept = np.minimum.accumulate(pairs[:stop]) if stop else pairs[:1]
    return float(min(m * n, m * n / max(2 * kept.sum() - 1, 1e-3)))


def needed(package: str, what: str):
    """A package of the extra ``reference``."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise ImportError(
            f"Expected {package}, {what}; got an environment without it: "
            "pip install 'lanternfish[reference]'."
        ) from None


def check_counts(**counts: int) -> None:
    """Raise one sentence if a number of steps is none."""
    for name, n in counts.items():
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"Expected {name}, a whole number of at least 1; got {n!r}.")
