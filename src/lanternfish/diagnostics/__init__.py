"""Evidence that a posterior can be trusted, in numbers and in words."""

from lanternfish.diagnostics.constraint import Constraint, constraints
from lanternfish.diagnostics.predictive import PredictiveCheck, predictive_check

__all__ = ["Constraint", "PredictiveCheck", "constraints", "predictive_check"]
