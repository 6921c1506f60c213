"""A cell in NEURON: which conductances make it fire, and rest, as it was seen to?

A round soma of 20 um with the conductances of Hodgkin and Huxley (NEURON's ``hh`` at 6.3 degrees)
and a noisy current; 100 ms at rest, then a step.

    python neuron_cell.py --simulations 500

Reference: Hodgkin & Huxley, J Physiol 117 (1952); Carnevale & Hines, The NEURON Book (2006).
"""

import argparse
import os

import numpy as np

import lanternfish as lf

os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")  # processes inherit it: no warning of X11
TRUTH = {"g_na": 0.12, "g_k": 0.036, "step": 0.12}
DT, ONSET, STOP = 0.025, 100.0, 300.0  # ms
NOISE = 0.02  # nA, sd of the current in each ms


def simulate(theta, rng):
    from neuron import h  # inside: each process has a NEURON of its own

    soma = h.Section(name="soma")
    soma.L = soma.diam = 20  # um
    soma.insert("hh")
    soma.gnabar_hh, soma.gkbar_hh = theta["g_na"], theta["g_k"]
    clamp = h.IClamp(soma(0.5))
    clamp.delay, clamp.dur = 0, 1e9
    time = np.arange(0, STOP, 1.0)
    current = NOISE * rng.normal(size=time.size) + theta["step"] * (time >= ONSET)
    played, grid = h.Vector(current), h.Vector(time)
    played.play(clamp._ref_amp, grid, True)
    spikes = h.APCount(soma(0.5))  # counts crossings of -20 mV
    spikes.thresh = -20
    voltage = h.Vector().record(soma(0.5)._ref_v, DT)

    h.celsius, h.dt = 6.3, DT
    h.finitialize(-65)
    while h.t < STOP:
        h.fadvance()
    v = np.array(voltage)
    before, during = v[: int(ONSET / DT)], v[int(ONSET / DT) :]
    return {
        "rate": 1e3 * spikes.n / (STOP - ONSET),
        "v_rest": np.median(before),
        "v_step": during.mean(),
        "v_sd": during.std(),
    }


model = lf.Model(
    prior=lf.Prior(
        g_na=lf.Uniform(0.05, 0.2, unit="S/cm2"),
        g_k=lf.Uniform(0.01, 0.06, unit="S/cm2"),
        step=lf.Uniform(0.0, 0.3, unit="nA"),
    ),
    simulator=lf.PythonSimulator(
        simulate, outputs=("rate", "v_rest", "v_step", "v_sd"), time_limit=30
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
