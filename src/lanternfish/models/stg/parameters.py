"""Parameters, prior bounds, statistics and targets of the pyloric network."""

import math

from lanternfish.core import Column, Observation, Prior, Uniform
from lanternfish.models.stg.equations import CHANNELS

SHORT = ("AB", "LP", "PY")
MEMBRANE_UNIT = "mS/cm2"
SYNAPSE_UNIT = "ln mS"
SYNAPSE_NAMES = ("AB_LP", "PD_LP", "AB_PY", "PD_PY", "LP_PD", "LP_PY", "PY_LP")

# Prior bounds, mS/cm2, in the order of CHANNELS: the least and greatest of the model neurons of
# Prinz et al. (2004), padded by (100, 2.5, 2, 10, 5, 25, 0.01, 0.01) and cut at 0. Gonçalves et
# al. print 0.2 for the upper bound of AB's H; their code has 0.02, which is the padded table's.
LOW = (
    (0, 0, 0, 0, 0, 25, 0, 0),
    (0, 0, 2, 10, 0, 0, 0, 0.01),
    (0, 0, 0, 30, 0, 50, 0, 0),
)
HIGH = (
    (500, 7.5, 8, 60, 15, 150, 0.02, 0.01),
    (200, 2.5, 12, 60, 10, 125, 0.06, 0.04),
    (600, 12.5, 4, 60, 5, 150, 0.06, 0.04),
)
SYNAPSE_LOW = 1e-8  # mS
SYNAPSE_HIGH = (1e-2, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3)  # mS

PRIOR = Prior(
    **{
        f"g_{channel}_{neuron}": Uniform(
            LOW[j][i],
            HIGH[j][i],
            unit=MEMBRANE_UNIT,
            label=rf"$\bar{{g}}_\mathrm{{{channel}}}^\mathrm{{{neuron}}}$",
        )
        for j, neuron in enumerate(SHORT)
        for i, channel in enumerate(CHANNELS)
    },
    **{
        f"ln_g_{name}": Uniform(
            math.log(SYNAPSE_LOW),
            math.log(high),
            unit=SYNAPSE_UNIT,
            label=rf"$\ln \bar{{g}}_\mathrm{{{name.replace('_', '-')}}}$",
        )
        for name, high in zip(SYNAPSE_NAMES, SYNAPSE_HIGH, strict=True)
    },
)
PARAMETERS = PRIOR.columns

_TIMES = {
    "cycle_period": "$T$",
    "duration_AB": r"$d^b_\mathrm{AB}$",
    "duration_LP": r"$d^b_\mathrm{LP}$",
    "duration_PY": r"$d^b_\mathrm{PY}$",
    "start_AB_to_start_LP": r"$\Delta t^{ss}_\mathrm{AB-LP}$",
    "start_LP_to_start_PY": r"$\Delta t^{ss}_\mathrm{LP-PY}$",
    "start_AB_to_start_PY": r"$\Delta t^{ss}_\mathrm{AB-PY}$",
    "end_AB_to_start_LP": r"$\Delta t^{es}_\mathrm{AB-LP}$",
    "end_LP_to_start_PY": r"$\Delta t^{es}_\mathrm{LP-PY}$",
    "plateau_AB": r"$p_\mathrm{AB}$",
    "plateau_LP": r"$p_\mathrm{LP}$",
    "plateau_PY": r"$p_\mathrm{PY}$",
}
_FRACTIONS = {
    "duty_cycle_AB": r"$d_\mathrm{AB}$",
    "duty_cycle_LP": r"$d_\mathrm{LP}$",
    "duty_cycle_PY": r"$d_\mathrm{PY}$",
    "phase_LP": r"$\phi_\mathrm{LP}$",
    "phase_PY": r"$\phi_\mathrm{PY}$",
    "phase_gap_AB_LP": r"$\Delta\phi_\mathrm{AB-LP}$",
    "phase_gap_LP_PY": r"$\Delta\phi_\mathrm{LP-PY}$",
}
_COLUMNS = {
    **{name: Column(name, "ms", label) for name, label in _TIMES.items()},
    **{name: Column(name, "", label) for name, label in _FRACTIONS.items()},
}
_DURATIONS = ("cycle_period", "duration_AB", "duration_LP", "duration_PY")
_DUTY = ("duty_cycle_AB", "duty_cycle_LP", "duty_cycle_PY")
_PHASES = ("phase_LP", "phase_PY")
_GAPS = ("end_AB_to_start_LP", "end_LP_to_start_PY")
_PHASE_GAPS = ("phase_gap_AB_LP", "phase_gap_LP_PY")
_PLATEAUS = ("plateau_AB", "plateau_LP", "plateau_PY")

# The 18 statistics in the two published orders, which also differ in one definition: from which
# neuron's burst the delay to PY is taken. The first 15 are the set without plateaus.
STATISTICS = {
    "pyloric": tuple(
        _COLUMNS[name]
        for name in (
            *(*_DURATIONS, *_DUTY, *_PHASES, "start_AB_to_start_LP", "start_LP_to_start_PY"),
            *(*_GAPS, *_PHASE_GAPS, *_PLATEAUS),
        )
    ),
    "7_stg": tuple(
        _COLUMNS[name]
        for name in (
            *(*_DURATIONS, *_GAPS, "start_AB_to_start_LP", "start_AB_to_start_PY"),
            *(*_DUTY, *_PHASE_GAPS, *_PHASES, *_PLATEAUS),
        )
    ),
}
# uJ/cm2, of the analysed 10 s; Deistler, Macke & Gonçalves, PNAS 2022, 119:e2207632119
ENERGIES = tuple(
    Column(f"energy_{name}" if name else "energy", "uJ/cm2", rf"$E_\mathrm{{{name or 'all'}}}$")
    for name in (*SHORT, "")
)
# ms; 40 in the pyloric package and in the extraction of the measured statistics, 50 in eLife
BURST_THRESHOLD = {"pyloric": 40.0, "7_stg": 50.0}

# Crab (Cancer borealis) preparation 845_082, file 0044, at 11 C, decentralised: Haddad & Marder,
# as summarised by Gonçalves et al. (2020).
_MEASURED = {
    "cycle_period": 1170.85859,
    "duration_AB": 206.036434,
    "duration_LP": 214.307031,
    "duration_PY": 412.842187,
    "duty_cycle_AB": 0.175970382,
    "duty_cycle_LP": 0.183034085,
    "duty_cycle_PY": 0.35259782,
    "phase_LP": 0.411600328,
    "phase_PY": 0.630544893,
    "start_AB_to_start_LP": 481.925781,
    "start_LP_to_start_PY": 256.353125,
    "start_AB_to_start_PY": 738.278906,
    "end_AB_to_start_LP": 275.164844,
    "end_LP_to_start_PY": 42.0460938,
    "phase_gap_AB_LP": 0.235011166,
    "phase_gap_LP_PY": 0.0359104797,
    "plateau_AB": 2.5,
    "plateau_LP": 2.5,
    "plateau_PY": 2.5,
}


def target(columns) -> Observation:
    """The measurements of preparation 845_082 for these statistics."""
    values = {column.name: _MEASURED[column.name] for column in columns}
    return Observation("preparation 845_082", **values)


TARGETS = {order: {"prep_845_082": target(columns)} for order, columns in STATISTICS.items()}
