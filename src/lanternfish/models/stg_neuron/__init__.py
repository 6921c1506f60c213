"""One neuron of the stomatogastric ganglion, and the two sweeps that found its kinds of firing.

    C dV/dt = - sum_i g_i m_i^p h_i^q (V - E_i)

with the eight currents and the calcium of ``stg.equations``, no synapse and no noise.

``"prinz2003"``: all eight maximal conductances, six values each, 6^8 = 1,679,616 neurons;
exponential Euler at dt = 0.05 ms. Prinz, Billimoria & Marder (2003), J. Neurophysiol. 90:3998.

``"goldman2001"``: five of them, the two calcium currents as one in a fixed ratio, H and leak fixed;
the gates of Liu et al. (1998), see ``liu``. Goldman, Golowasch, Marder & Abbott (2001),
J. Neurosci. 21:5229. That paper's ratio, fixed values and ranges are not in this project's
sources: the ones here are stated below, and are arguments.

Point i of a grid is known without the others, so that any slice of it can be simulated by itself:

    grid = lf.Sweep(levels=lf.models.stg_neuron_levels("prinz2003")).points(model.prior)
    lf.simulate(model, 4_096, theta=grid, first=8_192, store="prinz2003")

How many a second: ``python benchmarks/stg_neuron.py``.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from lanternfish.core import BatchSimulator, Column, Model, Prior, Table, Traces, Uniform
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg_neuron import compiled, liu
from lanternfish.models.stg_neuron.firing import FIRING, NAMES

DT = 0.05  # ms
BURN_IN = 3_000.0  # ms; until slow currents have settled
DURATION = 5_000.0  # ms

# mS/cm2; six values of each, in the order of eq.CHANNELS
PRINZ_2003 = {
    "g_Na": (0.0, 100.0, 200.0, 300.0, 400.0, 500.0),
    "g_CaT": (0.0, 2.5, 5.0, 7.5, 10.0, 12.5),
    "g_CaS": (0.0, 2.0, 4.0, 6.0, 8.0, 10.0),
    "g_A": (0.0, 10.0, 20.0, 30.0, 40.0, 50.0),
    "g_KCa": (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    "g_Kd": (0.0, 25.0, 50.0, 75.0, 100.0, 125.0),
    "g_H": (0.0, 0.01, 0.02, 0.03, 0.04, 0.05),
    "g_leak": (0.0, 0.01, 0.02, 0.03, 0.04, 0.05),
}
# mS/cm2; ranges as in PRINZ_2003, calcium the sum of both
GOLDMAN_2001 = {
    "g_Na": (0.0, 100.0, 200.0, 300.0, 400.0, 500.0),
    "g_Ca": (0.0, 4.0, 8.0, 12.0, 16.0, 20.0),
    "g_A": (0.0, 10.0, 20.0, 30.0, 40.0, 50.0),
    "g_KCa": (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    "g_Kd": (0.0, 25.0, 50.0, 75.0, 100.0, 125.0),
}
SWEEPS = {"prinz2003": PRINZ_2003, "goldman2001": GOLDMAN_2001}
CALCIUM_T = 0.5  # share of CaT in g_Ca
FIXED_H, FIXED_LEAK = 0.02, 0.02  # mS/cm2

COLUMNS = dict(
    zip(
        NAMES,
        (
            Column("firing", "", "class of firing"),
            Column("rate", "Hz", "rate"),
            Column("interval_cv", "", "CV of intervals"),
            Column("period", "ms", "burst period"),
            Column("burst_duration", "ms", "burst duration"),
            Column("duty_cycle", "", "duty cycle"),
            Column("burst_spikes", "", "spikes of a burst"),
        ),
        strict=True,
    )
)


def stg_neuron_levels(sweep: str = "prinz2003") -> dict[str, tuple[float, ...]]:
    """The values (mS/cm2) of each conductance in a published sweep, for ``Sweep(levels=...)``."""
    if sweep not in SWEEPS:
        raise ValueError(f'Expected sweep "prinz2003" or "goldman2001"; got {sweep!r}.')
    return dict(SWEEPS[sweep])


def stg_neuron(
    sweep: str = "prinz2003",
    rhythm: bool = False,
    temperature: float = eq.REFERENCE_TEMPERATURE,
    dt: float = DT,
    burn_in: float = BURN_IN,
    duration: float = DURATION,
    integrator: str = "compiled",
    calcium_t: float = CALCIUM_T,
    g_H: float = FIXED_H,
    g_leak: float = FIXED_LEAK,
) -> Model:
    """A single neuron as a model; its prior is uniform over the range of the sweep.

    Args:
        sweep: "prinz2003" of eight conductances or "goldman2001" of five.
        rhythm: whether to report the period, duration, duty cycle and spikes of bursts too, NaN
            where a neuron does not burst; else class of firing, rate and CV of intervals.
        temperature: K.
        dt: step (ms).
        burn_in, duration: of the simulation (ms); spikes are looked at after the burn-in.
        integrator: ``"compiled"`` for the CPU, or ``"jax"`` for a GPU.
        calcium_t, g_H, g_leak: of "goldman2001": share of CaT in the calcium conductance, and the
            conductances (mS/cm2) that it keeps fixed.

    Raises:
        ValueError: if an option does not fit.
    """
    levels = stg_neuron_levels(sweep)
    if integrator not in ("compiled", "jax"):
        raise ValueError(f'Expected integrator "compiled" or "jax"; got {integrator!r}.')
    if not 0 < dt <= 0.2 or not burn_in >= 0 or not duration >= 10 * dt:
        raise ValueError(
            "Expected dt up to 0.2 ms, a burn_in of at least 0 ms and a duration of ten steps or "
            f"more; got {dt}, {burn_in} and {duration}."
        )
    if not 0 <= calcium_t <= 1 or g_H < 0 or g_leak < 0 or not 0 < temperature < 1000:
        raise ValueError(
            "Expected calcium_t from 0 to 1, conductances of at least 0 and a temperature in K; "
            f"got {calcium_t}, {g_H}, {g_leak} and {temperature}."
        )
    plan = compiled.Plan(round(burn_in / dt), round((burn_in + duration) / dt), float(dt))
    fixed = (float(calcium_t), float(g_H), float(g_leak))
    names = NAMES if rhythm else NAMES[:3]
    columns = [COLUMNS[name] for name in names]
    run = partial(simulate, sweep=sweep, plan=plan, temperature=float(temperature),
                  fixed=fixed, statistics=len(names), integrator=integrator)  # fmt: skip
    return Model(
        prior=_prior(levels),
        simulator=BatchSimulator(run, columns, block=16_384 if integrator == "jax" else 384),
        name="stg_neuron",
        traces=partial(_traces, sweep=sweep, plan=plan, temperature=temperature, fixed=fixed),
        about="A neuron of the stomatogastric ganglion: the sweeps of Prinz, Billimoria & Marder "
        "(2003), J. Neurophysiol. 90:3998, and of Goldman et al. (2001), J. Neurosci. 21:5229.",
    )


def _prior(levels: dict[str, tuple[float, ...]]) -> Prior:
    return Prior(
        **{
            name: Uniform(
                values[0], values[-1], unit="mS/cm2",
                label=rf"$\bar{{g}}_\mathrm{{{name.removeprefix('g_')}}}$",
            )
            for name, values in levels.items()
        }
    )  # fmt: skip


def whole(theta, sweep: str, fixed: tuple[float, float, float]) -> np.ndarray:
    """All eight conductances (mS/cm2), (n, 8), of the parameters of a sweep."""
    theta = np.asarray(theta, np.float64)
    wanted = len(SWEEPS[sweep])
    if theta.ndim != 2 or theta.shape[1] != wanted:
        raise ValueError(f"Expected theta of shape (n, {wanted}); got {theta.shape}.")
    if sweep == "prinz2003":
        return theta
    share, hyper, leak = fixed
    Na, Ca, A, KCa, Kd = theta.T
    same = np.ones(len(theta))
    parts = (Na, share * Ca, (1 - share) * Ca, A, KCa, Kd, hyper * same, leak * same)
    return np.stack(parts, axis=1)


def simulate(
    theta, seeds, *, sweep: str = "prinz2003", plan: compiled.Plan | None = None,
    temperature: float = eq.REFERENCE_TEMPERATURE,
    fixed: tuple[float, float, float] = (CALCIUM_T, FIXED_H, FIXED_LEAK),
    statistics: int = len(NAMES), integrator: str = "compiled",
) -> np.ndarray:  # fmt: skip
    """Statistics of n neurons, (n, statistics); nothing is random, so seeds are not looked at.

    Row i depends on ``theta[i]`` alone, bit for bit where ``integrator="compiled"``.
    """
    if plan is None:
        plan = compiled.Plan(round(BURN_IN / DT), round((BURN_IN + DURATION) / DT), DT)
    g = whole(theta, sweep, fixed)
    kinetics = eq if sweep == "prinz2003" else liu
    if integrator == "jax":
        from lanternfish.models.stg_neuron import jax_scan

        return jax_scan.simulate(g, plan, temperature, kinetics)[:, :statistics]
    return compiled.simulate(g, plan, temperature, kinetics)[:, :statistics]


def _traces(theta, seeds, *, sweep, plan, temperature, fixed) -> Traces:
    g = whole(theta, sweep, fixed)
    kinetics = eq if sweep == "prinz2003" else liu
    last = min(plan.end, plan.begin + round(3_000 / plan.dt))
    time, V = compiled.voltage(g, plan.begin, last, 2, plan.dt, float(temperature), kinetics)
    return Traces(time, V[:, None], ("V",))


def firing(theta: Table, x: Table) -> np.ndarray:
    """The class of firing of each neuron, (n,) of text, for ``landscape.classify``.

    Raises:
        ValueError: if they are statistics of another model.
    """
    if "firing" not in x.names:
        raise ValueError("Expected statistics of models.stg_neuron; got none named firing.")
    return np.array(FIRING)[x["firing"].astype(int)]
