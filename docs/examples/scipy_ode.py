"""An oscillator in SciPy: Morris-Lecar, solved by ``solve_ivp``.

    C dV/dt = I - g_L (V - E_L) - g_Ca m(V) (V - E_Ca) - g_K w (V - E_K)
      dw/dt = phi (w_inf(V) - w) / tau_w(V)

    m(V) = (1 + tanh((V - V1) / V2)) / 2,        w_inf(V) = (1 + tanh((V - V3) / V4)) / 2,
    tau_w(V) = 1 / cosh((V - V3) / (2 V4)),      recorded with noise of 2 mV.

    python scipy_ode.py --simulations 500

Reference: Morris & Lecar, Biophys J 35 (1981); constants of the Hopf case, Rinzel & Ermentrout in
Koch & Segev (eds.), Methods in Neuronal Modeling (1989), table 7.1.
"""

import argparse

import numpy as np
from scipy.integrate import solve_ivp

import lanternfish as lf

TRUTH = {"current": 110.0, "g_ca": 4.4, "phi": 0.04}
C, G_L, G_K = 20.0, 2.0, 8.0  # uF/cm2, mS/cm2
E_L, E_CA, E_K = -60.0, 120.0, -84.0  # mV
V1, V2, V3, V4 = -1.2, 18.0, 2.0, 30.0  # mV
SETTLED, STOP, STEP, NOISE = 300.0, 1000.0, 1.0, 2.0  # ms, ms, ms, mV


def slope(t, y, theta):
    v, w = y
    m = (1 + np.tanh((v - V1) / V2)) / 2
    w_inf = (1 + np.tanh((v - V3) / V4)) / 2
    flow = G_L * (v - E_L) + theta["g_ca"] * m * (v - E_CA) + G_K * w * (v - E_K)
    return [
        (theta["current"] - flow) / C,
        theta["phi"] * np.cosh((v - V3) / (2 * V4)) * (w_inf - w),
    ]


def upwards(t, y, theta):
    return y[0]  # crosses 0 mV


upwards.direction = 1


def simulate(theta, rng):
    times = np.arange(SETTLED, STOP, STEP)
    solved = solve_ivp(
        slope, (0, STOP), [-40.0, 0.0], "LSODA", times, args=(theta,), events=upwards, rtol=1e-6
    )
    if not solved.success:
        raise RuntimeError(solved.message)
    v = solved.y[0] + NOISE * rng.normal(size=times.size)
    spikes = solved.t_events[0][solved.t_events[0] > SETTLED]
    return {
        "period": np.mean(np.diff(spikes)) if len(spikes) > 2 else np.nan,  # NaN: at rest
        "v_mean": v.mean(),
        "v_sd": v.std(),
        "v_low": np.quantile(v, 0.05),
        "v_high": np.quantile(v, 0.95),
    }


model = lf.Model(
    prior=lf.Prior(
        current=lf.Uniform(60, 200, unit="uA/cm2"),
        g_ca=lf.Uniform(3, 6, unit="mS/cm2"),
        phi=lf.LogUniform(0.01, 0.1, unit="1/ms"),
    ),
    simulator=lf.PythonSimulator(
        simulate, outputs=("period", "v_mean", "v_sd", "v_low", "v_high"), time_limit=10
    ),
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=500)
    budget = parser.parse_args().simulations

    measured = lf.simulate(model, theta=TRUTH, seed=1).x
    target = lf.Observation("simulated", **{name: measured[name][0] for name in measured.names})
    run = lf.infer(model, target, lf.NPE(simulations=budget))
    print(run.simulations.report())
    for marginal in run.posterior.marginals():
        print(f"{marginal!r}; true {TRUTH[marginal.column.name]:g}")


if __name__ == "__main__":
    main()
