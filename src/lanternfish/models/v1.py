"""Primary visual cortex: four cell types in a stabilised network driven by correlated noise.

    tau dx/dt = -x + [W x + h + epsilon]_+^2,        h = h_b + c h_c
    tau_n d epsilon = -epsilon dt + sqrt(2 tau_n) sigma~ dB,    sigma~ = sigma sqrt(1 + tau / tau_n)

Populations E, P, S and V: excitatory neurons and those that express parvalbumin, somatostatin and
vasoactive intestinal peptide. The parameters are the four noise amplitudes sigma, of the input as
the rates see it. The statistic is the fluctuation of the excitatory rate x_E: its standard
deviation over the last 25 of 100 ms, averaged over trials. Emergent property inference asks which
noise makes it 5 or 10 Hz; sigma_E and sigma_P do, sigma_S and sigma_V hardly matter.

Euler-Maruyama with steps of 0.5 ms, as published; ``dt`` makes them finer. The gradient is carried
forward in time (`forward_mode`): all trials of one noise draw with four directions at once.

Traps, for whoever compares with published numbers:

- *Prior.* The paper prints [0, 0.5] for sigma. Its code has [0, 0.005] in units of the fit, which
  are [0, 0.05] in those of W and h, the ones used here. At 0.05 in all populations s_E is 17 Hz; at
  0.5 the network is unstable.
- *Units of the fit.* W there is ten times, h a tenth, rates a hundredth of what stands here. The
  entropies of published traces are in them: add 4 ln 10 nats.
- *Contrast.* 0.5 in the code; the paper does not say.
- *Duration.* 100 ms with the last 25 measured, as in the paper; its code has 75 ms.
- *Window.* Noise with a time constant of 5 ms does not show all of its variance in 25 ms, so the
  statistic lies below the stationary standard deviation.

References: Bittner et al. (2021), eLife 10:e56265, "EPI of stochastic stabilized supralinear
network"; Hennequin et al. (2018), Neuron 98:846-860; W and h of Palmigiano et al. (2020), bioRxiv.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lanternfish.core import (
    Column,
    EmergentProperty,
    JaxSimulator,
    Model,
    Prior,
    Traces,
    Uniform,
    vector_of,
)
from lanternfish.models.counter_noise import normals, words
from lanternfish.models.forward_mode import forward_mode
from lanternfish.models.jax_traces import trace_all
from lanternfish.models.options import check_trials

POPULATIONS = ("E", "P", "S", "V")

# rows: postsynaptic E, P, S, V
W = np.array(
    [
        [0.218, -0.119, -0.0594, -0.0229],
        [0.166, -0.0651, -0.068, -0.0242],
        [0.0895, -5.22e-4, -1.51e-5, -0.0761],
        [0.334, -0.231, -0.0254, -2.52e-5],
    ]
)
H_BASE = np.array([4.16, 4.29, 4.91, 4.86])
H_CONTRAST = np.array([3.59, 4.03, 0.0, 0.0])
CONTRAST = 0.5
TAU, TAU_NOISE = 1.0, 5.0  # ms
DURATION, MEASURED = 100.0, 25.0  # ms; the last part is measured
DT = 0.5  # ms
X_START = (10.0, 25.0)  # Hz, uniform
X_MAX = 1e5  # Hz, where rates are cut off
TRIALS = 100

prior = Prior(**{f"sigma_{p}": Uniform(0.0, 0.05, label=rf"$\sigma_{p}$") for p in POPULATIONS})
STATISTICS = (Column("sd_E", "Hz", r"$s_E$"),)
TARGETS = {
    f"{rate}hz": EmergentProperty(f"Bittner et al. 2021: fluctuations of {rate} Hz", sd_E=(rate, 1))
    for rate in (5, 10)
}


def v1(trials: int = TRIALS, contrast: float = CONTRAST, dt: float = DT) -> Model:
    """The four populations as a model.

    Args:
        trials: over which the statistic is averaged.
        contrast: of the stimulus, from 0 to 1.
        dt: time step, ms; 25 ms are a whole number of them.

    Raises:
        ValueError: if an option does not fit.
    """
    check_trials(trials)
    if not 0 <= contrast <= 1:
        raise ValueError(f"Expected a contrast from 0 to 1; got {contrast}.")
    if not 0 < dt <= TAU or abs(MEASURED / dt - round(MEASURED / dt)) > 1e-6:
        raise ValueError(f"Expected dt above 0, at most 1 ms, and a part of 25 ms; got {dt}.")
    options = {"contrast": float(contrast), "dt": float(dt)}
    return Model(
        prior=prior,
        simulator=JaxSimulator(partial(simulate, trials=int(trials), **options), STATISTICS, 64),
        name="v1",
        targets=TARGETS,
        traces=partial(_traces, **options),
        about="Stochastic stabilised supralinear network of four cell types of mouse V1: Bittner "
        "et al. (2021), eLife 10:e56265.",
    )


def simulate(
    theta, key: Array, *, trials: int = TRIALS, contrast: float = CONTRAST, dt: float = DT
) -> Array:
    """``STATISTICS`` of one network, shape (1,); differentiable."""
    function = partial(_fluctuation, trials=trials, contrast=contrast, dt=dt)
    return forward_mode(function)(vector_of(theta, prior.names), key)


def _fluctuation(sigma: Array, key: Array, *, trials: int, contrast: float, dt: float) -> Array:
    """Standard deviation of x_E over the measured time, mean over trials, shape (1,)."""
    step, state = _start(sigma, key, trials, contrast, dt)
    quiet, loud = round((DURATION - MEASURED) / dt), round(MEASURED / dt)

    def before(state, number):
        return step(state, number), None

    def measured(carry, number):
        state, first, total, square = carry
        state = step(state, number)
        d = state[0][0] - first  # about the first value: keeps float32's digits
        return (state, first, total + d, square + d**2), None

    state, _ = jax.lax.scan(before, state, jnp.arange(quiet))
    none = jnp.zeros_like(state[0][0])
    start = state, state[0][0], none, none
    (_, _, total, square), _ = jax.lax.scan(measured, start, quiet + jnp.arange(loud))
    variance = square / loud - (total / loud) ** 2
    still = variance <= 0
    sd = jnp.where(still, 0.0, jnp.sqrt(jnp.where(still, 1.0, variance)))
    return jnp.mean(sd)[None]


def _start(sigma: Array, key: Array, trials: int, contrast: float, dt: float):
    """The step and the state (x, epsilon), each (4, trials), at time 0."""
    to_start, to_noise = jax.random.split(key)
    x = jax.random.uniform(to_start, (4, trials), sigma.dtype, *X_START)
    stream = words(to_noise)
    h = jnp.asarray(H_BASE + contrast * H_CONTRAST, sigma.dtype)[:, None]
    weights = jnp.asarray(W, sigma.dtype)
    kick = sigma[:, None] * np.sqrt(1 + TAU / TAU_NOISE) * np.sqrt(2 * dt / TAU_NOISE)

    def step(state, number):
        x, noise = state
        drive = jnp.maximum(weights @ x + h + noise, 0.0) ** 2
        drawn = normals(stream, number, (4, trials)).astype(x.dtype)
        after = jnp.minimum(x + dt / TAU * (drive - x), X_MAX)
        return after, noise - dt / TAU_NOISE * noise + kick * drawn

    return step, (x, jnp.zeros_like(x))


def rates(sigma: Array, key: Array, *, contrast: float = CONTRAST, dt: float = DT) -> Array:
    """Rates (Hz) of the four populations in one trial, shape (4, time)."""
    step, state = _start(sigma, key, 1, contrast, dt)

    def one(state, number):
        return step(state, number), state[0][:, 0]

    return jax.lax.scan(one, state, jnp.arange(round(DURATION / dt)))[1].T


def _traces(theta: np.ndarray, seeds: np.ndarray, *, contrast: float, dt: float) -> Traces:
    def function(theta, key):
        return rates(vector_of(theta, prior.names), key, contrast=contrast, dt=dt)

    x = trace_all(function, prior.names, theta, seeds)
    return Traces(np.arange(x.shape[2]) * dt, x, POPULATIONS, unit="Hz")
