"""The nouns of the house: what everyone stands on."""

from lanternfish.core.columns import Column, Image, Trace, Trials
from lanternfish.core.compilation import keep_compilations
from lanternfish.core.files import DamagedFile, Folder
from lanternfish.core.joint import CorrelatedNormal, Custom, FromSamples, JointLaw
from lanternfish.core.laws import Beta, Gamma, Law, LogNormal, LogUniform, Normal, Uniform
from lanternfish.core.model import Model, Traces
from lanternfish.core.named import Named, vector_of
from lanternfish.core.posterior import Marginal, Posterior
from lanternfish.core.prior import Prior
from lanternfish.core.properties import EmergentProperty, PropertyRange
from lanternfish.core.simulations import Simulations, Status
from lanternfish.core.simulators import (
    BatchSimulator,
    Elsewhere,
    JaxSimulator,
    PythonSimulator,
    Simulator,
)
from lanternfish.core.table import Table
from lanternfish.core.targets import Observation

keep_compilations()

__all__ = [
    "BatchSimulator",
    "Beta",
    "Column",
    "CorrelatedNormal",
    "Custom",
    "DamagedFile",
    "Elsewhere",
    "EmergentProperty",
    "Folder",
    "FromSamples",
    "Gamma",
    "Image",
    "JaxSimulator",
    "JointLaw",
    "Law",
    "LogNormal",
    "LogUniform",
    "Marginal",
    "Model",
    "Named",
    "Normal",
    "Observation",
    "Posterior",
    "Prior",
    "PropertyRange",
    "PythonSimulator",
    "Simulations",
    "Simulator",
    "Status",
    "Table",
    "Trace",
    "Traces",
    "Trials",
    "Uniform",
    "vector_of",
]
