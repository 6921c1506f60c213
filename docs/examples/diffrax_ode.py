"""An oscillator in JAX: Morris-Lecar, solved by Diffrax, compiled, batched and differentiable.

The model of ``scipy_ode.py`` as a ``JaxSimulator``: thousands of simulations a second, and their
derivatives, which say what each statistic knows of each parameter at the posterior's peak.

    python diffrax_ode.py --simulations 1000

Reference: Morris & Lecar, Biophys J 35 (1981); Kidger, On Neural Differential Equations (2021).
"""

import argparse

import diffrax
import jax
import jax.numpy as jnp

import lanternfish as lf

TRUTH = {"current": 110.0, "g_ca": 4.4, "phi": 0.04}
C, G_L, G_K = 20.0, 2.0, 8.0  # uF/cm2, mS/cm2
E_L, E_CA, E_K = -60.0, 120.0, -84.0  # mV
V1, V2, V3, V4 = -1.2, 18.0, 2.0, 30.0  # mV
STOP, STEP, NOISE = 300.0, 1.0, 2.0  # ms, ms, mV
STATISTICS = ("v_mean", "v_sd", "v_skew", "speed", "late")


def slope(t, y, theta):
    v, w = y
    m = (1 + jnp.tanh((v - V1) / V2)) / 2
    w_inf = (1 + jnp.tanh((v - V3) / V4)) / 2
    flow = G_L * (v - E_L) + theta["g_ca"] * m * (v - E_CA) + G_K * w * (v - E_K)
    dv = (theta["current"] - flow) / C
    return dv, theta["phi"] * jnp.cosh((v - V3) / (2 * V4)) * (w_inf - w)


def voltage(theta):
    """Membrane potential (mV) in each ms from rest, shape (300,)."""
    solved = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Tsit5(),
        t0=0.0,
        t1=STOP,
        dt0=0.1,
        y0=(jnp.array(-40.0), jnp.array(0.0)),
        args=theta,
        saveat=diffrax.SaveAt(ts=jnp.arange(0, STOP, STEP)),
        stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
        throw=False,  # a failure is a NaN in one lane, not the end of the batch
    )
    return solved.ys[0]


def statistics(v):
    """Moments of the trace, its speed (mV/ms) and its mean over the last third (mV)."""
    mean, sd = v.mean(), v.std()
    skew = jnp.mean((v - mean) ** 3) / sd**3
    speed = jnp.std(jnp.diff(v)) / STEP
    return jnp.stack([mean, sd, skew, speed, v[2 * v.size // 3 :].mean()])


def simulate(theta, key):
    v = voltage(theta)
    return statistics(v + NOISE * jax.random.normal(key, v.shape))


model = lf.Model(
    prior=lf.Prior(
        current=lf.Uniform(60, 200, unit="uA/cm2"),
        g_ca=lf.Uniform(3, 6, unit="mS/cm2"),
        phi=lf.LogUniform(0.01, 0.1, unit="1/ms"),
    ),
    simulator=lf.JaxSimulator(simulate, outputs=STATISTICS),
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=1_000)
    budget = parser.parse_args().simulations

    measured = lf.simulate(model, theta=TRUTH, seed=1).x
    target = lf.Observation("simulated", **{name: measured[name][0] for name in STATISTICS})
    run = lf.infer(model, target, lf.NPE(simulations=budget))
    print(run.simulations.report())
    for marginal in run.posterior.marginals():
        print(f"{marginal!r}; true {TRUTH[marginal.column.name]:g}")

    peak = run.posterior.map()
    theta = {name: float(peak[name][0]) for name in peak.names}
    slopes = jax.jacrev(simulate)(theta, jax.random.key(0))
    print("change of each statistic for 1 % of each parameter, at the posterior's peak")
    for name, slope_of in slopes.items():
        changes = ", ".join(
            f"{statistic} {0.01 * theta[name] * float(change):+.3f}"
            for statistic, change in zip(STATISTICS, slope_of, strict=True)
        )
        print(f"{name}: {changes}")


if __name__ == "__main__":
    main()
