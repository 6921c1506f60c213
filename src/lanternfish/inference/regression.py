"""Regression adjustment of accepted parameters (Beaumont, Zhang & Balding 2002, Genetics 162:2025).

    z_i = alpha + beta (x_i - x_obs) / s + residual_i,     z_i* = z_i - beta (x_i - x_obs) / s

by least squares, weighted by w_i (1 - d_i^2 / eps^2) (Epanechnikov), in the prior's unbounded
space: adjusted parameters stay inside its bounds. Where parameters given statistics are linear with
errors of one law, it is exact at any tolerance.
"""

from __future__ import annotations

import numpy as np


def adjusted(z: np.ndarray, away: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Parameters in unbounded space, moved to where the statistics are the observed ones, (n, d).

    Args:
        z: accepted parameters, (n, d).
        away: their statistics less the observed ones, in scales, (n, k).
        weight: of the regression, (n,).

    Raises:
        ValueError: if there are too few to regress on.
    """
    n, k = away.shape
    if int(np.sum(weight > 0)) < k + 2:
        raise ValueError(
            f"Expected at least {k + 2} accepted simulations to regress on {k} statistics; got "
            f"{int(np.sum(weight > 0))}: accept more, or set adjustment=None."
        )
    root = np.sqrt(weight)[:, None]
    design = np.concatenate([np.ones((n, 1)), away], axis=1)
    slopes = np.linalg.lstsq(root * design, root * z, rcond=1e-10)[0][1:]
    return z - away @ slopes


def epanechnikov(distance: np.ndarray, tolerance: float) -> np.ndarray:
    """1 - (d / eps)^2 inside the tolerance, (n,); the outermost simulation keeps a little."""
    return np.maximum(1 - (distance / (tolerance * (1 + 1e-9))) ** 2, 0.0)
