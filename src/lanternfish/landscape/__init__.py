"""What a posterior looks like: its modes, its stiff and sloppy directions, and tests along them.

Everything here works on any ``Posterior``, whatever method made it. Maxima, curvatures and
distances belong to the coordinates in which parameters are given: a parameter measured in other
units, or by its logarithm, has others. Each function says in which it works.
"""

from lanternfish.landscape.conditional import ModePath, conditional_mode, conditional_modes
from lanternfish.landscape.modes import Mode, Modes, modes
from lanternfish.landscape.perturbation import Perturbation, Slope, perturb
from lanternfish.landscape.sensitivity import Sensitivity, sensitivity

__all__ = [
    "Mode",
    "ModePath",
    "Modes",
    "Perturbation",
    "Sensitivity",
    "Slope",
    "conditional_mode",
    "conditional_modes",
    "modes",
    "perturb",
    "sensitivity",
]
