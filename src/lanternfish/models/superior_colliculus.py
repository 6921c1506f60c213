"""Superior colliculus in rapid task switching: four populations, one rule, two choices.

    tau du/dt = -u + W x + h(t) + noise,        x = tanh((u - theta) / beta) / 2 + 1/2

Populations of Pro and Anti neurons on either side: LP, LA, RA, RP. By symmetry W has four weights,
the parameters: within a population (sW), between those of one side (vW), across to the other kind
on the other side (dW) and to the same kind (hW). Each trial holds a rule (1.2 s), then a light on
the left (0.3 s) and a choice: LP against RP. In the Pro task the left must win, in Anti the right.

The two statistics are the accuracies in both tasks, each the mean over trials of the chance
1 / (1 + exp(-100 (x_LP - x_RP))) that the left wins at the end. Inactivation by light in the delay
multiplies all x by 1 - gamma in a window of time.

Traps, for whoever compares with published numbers:

- *The time step belongs to the model*: 24 ms, with noise 0.2 dt / tau N(0, 1) in each step, not
  scaled with the square root of dt, as published.
- *Start*: x_0 = 0.1 + 0.005 N(0, 1), but u_0 = beta atanh(2 x_0 - 1) - theta; the inverse of the
  equation above would have + theta. As published.
- *Variance*: the property's variance is that of accuracies over parameters, not over trials.

References: Duan et al. (2021), Nat. Neurosci. 24:1131-1142; property of Bittner et al. (2021),
eLife 10:e56265, "Superior colliculus".
"""

from __future__ import annotations

from functools import partial
from typing import Any

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

POPULATIONS = ("LP", "LA", "RA", "RP")
TASKS = ("Pro", "Anti")

prior = Prior(**{f"{w}W": Uniform(-5.0, 5.0, label=f"${w}W$") for w in ("s", "v", "d", "h")})
_WEIGHTS = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])  # of (s, v, d, h)
# (sW, vW, hW, dW) = MODES lambda / 4, with W's eigenvalues lambda = (all, side, task, diag)
MODES = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])

THETA, BETA, TAU, DT, STEPS = 0.05, 0.5, 0.09, 0.024, 75  # 1, 1, s, s: 1.8 s in all
NOISE, SHARPNESS = 0.2, 100.0
ALWAYS, PRO_BIAS, RULE, CHOICE, LIGHT = 0.75, 0.5, 0.6, 0.25, 0.5
RULE_END, LIGHT_END = 1.2, 1.5  # s
TRIALS = 200
WINDOW = (0.8, 1.2)  # s, of inactivation

STATISTICS = (
    Column("accuracy_pro", "", r"$p_\mathrm{P}$"),
    Column("accuracy_anti", "", r"$p_\mathrm{A}$"),
)
TARGETS = {
    "switching": EmergentProperty(
        "Bittner et al. 2021: rapid task switching",
        accuracy_pro=(0.75, 0.075),
        accuracy_anti=(0.75, 0.075),
    )
}


def superior_colliculus(
    trials: int = TRIALS, inactivation: float = 0.0, window: tuple[float, float] = WINDOW
) -> Model:
    """The four populations as a model.

    Args:
        trials: over which the accuracy in each task is averaged.
        inactivation: strength gamma of the inactivation, from 0 to 1.
        window: first and last time of the inactivation, s; the delay where left out.

    Raises:
        ValueError: if an option does not fit.
    """
    check_trials(trials)
    if not 0 <= inactivation <= 1:
        raise ValueError(f"Expected an inactivation from 0 to 1; got {inactivation}.")
    if np.shape(window) != (2,) or not 0 <= window[0] < window[1] <= STEPS * DT:
        raise ValueError(
            f"Expected a window of two rising times from 0 to {STEPS * DT:g} s; got {window!r}."
        )
    options = {
        "inactivation": float(inactivation),
        "window": (float(window[0]), float(window[1])),
    }
    return Model(
        prior=prior,
        simulator=JaxSimulator(partial(simulate, trials=int(trials), **options), STATISTICS, 64),
        name="superior_colliculus",
        targets=TARGETS,
        traces=partial(_traces, **options),
        about="Superior colliculus in rapid task switching, of Duan et al. (2021), Nat. Neurosci. "
        "24:1131-1142, with the property of Bittner et al. (2021), eLife 10:e56265.",
    )


def simulate(
    theta,
    key: Array,
    *,
    trials: int = TRIALS,
    inactivation: float = 0.0,
    window: tuple[float, float] = WINDOW,
) -> Array:
    """``STATISTICS`` of one circuit, shape (2,); differentiable."""

    def function(weights, key):
        x, _ = activity(weights, key, trials, inactivation, window)
        left = jax.nn.sigmoid(SHARPNESS * (x[0] - x[3])).mean(axis=1)
        return jnp.stack([left[0], 1 - left[1]])

    return forward_mode(function)(vector_of(theta, prior.names), key)


def activity(
    weights: Array, key: Array, trials: int, inactivation: float, window, keep: bool = False
) -> tuple[Array, Any]:
    """x (4, 2 tasks, trials) at the end, and at all times (steps, 4, 2, trials) where kept."""
    W = weights[jnp.asarray(_WEIGHTS, jnp.int32)]
    to_start, to_noise = jax.random.split(key)
    stream, shape = words(to_noise), (4, len(TASKS), trials)
    x = 0.1 + 0.005 * jax.random.normal(to_start, shape, weights.dtype)
    u = BETA * jnp.arctanh(2 * x - 1) - THETA
    drive, open_ = (jnp.asarray(part, weights.dtype) for part in protocol(inactivation, window))

    def step(state, given):
        u, x = state
        number, h, through = given
        drawn = normals(stream, number, shape).astype(u.dtype)
        recurrent = (W @ x.reshape(4, -1)).reshape(shape)
        u = u + DT / TAU * (-u + recurrent + h[:, :, None] + NOISE * drawn)
        x = through * (0.5 * jnp.tanh((u - THETA) / BETA) + 0.5)
        return (u, x), x if keep else None

    (_, x), kept = jax.lax.scan(step, (u, x), (jnp.arange(STEPS), drive, open_))
    return x, kept


def protocol(inactivation: float, window) -> tuple[np.ndarray, np.ndarray]:
    """Input h of each step, (steps, 4, 2 tasks), and what inactivation leaves of x, (steps,)."""
    t = np.arange(STEPS) * DT
    h = np.full((STEPS, 4, 2), ALWAYS)
    h[:, [0, 3]] += PRO_BIAS
    rule = t < RULE_END
    lit = ~rule & (t < LIGHT_END)
    for population in (0, 3):
        h[rule, population, 0] += RULE
    for population in (1, 2):
        h[rule, population, 1] += RULE
    h[~rule] += CHOICE
    for population in (0, 1):
        h[lit, population] += LIGHT
    inside = (t > window[0]) & (t < window[1])
    return h, np.where(inside, 1 - inactivation, 1.0)


def _traces(theta: np.ndarray, seeds: np.ndarray, *, inactivation: float, window) -> Traces:
    """One trial of each task: its noise is not among those of ``simulate``'s trials."""

    def function(theta, key):
        weights = vector_of(theta, prior.names)
        return activity(weights, key, 1, inactivation, window, keep=True)[1][..., 0]

    x = trace_all(function, prior.names, theta, seeds)
    channels = tuple(f"{task} {population}" for task in TASKS for population in POPULATIONS)
    values = x.transpose(0, 3, 2, 1).reshape(len(x), len(channels), STEPS)
    return Traces((1 + np.arange(STEPS)) * DT, values, channels, unit="", time_unit="s")
