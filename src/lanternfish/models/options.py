"""Checks of options that several models of the zoo take."""

from __future__ import annotations

import numpy as np


def check_trials(trials: object) -> None:
    """Raise one sentence where trials are no whole number of at least 1."""
    if isinstance(trials, bool) or not isinstance(trials, int | np.integer) or trials < 1:
        raise ValueError(f"Expected trials, a whole number of at least 1; got {trials!r}.")
