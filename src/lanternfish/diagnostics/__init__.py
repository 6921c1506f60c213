"""Evidence that a posterior can be trusted, in numbers and in words."""

from lanternfish.diagnostics.calibration import CalibrationCheck, calibration_check
from lanternfish.diagnostics.comparison import Comparison, compare
from lanternfish.diagnostics.constraint import Constraint, constraints
from lanternfish.diagnostics.predictive import PredictiveCheck, predictive_check
from lanternfish.diagnostics.property_check import property_check

__all__ = [
    "CalibrationCheck",
    "Comparison",
    "Constraint",
    "PredictiveCheck",
    "calibration_check",
    "compare",
    "constraints",
    "predictive_check",
    "property_check",
]
