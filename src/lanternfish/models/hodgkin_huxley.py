"""Hodgkin-Huxley neuron with eight parameters, driven by a current step or by a recorded current.

    C dV/dt = g_Na m^3 h (E_Na - V) + g_K n^4 (E_K - V) + g_l (E_l - V) + g_M p (E_K - V)
              + I(t) + sigma xi(t)

The gates and the time step stand in `hodgkin_huxley_equations`, the seven statistics in
`current_clamp`. The noise is a current, sigma N(0, 1) / sqrt(dt) in every step, so that its
intensity does not depend on dt. V_T and E_l are entered with their signs turned.

    hodgkin_huxley()                              a step of 3.25 uA/cm2 from 10 to 110 ms
    hodgkin_huxley("509881736_sweep39.nwb")       a cell's own current and its own statistics

References: Pospischil et al. (2008), Biol. Cybern. 99:427-441; prior, protocol and statistics of
Goncalves et al. (2020), eLife 9:e56261, Methods "Hodgkin-Huxley model". The published code also
integrates three gates without a conductance; they are left out here.

Two integrators run the same equations. The compiled one (Numba, float32, statistics and noise on
the way) takes 0.11 ms of CPU time for one simulation of 12,001 samples in a batch of 512; JAX's
takes 0.5 ms, and 0.2 ms for the voltage alone. So a CPU runs the compiled one, and
``integrator="jax"`` is there for a GPU and for gradients. ``python benchmarks/hodgkin_huxley.py``
measures both.
"""

from __future__ import annotations

import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import (
    BatchSimulator,
    JaxSimulator,
    Model,
    Observation,
    Prior,
    Traces,
    Uniform,
)
from lanternfish.models import hodgkin_huxley_jax, hodgkin_huxley_kernel
from lanternfish.models.current_clamp import STATISTICS, Stimulus, check_set, step_current
from lanternfish.models.recordings import Recording, observe, read_nwb

prior = Prior(
    g_Na=Uniform(0.5, 80.0, unit="mS/cm2", label=r"$\bar g_\mathrm{Na}$"),
    g_K=Uniform(1e-4, 15.0, unit="mS/cm2", label=r"$\bar g_\mathrm{K}$"),
    g_l=Uniform(1e-4, 0.6, unit="mS/cm2", label=r"$g_\mathrm{l}$"),
    g_M=Uniform(1e-4, 0.6, unit="mS/cm2", label=r"$\bar g_\mathrm{M}$"),
    tau_max=Uniform(50.0, 3000.0, unit="ms", label=r"$\tau_\mathrm{max}$"),
    minus_V_T=Uniform(40.0, 90.0, unit="mV", label=r"$-V_T$"),
    sigma=Uniform(1e-4, 0.15, unit="uA ms^0.5/cm2", label=r"$\sigma$"),
    minus_E_l=Uniform(35.0, 100.0, unit="mV", label=r"$-E_\mathrm{l}$"),
)
PARAMETERS = prior.columns

THETA = (50.0, 5.0, 0.1, 0.07, 600.0, 60.0, 0.1, 70.0)  # that made the published observation

# 5e-4 uA over a membrane of area pi (70 um)^2
STEP = step_current(
    5e-4 / (np.pi * 70e-4**2), duration=120.0, t_on=10.0, t_off=110.0, dt=0.01, v_0=-70.0
)

READING = ("sweep", "area", "junction_potential", "window")

TARGETS = {
    "synthetic": Observation.from_array(
        (5, -70.18804, 0.06148, -56.39163, 374.64357, 3.70179, 18.32240),
        STATISTICS,
        "Goncalves et al. 2020, HH(seed=1) at THETA",
    )
}


def simulate(
    theta: np.ndarray,
    seeds: np.ndarray,
    *,
    stimulus: Stimulus | None = None,
    statistics: int = 7,
    noise: bool = True,
) -> np.ndarray:
    """Statistics of n simulations, shape (n, statistics) float64.

    Row i depends on ``theta[i]`` and ``seeds[i]`` alone, bit for bit. A simulation that leaves the
    range of numbers has NaN in its row.

    Args:
        theta: shape (n, 8), in the order and units of ``PARAMETERS``.
        seeds: shape (n,), uint64; without effect where ``noise`` is off.
        stimulus: what drives the neuron; the current step of the published example where left out.
        statistics: 7, 4 or 1; the first so many of ``current_clamp.STATISTICS``.
        noise: whether sigma has any effect.

    Raises:
        ValueError: if a shape or the number of statistics does not fit.
    """
    check_set(statistics)
    theta, seeds = _check(theta, seeds)
    protocol = (STEP if stimulus is None else stimulus).protocol(noise)
    x = np.empty((len(theta), len(STATISTICS)))
    hodgkin_huxley_kernel.integrate(theta, seeds, protocol, x, np.empty((0, 0), np.float32))
    return x[:, :statistics]


