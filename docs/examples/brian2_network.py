"""A population in Brian2: which drive, noise and inhibition give this rate and irregularity?

Fifty leaky integrate-and-fire neurons, each with white noise of its own, that inhibit one another
through sparse random synapses:

    dV/dt = (mu - V) / tau + sigma sqrt(2 / tau) xi,    V -> V - w of the targets at a spike

    python brian2_network.py --simulations 300

Reference: Brunel, J Comput Neurosci 8 (2000); Stimberg, Brette & Goodman, eLife 8 (2019).
"""

import argparse

import numpy as np

import lanternfish as lf

TRUTH = {"mu": 14.0, "sigma": 4.0, "w": 0.3}
N, CONNECTED = 50, 0.2
DT, STOP = 0.5, 1000.0  # ms


def simulate(theta, rng):
    import brian2 as b  # inside: each process has a Brian of its own

    b.prefs.codegen.target = "numpy"  # no compiler and no shared cache of compiled code
    b.seed(int(rng.integers(2**32)))
    b.defaultclock.dt = DT * b.ms
    names = {"mu": theta["mu"] * b.mV, "sigma": theta["sigma"] * b.mV, "tau": 20 * b.ms}
    cells = b.NeuronGroup(
        N,
        "dv/dt = (mu - v) / tau + sigma * sqrt(2 / tau) * xi : volt (unless refractory)",
        threshold="v > 15*mV",
        reset="v = 0*mV",
        refractory=2 * b.ms,
        method="euler",
        namespace=names,
    )
    cells.v = "15*mV * rand()"
    synapses = b.Synapses(cells, cells, on_pre="v -= w", namespace={"w": theta["w"] * b.mV})
    synapses.connect(p=CONNECTED)
    spikes = b.SpikeMonitor(cells)
    b.Network(cells, synapses, spikes).run(STOP * b.ms)  # named, nothing found by magic
    return statistics(np.asarray(spikes.i), np.asarray(spikes.t / b.ms))


def statistics(cell, time):
    """Rate (Hz), its sd over cells (Hz), CV of intervals and Fano factor of the population.

    NaN where too few intervals were seen to speak of irregularity.
    """
    rates = np.bincount(cell, minlength=N) / (STOP / 1e3)
    intervals = [np.diff(time[cell == i]) for i in range(N)]
    cvs = [i.std() / i.mean() for i in intervals if len(i) >= 5]
    counts = np.histogram(time, bins=np.arange(0, STOP + 1, 10))[0]
    fano = counts.var() / counts.mean() if counts.any() else np.nan
    return {
        "rate": rates.mean(),
        "rate_sd": rates.std(),
        "cv": np.mean(cvs) if cvs else np.nan,
        "fano": fano,
    }


model = lf.Model(
    prior=lf.Prior(
        mu=lf.Uniform(8, 25, unit="mV"),
        sigma=lf.Uniform(1, 8, unit="mV"),
        w=lf.Uniform(0, 1, unit="mV"),
    ),
    simulator=lf.PythonSimulator(
        simulate, outputs=("rate", "rate_sd", "cv", "fano"), time_limit=60
    ),
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=300)
    budget = parser.parse_args().simulations

    measured = lf.simulate(model, theta=TRUTH, seed=1).x
    target = lf.Observation("simulated", **{name: measured[name][0] for name in measured.names})
    run = lf.infer(model, target, lf.NPE(simulations=budget))
    print(run.simulations.report())
    for marginal in run.posterior.marginals():
        print(f"{marginal!r}; true {TRUTH[marginal.column.name]:g}")


if __name__ == "__main__":
    main()
