"""lanternfish lights up the parameter space of a neural-circuit model.

A study is a model, a target and a method; running it gives a posterior and the evidence that the
posterior can be trusted. Public names are loaded on first use, so that importing the package is
instant.
"""

import importlib
from typing import Any

from lanternfish.sums import sum_rightly

__version__ = "0.1.0"

_HOMES = {
    "lanternfish.core": (
        "BatchSimulator", "Beta", "Column", "CorrelatedNormal", "Custom", "Elsewhere",
        "EmergentProperty",
        "FromSamples", "Gamma", "Image", "JaxSimulator", "LogNormal", "LogUniform", "Model",
        "Normal", "Observation", "Posterior", "Prior", "PropertyRange", "PythonSimulator",
        "Simulations", "Status", "Table", "Trace", "Traces", "Trials", "Uniform",
    ),
    "lanternfish.core.run": ("Run",),
    "lanternfish.simulation": ("simulate",),
    "lanternfish.inference": ("EPI", "NLE", "NPE", "SMC", "Rejection", "Sweep", "infer"),
}  # fmt: skip
_ROOMS = (
    "core", "flows", "models", "simulation", "inference", "diagnostics", "landscape", "plot"
)  # fmt: skip
_NAMES = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [*_NAMES, "landscape", "models", "plot"]  # pyright: ignore[reportUnsupportedDunderAll]

sum_rightly()


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"lanternfish.{name}")
    else:
        raise AttributeError(f"module 'lanternfish' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
