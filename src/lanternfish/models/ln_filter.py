"""Linear-nonlinear temporal filter: a receptive field in time, whose posterior is known.

    I_t ~ N(0, 1)                                      white noise, 100 bins
    P(y_t = 1) = 1 / (1 + exp(-u_t)),    u_t = b + sum_{j < 9} h_j I_{t - j}

The statistics, the number of spikes and the sum over spikes of the stimulus at each lag,
X' y with X = (1, I_t, ..., I_{t - 8}), are sufficient: nothing is lost by them. The prior is normal
with a precision that makes the filter smooth,

    P = diag(1/2, F'F),    F = D^2 + diag(sqrt(i / 9)),    D the first difference,

so that the posterior can be sampled exactly, by Polya-Gamma augmentation or by NUTS
(``lanternfish.diagnostics.reference``).

The cell of ``targets`` has b = -2 and h_j = k^3 exp(-k), k = j + 1; its stimulus and its spikes are
those of the reference samples of the paper's code (seed 42).

Reference: Goncalves et al. (2020), eLife 9:e56261, Methods "Linear-nonlinear encoding model".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import Column, CorrelatedNormal, JaxSimulator, Model, Observation, Prior

LAGS = 9
BINS = 100
TRUE = np.r_[-2.0, np.arange(1, LAGS + 1) ** 3 * np.exp(-np.arange(1.0, LAGS + 1))]
SPIKES = (1, 13, 17, 18, 20, 21, 23, 24, 25, 26, 32, 49, 68, 69, 71, 72, 95, 97)  # bins, of 100
PARAMETERS = (Column("b"), *(Column(f"h{j}", label=f"$h_{j}$") for j in range(LAGS)))
STATISTICS = (
    Column("spikes"),
    *(Column(f"sum{j}", label=f"stimulus {j} bins before") for j in range(LAGS)),
)
_STIMULUS = 1608637542  # seed of the stimulus: first word of NumPy's legacy generator of seed 42


def precision() -> np.ndarray:
    """Precision P of the prior, (10, 10)."""
    difference = np.eye(LAGS) - np.eye(LAGS, k=-1)
    root = difference @ difference + np.diag(np.sqrt(np.arange(LAGS) / LAGS))
    found = np.zeros((LAGS + 1, LAGS + 1))
    found[0, 0], found[1:, 1:] = 0.5, root.T @ root
    return found


def design(bins: int = BINS) -> np.ndarray:
    """Design matrix X (bins, 10): ones, and the stimulus at each lag, 0 before the first bin."""
    stimulus = np.random.RandomState(_STIMULUS).randn(bins)
    lagged = [np.r_[np.zeros(j), stimulus[: bins - j]] for j in range(LAGS)]
    return np.stack([np.ones(bins), *lagged], axis=1)


def spikes() -> np.ndarray:
    """The measured spike train, (100,) of 0 and 1."""
    train = np.zeros(BINS)
    train[list(SPIKES)] = 1
    return train


prior = Prior(CorrelatedNormal(PARAMETERS, np.zeros(LAGS + 1), np.linalg.inv(precision())))


def ln_filter(bins: int = BINS) -> Model:
    """The LN temporal filter.

    Args:
        bins: of the stimulus; more make the posterior narrower. The measured target is of 100.

    Raises:
        ValueError: if there are fewer bins than lags.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < LAGS:
        raise ValueError(f"Expected bins, a whole number of at least {LAGS}; got {bins!r}.")
    x = jnp.asarray(design(bins), jnp.float32)

    def simulate(theta, key):
        drive = x @ jnp.stack([theta[c.name] for c in PARAMETERS])
        return x.T @ jax.random.bernoulli(key, jax.nn.sigmoid(drive))

    targets = {}
    if bins == BINS:
        cell = design().T @ spikes()
        targets["cell"] = Observation.from_array(cell, STATISTICS, "made with the true filter")
    return Model(
        prior=prior,
        simulator=JaxSimulator(simulate, STATISTICS),
        name="ln_filter",
        targets=targets,
        about="A neuron that sees white noise (Goncalves et al. 2020): its filter over time, ten "
        "parameters whose posterior is known exactly.",
    )
