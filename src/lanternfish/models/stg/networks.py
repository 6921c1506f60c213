"""The network sweep of Prinz, Bucher & Marder (2004): 20,250,000 pyloric networks by number.

Each network is one of 5 model neurons AB/PD, 5 LP and 6 PY, and a value of each of seven synapses:
150 x 5^4 x 6^3. The four synapses of the pacemaker take five values, the three others six.

    model = lf.models.stg_networks()
    grid = lf.Sweep(levels=lf.models.stg_network_levels()).points(model.prior)
    lf.simulate(model, 10_000, theta=grid, first=3_000_000, store="prinz2004")

Reference: Nature Neuroscience 7:1345-1352; model neurons as Gonçalves et al. (2020) publish them.
The number of synapse values is that of the published total; the values themselves (nS) are not in
this project's sources: the ones here are a likely reading, and are arguments. No noise is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from lanternfish.core import BatchSimulator, Model, Prior, Traces, Uniform
from lanternfish.models.stg.compiled import simulate, voltage
from lanternfish.models.stg.equations import NEURONS
from lanternfish.models.stg.parameters import STATISTICS, SYNAPSE_NAMES, target

# mS/cm2: Na, CaT, CaS, A, KCa, Kd, H, leak
CELLS = {
    "AB": (
        (400, 2.5, 6, 50, 10, 100, 0.01, 0),
        (100, 2.5, 6, 50, 5, 100, 0.01, 0),
        (200, 2.5, 4, 50, 5, 50, 0.01, 0),
        (200, 5, 4, 40, 5, 125, 0.01, 0),
        (300, 2.5, 2, 10, 5, 125, 0.01, 0),
    ),
    "LP": (
        (100, 0, 8, 40, 5, 75, 0.05, 0.02),
        (100, 0, 6, 30, 5, 50, 0.05, 0.02),
        (100, 0, 10, 50, 5, 100, 0, 0.03),
        (100, 0, 4, 20, 0, 25, 0.05, 0.03),
        (100, 0, 6, 30, 0, 50, 0.03, 0.02),
    ),
    "PY": (
        (100, 2.5, 2, 50, 0, 125, 0.05, 0.01),
        (200, 7.5, 0, 50, 0, 75, 0.05, 0),
        (200, 10, 0, 50, 0, 100, 0.03, 0),
        (400, 2.5, 2, 50, 0, 75, 0.05, 0),
        (500, 2.5, 2, 40, 0, 125, 0.01, 0.03),
        (500, 2.5, 2, 40, 0, 125, 0, 0.02),
    ),
}
PACEMAKER = (0.0, 3.0, 10.0, 30.0, 100.0)  # nS: AB-LP, PD-LP, AB-PY, PD-PY
OTHERS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)  # nS: LP-PD, LP-PY, PY-LP
NETWORKS = 20_250_000


def stg_network_levels(
    pacemaker: Sequence[float] = PACEMAKER, others: Sequence[float] = OTHERS
) -> dict[str, tuple[float, ...]]:
    """Numbers of the model neurons and values (nS) of the synapses, for ``Sweep(levels=...)``."""
    cells = {f"cell_{name}": tuple(map(float, range(len(rows)))) for name, rows in CELLS.items()}
    values = [tuple(pacemaker)] * 4 + [tuple(others)] * 3
    return cells | {f"g_{n}": v for n, v in zip(SYNAPSE_NAMES, values, strict=True)}


def stg_networks(
    statistics: int = 15, order: str = "pyloric", noise: bool = False, abandon: bool = False
) -> Model:
    """The networks of the sweep as a model of three cell numbers and seven synapses.

    A cell number is rounded: 0 stands for the first model neuron of its kind, and the prior is
    uniform over all of them and over 0 to 100 nS.

    Args:
        statistics, order, noise, abandon: as of ``models.stg``.
    """
    if order not in STATISTICS or statistics not in (15, 18):
        raise ValueError(
            'Expected 15 or 18 statistics in the order "pyloric" or "7_stg"; '
            f"got {statistics!r} and {order!r}."
        )
    columns = STATISTICS[order][:statistics]
    run = partial(
        _simulate, statistics=statistics, order=order, noise=bool(noise), abandon=bool(abandon)
    )
    cells = {f"cell_{name}": Uniform(-0.5, len(rows) - 0.5) for name, rows in CELLS.items()}
    synapses = {f"g_{name}": Uniform(0.0, 100.0, unit="nS") for name in SYNAPSE_NAMES}
    return Model(
        prior=Prior(**cells, **synapses),
        simulator=BatchSimulator(run, columns, block=512),
        name="stg_networks",
        targets={"prep_845_082": target(columns)},
        traces=partial(_traces, noise=bool(noise)),
        about="The 20,250,000 networks of Prinz, Bucher & Marder (2004), Nat. Neurosci. 7:1345: "
        "every combination of sixteen model neurons and of the strengths of seven synapses.",
    )


def network_parameters(theta) -> np.ndarray:
    """Cell numbers and synapses (n, 10) as the 31 parameters of ``models.stg``, (n, 31).

    A synapse of 0 nS is minus infinity, its logarithm.
    """
    theta = np.asarray(theta, np.float64)
    if theta.ndim != 2 or theta.shape[1] != 10:
        raise ValueError(f"Expected theta of shape (n, 10); got {theta.shape}.")
    parts = []
    for j, rows in enumerate(CELLS.values()):
        table = np.array(rows, np.float64)
        number = np.clip(np.floor(theta[:, j] + 0.5), 0, len(table) - 1).astype(int)
        parts.append(table[number])
    with np.errstate(divide="ignore"):
        return np.concatenate([*parts, np.log(theta[:, 3:] * 1e-6)], axis=1)


def _simulate(theta, seeds, **options):
    return simulate(network_parameters(theta), seeds, **options)


def _traces(theta, seeds, **options) -> Traces:
    time, V = voltage(network_parameters(theta), seeds, every=0.25, **options)
    return Traces(time, V, NEURONS)
