"""What a parameter space looks like: modes, stiff and sloppy directions, classes of behaviour.

Everything here works on any ``Posterior``, whatever method made it. Maxima, curvatures and
distances belong to the coordinates in which parameters are given: a parameter measured in other
units, or by its logarithm, has others. Each function says in which it works.
"""

from lanternfish.landscape.beside import Beside, beside
from lanternfish.landscape.classes import Classes, Importance, classify
from lanternfish.landscape.conditional import ModePath, conditional_mode, conditional_modes
from lanternfish.landscape.modes import Mode, Modes, modes
from lanternfish.landscape.perturbation import Perturbation, Slope, perturb
from lanternfish.landscape.sensitivity import Sensitivity, sensitivity
from lanternfish.landscape.spiking import firing, firing_of, spikes

__all__ = [
    "Beside",
    "Classes",
    "Importance",
    "Mode",
    "ModePath",
    "Modes",
    "Perturbation",
    "Sensitivity",
    "Slope",
    "beside",
    "classify",
    "conditional_mode",
    "conditional_modes",
    "firing",
    "firing_of",
    "modes",
    "perturb",
    "sensitivity",
    "spikes",
]