def voltage(
    theta: np.ndarray,
    seeds: np.ndarray,
    *,
    stimulus: Stimulus | None = None,
    noise: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Times (samples,) in ms and membrane potentials (n, samples) in mV; see ``simulate``."""
    theta, seeds = _check(theta, seeds)
    stimulus = STEP if stimulus is None else stimulus
    x = np.empty((len(theta), len(STATISTICS)))
    v = np.empty((len(theta), len(stimulus.current)), np.float32)
    hodgkin_huxley_kernel.integrate(theta, seeds, stimulus.protocol(noise), x, v)
    return stimulus.time, v


def standard_normals(seeds: np.ndarray, samples: int) -> np.ndarray:
    """The noise that simulations of these seeds (n,) see, shape (n, samples), for use with JAX."""
    drawn = np.empty((len(seeds), samples), np.float32)
    hodgkin_huxley_kernel.draw_noise(np.asarray(seeds, np.uint64), drawn)
    return drawn


def simulate_jax(theta, normals=None, *, stimulus: Stimulus | None = None, statistics: int = 7):
    """Statistics of one simulation, shape (statistics,), in JAX: to differentiate or to ``vmap``.

    Args:
        theta: shape (8,), as for ``simulate``.
        normals: standard normals of every sample, shape (samples,), such as a row of
            ``standard_normals``; no noise where left out.
        stimulus, statistics: as for ``simulate``.
    """
    check_set(statistics)
    protocol = (STEP if stimulus is None else stimulus).protocol(normals is not None)
    return hodgkin_huxley_jax.statistics(theta, protocol, normals)[:statistics]


def hodgkin_huxley(
    recording: str | os.PathLike | Recording | None = None,
    *,
    statistics: int = 7,
    integrator: str = "compiled",
    **reading,
) -> Model:
    """The Hodgkin-Huxley neuron as a model, with its target.

    Args:
        recording: a recording or an NWB file; the neuron is driven by its current, and its
            statistics are ``targets["recording"]``. Where left out, a current step drives it and
            ``targets["synthetic"]`` is the published observation.
        statistics: 7, 4 or 1; the first so many of ``current_clamp.STATISTICS``.
        integrator: "compiled" for the CPU, or "jax" for a GPU or gradients.
        **reading: ``sweep``, ``area``, ``junction_potential`` and ``window`` of
            ``recordings.read_nwb``, for a file.

    Raises:
        ValueError: if one of them is not among these, or the recording's area is not known.
    """
    check_set(statistics)
    unknown = sorted(set(reading) - set(READING))
    if unknown or (reading and (recording is None or isinstance(recording, Recording))):
        raise ValueError(
            f"Expected {', '.join(READING)} beside the path of a recording, and only there; "
            f"got {', '.join(unknown or reading)}."
        )
    if recording is None:
        stimulus, name = STEP, "hodgkin_huxley"
        whole = TARGETS["synthetic"]
        kept = whole.array_for(STATISTICS)[:statistics].tolist()
        targets = {"synthetic": Observation.from_array(kept, STATISTICS[:statistics], whole.name)}
    else:
        if not isinstance(recording, Recording):
            recording = read_nwb(recording, **reading)
        stimulus, name = recording.stimulus(), f"hodgkin_huxley {recording.name}".rstrip()
        targets = {"recording": observe(recording, statistics)}
    return Model(
        prior=prior,
        simulator=_simulator(stimulus, statistics, integrator),
        name=name,
        targets=targets,
        traces=partial(_traces, stimulus=stimulus),
        about="Hodgkin-Huxley neuron of Pospischil et al. (2008), Biol. Cybern. 99:427-441, with "
        "the prior and the statistics of Goncalves et al. (2020), eLife 9:e56261.",
    )


def _simulator(stimulus: Stimulus, statistics: int, integrator: str):
    outputs = STATISTICS[:statistics]
    if integrator == "compiled":
        return BatchSimulator(partial(simulate, stimulus=stimulus, statistics=statistics), outputs)
    if integrator == "jax":
        function = partial(_simulate_key, stimulus=stimulus, statistics=statistics)
        return JaxSimulator(function, outputs)
    raise ValueError(f'Expected integrator "compiled" or "jax"; got {integrator!r}.')


def _simulate_key(theta: dict, key, *, stimulus: Stimulus, statistics: int):
    values = jnp.stack([theta[name] for name in prior.names])
    normals = jax.random.normal(key, (len(stimulus.current),), values.dtype)
    return simulate_jax(values, normals, stimulus=stimulus, statistics=statistics)


def _traces(theta: np.ndarray, seeds: np.ndarray, *, stimulus: Stimulus) -> Traces:
    time, v = voltage(theta, seeds, stimulus=stimulus)
    return Traces(time, v[:, None], ("V",))


def _check(theta, seeds) -> tuple[np.ndarray, np.ndarray]:
    theta = np.ascontiguousarray(theta, np.float64)
    if theta.ndim != 2 or theta.shape[1] != len(PARAMETERS):
        raise ValueError(f"Expected theta of shape (n, {len(PARAMETERS)}); got {theta.shape}.")
    seeds = np.ascontiguousarray(seeds)
    if seeds.shape != (len(theta),) or seeds.dtype.kind not in "ui" or np.any(seeds < 0):
        raise ValueError(
            f"Expected seeds of shape ({len(theta)},), whole numbers of 0 or more; "
            f"got {seeds.dtype} of shape {seeds.shape}."
        )
    return theta, seeds.astype(np.uint64)
