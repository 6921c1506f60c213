"""The pyloric network of the stomatogastric ganglion: 31 parameters, 15 or 18 statistics.

The equations stand in ``equations``, the statistics' definitions in ``statistics``, the parameters'
names, bounds and the measured targets in ``parameters``.

How 440,000 steps, their noise and their statistics take 0.014 to 0.018 s of one busy core with AVX2
(``python benchmarks/stg.py``), in float32:

- All that depends on a neuron's voltage alone (14 steady states and 12 time constants with their
  exponentials) is read from a table, by quadratic interpolation (``table``). The numbers of one row
  lie side by side, so that one vector instruction works on the *gates* of a neuron. The other way,
  vectors over *simulations* with exponentials evaluated in place, took a prototype 13 ms on a
  processor with vectors of 512 bits, and needs twice as many instructions on 256 bits.
- What a step adds to V, Ca and the gates is summed with compensation (Kahan): a plain float32 sum
  loses the small steps of slow gates, enough to move a burst by a spike in two of eleven reference
  circuits. It costs a tenth of the time.
- Spikes, bursts and plateaus are found while the chunk of the trace that holds them is in the cache
  (``events``); only their times are kept.
- Simulations that cannot become valid, or look as if, are given up, and their lane refilled; the
  weights keep averages unbiased (``integrate``).

Traps, for whoever compares with published numbers:

- *Order and definition.* In the order ``"pyloric"`` the 11th statistic is the delay from LP's to
  PY's start; in ``"7_stg"`` (Gonçalves et al. 2020) the 8th is that from AB/PD's to PY's. The
  paper's text says the first, its code computes the second.
- *Burst threshold*: 40 ms in the first and in the measured statistics, 50 ms in the second.
- *Plateaus* below 5 ms count as 2.5 ms; the paper says 5 ms.
- *Noise*: N(0, 0.001 uA) per step, not rescaled with dt: 0.25 mV/sqrt(ms), not the paper's 0.001.
- *H of AB/PD*: upper bound 0.02 mS/cm2 in the code, 0.2 in the paper.
- *10 s* in the paper are 10 s after a burn-in of 1 s.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from lanternfish.core import BatchSimulator, Model, Traces
from lanternfish.models.stg.compiled import simulate, voltage
from lanternfish.models.stg.equations import NEURONS, REFERENCE_TEMPERATURE
from lanternfish.models.stg.parameters import (
    ENERGIES,
    PARAMETERS,
    PRIOR,
    STATISTICS,
    TARGETS,
    target,
)

__all__ = ["PARAMETERS", "STATISTICS", "TARGETS", "prior", "simulate", "stg", "voltage"]

prior = PRIOR


def stg(
    statistics: int = 18,
    order: str = "pyloric",
    temperature: float = REFERENCE_TEMPERATURE,
    noise: bool = True,
    abandon: bool = True,
    integrator: str = "compiled",
    energy: bool = False,
) -> Model:
    """The pyloric network as a model, with the measurements of a crab as ``targets``.

    Args:
        statistics: 18, or 15 without plateaus.
        order: ``"pyloric"`` or ``"7_stg"``: order, burst threshold and the definition of one delay.
        temperature: K.
        noise: whether noise currents drive the neurons.
        abandon: whether to give up hopeless simulations early; see ``simulate``.
        integrator: ``"compiled"`` for the CPU, or ``"jax"`` for a GPU; the second gives up none.
        energy: whether to report the energy that each neuron uses, and their sum, as statistics
            too; with ``integrator="compiled"``. The crab's was not measured: there is no target.

    Raises:
        ValueError: if an option does not fit.
    """
    if order not in STATISTICS or statistics not in (15, 18):
        raise ValueError(
            'Expected 15 or 18 statistics in the order "pyloric" or "7_stg"; '
            f"got {statistics!r} and {order!r}."
        )
    columns = STATISTICS[order][:statistics]
    options = {"temperature": float(temperature), "noise": bool(noise)}
    chosen = {"statistics": statistics, "order": order, **options}
    if energy and integrator != "compiled":
        raise ValueError(f'Expected integrator "compiled" for the energy; got {integrator!r}.')
    if integrator == "compiled":
        run = partial(simulate, abandon=bool(abandon), **chosen)
        if energy:
            run = partial(run, energy=True)
        simulator = BatchSimulator(run, (*columns, *ENERGIES) if energy else columns, block=512)
    elif integrator == "jax":
        from lanternfish.models.stg import jax_scan

        simulator = BatchSimulator(partial(jax_scan.simulate, **chosen), columns, block=4096)
    else:
        raise ValueError(f'Expected integrator "compiled" or "jax"; got {integrator!r}.')
    return Model(
        prior=PRIOR,
        simulator=simulator,
        name="stg",
        targets={} if energy else {"prep_845_082": target(columns)},
        traces=partial(_traces, **options),
        about="The pyloric network of Prinz, Bucher & Marder (2004), Nat. Neurosci. 7:1345-1352, "
        "with the prior and the statistics of Gonçalves et al. (2020), eLife 9:e56261.",
    )


def _traces(theta: np.ndarray, seeds: np.ndarray, **options) -> Traces:
    time, V = voltage(theta, seeds, every=0.25, **options)
    return Traces(time, V, NEURONS)
