"""Whether a network is pyloric: from its statistics.

    triphasic      every statistic is finite: in 90 % of the periods each neuron starts one burst
    pyloric-like   and, on average over periods, LP starts before PY starts, LP ends before PY ends,
                   and AB/PD ends before LP starts

The published criterion (Prinz, Bucher & Marder 2004, as coded for Gonçalves et al. 2020) asks for
that order in at least 70 % of the periods; statistics hold averages over periods.
"""

from __future__ import annotations

import numpy as np

from lanternfish.core import Table

PYLORIC = ("pyloric-like", "triphasic", "no triphasic rhythm")


def pyloric(theta: Table, x: Table) -> np.ndarray:
    """The class of each network, (n,) of text out of ``PYLORIC``.

    Args:
        theta: not looked at; so that ``landscape.classify(simulations, models.pyloric)`` works.
        x: statistics of ``models.stg``, in either order of them; NaN where there is no rhythm.

    Raises:
        ValueError: if they are statistics of another model.
    """
    needed = ("cycle_period", "start_AB_to_start_LP", "end_AB_to_start_LP", "duration_LP",
              "duration_PY", "phase_PY")  # fmt: skip
    missing = [name for name in needed if name not in x.names]
    if missing:
        raise ValueError(f"Expected statistics of models.stg; got none of {', '.join(missing)}.")
    start_lp = x["start_AB_to_start_LP"]
    start_py = x["phase_PY"] * x["cycle_period"]
    with np.errstate(invalid="ignore"):
        ordered = start_lp <= start_py
        ordered &= start_lp + x["duration_LP"] <= start_py + x["duration_PY"]
        ordered &= x["end_AB_to_start_LP"] >= 0
    triphasic = np.isfinite(x.array).all(axis=1)
    return np.where(triphasic & ordered, PYLORIC[0], np.where(triphasic, PYLORIC[1], PYLORIC[2]))
