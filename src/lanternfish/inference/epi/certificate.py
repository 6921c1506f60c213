"""How much entropy there is to have: a certificate for the answer of EPI.

For every eta, weak duality bounds the entropy of any distribution with the property:

    H* <= D(eta) = log Z(eta) - eta . [0 ; 1],    Z(eta) = integral b exp(eta . T) dtheta,

with equality at the eta whose tilted distribution has the property. Z is estimated by importance
sampling from the mixture of q and broad draws over the whole support, so that a mode which q lost
is in the estimate with a large weight; D is convex and minimised by Newton's method. eta from one
half of the draws, judged on the other half, errs upwards; eta and D from the same draws err
downwards; the interval runs from the second to the first, with three standard errors beyond.

Noisy statistics make Z too large, E exp(eta . T) > exp(eta . E T): by half as much, to first order,
with twice the trials. D from both halves of the trials, less what it is higher from one half alone,
is free of that order; the difference widens the interval downwards.

Where draws are worth too little, the estimate is that of the annealed population (``population``).

What q lacks is its divergence from the optimum: where it has the property, KL(q || p*) = H* - H(q).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

_STEPS = 60
_ENOUGH = 200.0  # effective draws that an estimate needs
_LONGEST = 0.03  # largest share of the weight that one draw may have
_Z = 3.0


@dataclass(frozen=True)
class Weighted:
    """Draws from a mixture r: T (n, m), log (b / r) (n,), and minus infinity where not valid.

    ``once``: T from half of the trials, where statistics are noisy.
    """

    moments: np.ndarray
    log_ratio: np.ndarray
    once: np.ndarray | None = None


@dataclass(frozen=True)
class Certificate:
    """Entropy of q and of the optimum, in nats.

    Attributes:
        entropy, entropy_error: of q, and the standard error.
        largest: estimate of H*, None where the draws do not allow one.
        low, high: interval of it, three standard errors wide on each side.
        divergence: estimate of KL(q || p*).
        effective: how many independent draws of the optimum the estimate is worth.
        eta: natural parameter of the optimum, (2, r) as lists.
        sentence: all that in words.
    """

    entropy: float
    entropy_error: float
    largest: float | None
    low: float | None
    high: float | None
    divergence: float | None
    effective: float
    eta: list | None
    sentence: str

    def as_plain(self) -> dict:
        """For ``Run.checks``."""
        return asdict(self)


def certify(
    draws: Weighted, eta: np.ndarray, entropy: float, entropy_error: float, mean_moments: np.ndarray
) -> Certificate:
    """The certificate of a density.

    Args:
        draws: from the mixture, with T in the order [u ; u^2], in random order of rows.
        eta: where Newton's method starts, (2, r).
        entropy: of q, with its standard error.
        mean_moments: E_q T, (m,).
    """
    goal = np.repeat([0.0, 1.0], len(mean_moments) // 2)
    start = np.asarray(eta, np.float64).ravel()
    best = _newton(draws, start, goal)
    weights = None if best is None else _weights(draws, best)
    effective = 0.0 if weights is None else float(1 / np.sum(weights**2))
    trusted = effective >= _ENOUGH and weights is not None and weights.max() <= _LONGEST
    if not trusted or best is None:
        sentence = (
            f"The entropy is {entropy:.3f} nats; how much more there could be is not known, "
            f"because {len(draws.log_ratio):,} draws are worth {effective:.0f} of the optimum: "
            "raise samples of EPI, or check by other means in so many dimensions."
        )
        return Certificate(
            entropy, entropy_error, None, None, None, None, effective, None, sentence
        )
    below, error = _dual(draws, best, goal)
    above = _crossed(draws, best, goal)
    above = below if above is None else max(above, below)
    excess = _excess(draws, best, goal, below)
    largest = 0.5 * (above + below) - excess
    divergence = largest - entropy + float(best @ (mean_moments - goal))
    low, high = below - 2 * excess - _Z * error, above + _Z * error
    return Certificate(
        entropy, entropy_error, largest, low, high, max(divergence, 0.0), effective,
        best.reshape(2, -1).tolist(), _sentence(entropy, entropy_error, low, high, divergence),
    )  # fmt: skip


def or_by_population(found: Certificate, largest: float, error: float) -> Certificate:
    """The certificate; where draws do not allow one, with what the annealed population found.

    Args:
        largest, error: estimate of H* and its standard error, in nats.
    """
    if found.largest is not None:
        return found
    low, high = largest - _Z * error, largest + _Z * error
    divergence = largest - found.entropy
    sentence = _sentence(found.entropy, found.entropy_error, low, high, divergence)
    return replace(
        found, largest=largest, low=low, high=high, divergence=max(divergence, 0.0),
        sentence=f"{sentence} (By the annealed population, for draws do not tell.)",
    )  # fmt: skip


def _sentence(entropy, entropy_error, low, high, divergence) -> str:
    at_most = max(0.0, high - entropy + _Z * entropy_error)
    text = (
        f"The entropy is {entropy:.3f} ± {entropy_error:.3f} nats; the largest possible is between "
        f"{low:.3f} and {high:.3f}"
    )
    if divergence < 0.1:
        return f"{text}, so that at most {at_most:.2f} nats are missing."
    return (
        f"{text}: {divergence:.2f} nats from the optimum, as much as leaving out "
        f"{100 * (1 - np.exp(-divergence)):.0f} % of it. Raise polish, or the layers of push."
    )


def _weights(draws: Weighted, eta: np.ndarray) -> np.ndarray:
    """Normalised weights of p_eta, (n,)."""
    logs = draws.log_ratio + draws.moments @ eta
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def _dual(draws: Weighted, eta: np.ndarray, goal: np.ndarray) -> tuple[float, float]:
    """D(eta) and its standard error."""
    logs = draws.log_ratio + draws.moments @ eta
    top = logs.max()
    ratio = np.exp(logs - top)
    mean, n = ratio.mean(), len(ratio)
    error = ratio.std() / mean / np.sqrt(n)
    return float(np.log(mean) + top + 0.5 * error**2 - eta @ goal), float(error)


def _excess(draws: Weighted, eta: np.ndarray, goal: np.ndarray, both: float) -> float:
    """How much noise raises D(eta): what it is higher from half of the trials."""
    if draws.once is None:
        return 0.0
    return max(_dual(Weighted(draws.once, draws.log_ratio), eta, goal)[0] - both, 0.0)


def _crossed(draws: Weighted, start: np.ndarray, goal: np.ndarray) -> float | None:
    """D on each half of the draws, at the eta of the other half: their mean."""
    halves = [Weighted(draws.moments[i::2], draws.log_ratio[i::2]) for i in (0, 1)]
    first, second = (_newton(half, start, goal) for half in halves)
    if first is None or second is None:
        return None
    values = _dual(halves[1], first, goal)[0], _dual(halves[0], second, goal)[0]
    return float(np.mean(values))


def _newton(draws: Weighted, eta: np.ndarray, goal: np.ndarray) -> np.ndarray | None:
    """The minimum of D; None where there is none over these draws."""
    value = _dual(draws, eta, goal)[0]
    for _ in range(_STEPS):
        weights = _weights(draws, eta)
        mean = weights @ draws.moments
        away = draws.moments - mean
        curvature = (away * weights[:, None]).T @ away
        curvature += 1e-9 * (np.trace(curvature) / len(goal) + 1e-12) * np.eye(len(goal))
        step = np.linalg.solve(curvature, mean - goal)
        if float((mean - goal) @ step) < 1e-10:
            return eta
        size = 1.0
        while size > 1e-6:
            tried = eta - size * step
            found = _dual(draws, tried, goal)[0]
            if np.isfinite(found) and found < value:
                break
            size /= 2
        else:
            return eta if np.max(np.abs(mean - goal)) < 1e-2 else None
        eta, value = tried, found
    return None
