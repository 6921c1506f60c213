"""Whether a distribution has the property: an equivalence test on fresh samples.

With n parameter sets from q, never seen in training, and e the standard error of an estimate, the
mean of a statistic is proven equal to the property's within delta where

    |estimate - mu| + z e <= delta,    z = 1.645 at 95 % confidence,

(two one-sided tests, Schuirmann 1987), and so the variance, with e from the fourth moment. A run
has converged where this holds for every mean and every variance: all must pass, so that the level
of the whole is that of each (intersection-union test, Berger 1982). What is not proven is not
converged, however few samples there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from lanternfish.core import EmergentProperty

MOST_DEAD = 0.02  # share of samples that may lack finite statistics


@dataclass(frozen=True)
class Tolerance:
    """How near is near enough.

    Args:
        mean: of the property's standard deviation.
        variance: of the property's variance.
        confidence: of each test.
    """

    mean: float = 0.05
    variance: float = 0.10
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("mean", "variance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected a tolerance above 0 for the {name}; got "
                                 f"{getattr(self, name)}.")  # fmt: skip
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"Expected confidence between 0.5 and 1; got {self.confidence}.")


def converged(
    target: EmergentProperty, u: np.ndarray, square: np.ndarray, tolerance: Tolerance, dead: float
) -> dict:
    """The finding: numbers of each statistic, and a sentence.

    Args:
        u, square: T of fresh samples that have finite statistics, (n, r) each.
        dead: share of the samples that have none.
    """
    z, n = float(ndtri(tolerance.confidence)), max(len(u), 2)
    found, failed = {}, []
    for i, (name, wanted) in enumerate(target.items()):
        mean = float(u[:, i].mean()) if len(u) else float("nan")
        around = square[:, i] - 2 * mean * u[:, i] + mean**2  # (u - mean)^2 of each
        variance = float(around.mean()) if len(u) else float("nan")
        error = float(np.std(u[:, i])) / np.sqrt(n)
        variance_error = float(np.std(around)) / np.sqrt(n)
        far = abs(mean) + z * error
        variance_far = abs(variance - 1) + z * variance_error
        entry = {
            "mean": wanted.mean + wanted.sd * mean,
            "sd": wanted.sd * float(np.sqrt(max(variance, 0.0))),
            "mean_within": far,
            "variance_within": variance_far,
            "mean_holds": bool(far <= tolerance.mean),
            "variance_holds": bool(variance_far <= tolerance.variance),
        }
        found[name] = entry
        if not entry["mean_holds"]:
            failed.append((far / tolerance.mean, _mean_sentence(name, wanted, entry)))
        if not entry["variance_holds"]:
            failed.append((variance_far / tolerance.variance, _sd_sentence(name, wanted, entry)))
    passed = not failed and dead <= MOST_DEAD
    return {
        "passed": passed,
        "statistics": found,
        "samples": len(u),
        "dead": dead,
        "sentence": _sentence(len(u), tolerance, [s for _, s in sorted(failed)[::-1]], dead),
    }


def _mean_sentence(name: str, wanted, entry: dict) -> str:
    return (
        f"the mean of {name} is {entry['mean']:.5g} where {wanted.mean:.5g} is wanted, "
        f"{abs(entry['mean'] - wanted.mean) / wanted.sd:.2f} of its standard deviation away"
    )


def _sd_sentence(name: str, wanted, entry: dict) -> str:
    share = 100 * ((entry["sd"] / wanted.sd) ** 2 - 1)
    return (
        f"the standard deviation of {name} is {entry['sd']:.4g} where {wanted.sd:.4g} is wanted, "
        f"a variance {abs(share):.0f} % too {'large' if share > 0 else 'small'}"
    )


def _sentence(n: int, tolerance: Tolerance, failed: list[str], dead: float) -> str:
    within = (
        f"within {100 * tolerance.mean:g} % of its standard deviation and "
        f"{100 * tolerance.variance:g} % of its variance"
    )
    if failed:
        return f"Not converged: {'; '.join(failed)} ({n:,} fresh samples)."
    if dead > MOST_DEAD:
        return f"Not converged: {100 * dead:.0f} % of the samples have no finite statistics."
    return f"Converged: every mean and variance is {within}, by {n:,} fresh samples."
