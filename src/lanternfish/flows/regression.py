"""The linear Gaussian law of z given c, by ridge regression: where every flow starts."""

from __future__ import annotations

import numpy as np


def ridge(z: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear Gaussian fit of z (n, d) given c (n, k): matrix (d, k), offset (d,), root (d, d).

    The ridge and the shrinkage of the residuals' covariance towards its diagonal fall off with
    the number of rows over the number of columns, so that few rows give a broad, safe start.
    """
    n, k, d = len(z), c.shape[1], z.shape[1]
    centre_z, centre_c = z.mean(axis=0), c.mean(axis=0)
    zc, cc = z - centre_z, c - centre_c
    spread = cc.std(axis=0) + 1e-12
    gram = (cc / spread).T @ (cc / spread)
    matrix = np.linalg.solve(gram + (k + 1) * np.eye(k), (cc / spread).T @ zc).T / spread
    residual = zc - cc @ matrix.T
    covariance = residual.T @ residual / max(n - 1, 1)
    shrink = d / (n + d)
    covariance = (1 - shrink) * covariance + np.diag(shrink * np.diag(covariance) + 1e-8)
    return matrix, centre_z - matrix @ centre_c, np.linalg.cholesky(covariance)
