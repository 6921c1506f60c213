"""What a parameter space looks like: modes, paths, compensation, sensitivity, classes of behaviour.

Everything here works on any ``Posterior``, whatever method made it. Maxima, curvatures and
distances belong to the coordinates in which parameters are given: a parameter measured in other
units, or by its logarithm, has others. Each function says in which it works.
"""

from lanternfish.landscape.active import ActiveSubspace, active_subspace
from lanternfish.landscape.beside import Beside, beside
from lanternfish.landscape.classes import Classes, Importance, classify
from lanternfish.landscape.conditional import (
    Conditional,
    ConditionalPairs,
    conditional,
    conditional_pairs,
)
from lanternfish.landscape.correlation import Compensation, compensation
from lanternfish.landscape.ends import Pairs, ends
from lanternfish.landscape.mode_path import ModePath, conditional_mode, conditional_modes
from lanternfish.landscape.modes import Mode, Modes, modes
from lanternfish.landscape.path import Path, orthogonal_path, path
from lanternfish.landscape.perturbation import Perturbation, Slope, perturb
from lanternfish.landscape.sensitivity import Sensitivity, sensitivity
from lanternfish.landscape.spiking import firing, firing_of, spikes
from lanternfish.landscape.walk import Walk, walk

__all__ = [
    "ActiveSubspace",
    "Beside",
    "Classes",
    "Compensation",
    "Conditional",
    "ConditionalPairs",
    "Importance",
    "Mode",
    "ModePath",
    "Modes",
    "Pairs",
    "Path",
    "Perturbation",
    "Sensitivity",
    "Slope",
    "Walk",
    "active_subspace",
    "beside",
    "classify",
    "compensation",
    "conditional",
    "conditional_mode",
    "conditional_modes",
    "conditional_pairs",
    "ends",
    "firing",
    "firing_of",
    "modes",
    "orthogonal_path",
    "path",
    "perturb",
    "sensitivity",
    "spikes",
    "walk",
]
