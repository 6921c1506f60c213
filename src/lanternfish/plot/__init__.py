"""Figures: the only room that draws. Needs Matplotlib, ``pip install 'lanternfish[plot]'``.

Every function returns a ``matplotlib.figure.Figure`` of its own: no pyplot, no global state, so
figures can be made and saved in any thread. Colours are those of Okabe & Ito (2008), told apart by
all common kinds of colour vision; whatever differs in colour differs in line style or marker too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lanternfish.lazy import loader

if TYPE_CHECKING:
    from lanternfish.plot.behaviour import classes, importance
    from lanternfish.plot.besides import beside
    from lanternfish.plot.comparisons import comparison
    from lanternfish.plot.compensations import active_subspace, compensation, conditionals, modes
    from lanternfish.plot.constraints import optimisation
    from lanternfish.plot.curves import training
    from lanternfish.plot.evolution import animate
    from lanternfish.plot.files import save
    from lanternfish.plot.grids import marginals
    from lanternfish.plot.landscapes import landscape
    from lanternfish.plot.pairs import pair
    from lanternfish.plot.paths import animate_path, path
    from lanternfish.plot.perturbations import perturbation
    from lanternfish.plot.planes import contours
    from lanternfish.plot.predictions import predictive
    from lanternfish.plot.ranks import calibration
    from lanternfish.plot.stacks import stacking
    from lanternfish.plot.verdicts import checks
    from lanternfish.plot.voltages import traces

__all__ = [
    "active_subspace",
    "animate",
    "animate_path",
    "beside",
    "calibration",
    "checks",
    "classes",
    "comparison",
    "compensation",
    "conditionals",
    "contours",
    "importance",
    "landscape",
    "marginals",
    "modes",
    "optimisation",
    "pair",
    "path",
    "perturbation",
    "predictive",
    "save",
    "stacking",
    "traces",
    "training",
]

_HOMES = {
    "active_subspace": "compensations",
    "animate": "evolution",
    "beside": "besides",
    "animate_path": "paths",
    "calibration": "ranks",
    "checks": "verdicts",
    "classes": "behaviour",
    "comparison": "comparisons",
    "compensation": "compensations",
    "conditionals": "compensations",
    "contours": "planes",
    "importance": "behaviour",
    "landscape": "landscapes",
    "marginals": "grids",
    "modes": "compensations",
    "optimisation": "constraints",
    "pair": "pairs",
    "path": "paths",
    "perturbation": "perturbations",
    "predictive": "predictions",
    "save": "files",
    "stacking": "stacks",
    "traces": "voltages",
    "training": "curves",
}


_load = loader(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        try:
            importlib.import_module("matplotlib")
        except ModuleNotFoundError:
            raise ImportError(
                "Expected Matplotlib, which draws the figures; got an environment without it: "
                "pip install 'lanternfish[plot]'."
            ) from None
    return _load(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
