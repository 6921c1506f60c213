"""Oracle for maximum entropy: the optimum itself, on a grid, in double precision.

p* = exp(eta . T) / Z on the points of a grid, with eta from Newton's method on the dual; entropy is
a sum. It shares nothing with the package.
"""

import numpy as np


def largest_entropy(u, volume):
    """H* (nats) of u (n, r), whitened statistics on n equal cells of this volume each."""
    t = np.concatenate([u, u**2], axis=1)
    goal = np.repeat([0.0, 1.0], u.shape[1])
    eta, value = np.zeros(len(goal)), np.inf

    def dual(eta):
        logs = t @ eta
        return logs.max() + np.log(np.sum(np.exp(logs - logs.max())) * volume) - eta @ goal

    for _ in range(200):
        logs = t @ eta
        p = np.exp(logs - logs.max())
        p /= p.sum()
        gap = p @ t - goal
        away = t - p @ t
        curvature = (away * p[:, None]).T @ away
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(goal)), gap)
        size = 1.0
        while dual(eta - size * step) > value and size > 1e-8:
            size /= 2
        eta, value = eta - size * step, dual(eta - size * step)
        if gap @ step < 1e-14:
            break
    return value


def grid(low, high, n=200_001):
    """Midpoints of n cells of an interval, and the volume of a cell."""
    edges = np.linspace(low, high, n + 1)
    return (edges[1:] + edges[:-1]) / 2, (high - low) / n
