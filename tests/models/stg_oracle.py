"""The pyloric network once more, in float64 NumPy, written from the equations and nothing else.

It shares no line with the library: constants, order of operations and layout are its own.
"""

import numpy as np

DT = 0.025
SIGNS = {  # m_inf: (V half, slope)
    "m": [
        (25.5, -5.29),
        (27.1, -7.2),
        (33, -8.1),
        (27.2, -8.7),
        (28.3, -12.6),
        (12.3, -11.8),
        (75, 5.5),
    ],
    "h": [(48.9, 5.18), (32.1, 5.5), (60, 6.2), (56.9, 4.9)],
}


def boltzmann(V, half, slope):
    return 1.0 / (1.0 + np.exp((V + half) / slope))


def taus(V):
    e, b = np.exp, boltzmann
    tau_m = [
        2.64 - 2.52 * b(V, 120, -25),
        43.4 - 42.6 * b(V, 68.1, -20.5),
        2.8 + 14 / (e((V + 27) / 10) + e((V + 70) / -13)),
        23.2 - 20.8 * b(V, 32.9, -15.2),
        180.6 - 150.2 * b(V, 46, -22.7),
        14.4 - 12.8 * b(V, 28.3, -19.2),
        2 / (e(-14.59 - 0.086 * V) + e(-1.87 + 0.0701 * V)),
    ]
    tau_h = [
        1.34 * b(V, 62.9, -10) * (1.5 + b(V, 34.9, 3.6)),
        210 - 179.6 * b(V, 55, -16.9),
        120 + 300 / (e((V + 55) / 9) + e((V + 65) / -16)),
        77.2 - 58.4 * b(V, 38.9, -26.5),
    ]
    return tau_m, tau_h


def energy(theta, steps, begin):
    """Sum over steps from ``begin`` on of sum c (V - E)^2 of each neuron (nW), (n, 3); no noise."""
    powers = []
    simulate(theta, steps, watch=powers.append)
    return np.sum(powers[begin:], axis=0)


def simulate(theta, steps, noise=None, temperature=283.0, watch=None):
    """Voltages (n, 3, steps + 1) of circuits theta (n, 31); noise (n, 3, steps) in uA."""
    n = len(theta)
    ten = (temperature - 283.0) / 10
    g = theta[:, :24].reshape(n, 3, 8) * 0.628e-3 * 1.5**ten
    g_syn = np.exp(theta[:, 24:]) * 1.5**ten
    q_m = np.array([2.4, 2.4, 2.0, 2.4, 1.6, 2.4, 2.4]) ** ten
    powers = np.array([3, 3, 3, 3, 4, 4, 1])
    C = 0.6283e-3
    rtf = 8.31451e3 * temperature / (2 * 96485.3415)
    pre = np.array([0, 0, 0, 0, 1, 1, 2])
    post = np.array([1, 1, 2, 2, 0, 2, 1])
    E_s = np.array([-70, -80, -70, -80, -70, -70, -70.0])
    K_s = np.array([40, 100, 40, 100, 40, 40, 40.0])
    V, Ca = np.full((n, 3), -50.0), np.full((n, 3), 0.05)
    m, h, s = np.zeros((n, 3, 7)), np.zeros((n, 3, 4)), np.zeros((n, 7))
    out = [V]
    for step in range(steps):
        m_inf = np.stack([boltzmann(V, *p) for p in SIGNS["m"]], axis=-1)
        m_inf[..., 4] *= Ca / (Ca + 3)
        h_inf = np.stack([boltzmann(V, *p) for p in SIGNS["h"]], axis=-1)
        tau_m, tau_h = (np.stack(t, axis=-1) for t in taus(V))
        E = np.empty((n, 3, 8))
        E[:] = [50, 0, 0, -80, -80, -80, -20, -50]
        E[..., 1] = E[..., 2] = rtf * np.log(3000 / Ca)
        c = g * np.concatenate([m**powers, np.ones((n, 3, 1))], axis=-1)
        c[..., :4] *= h
        conductance, driven = c.sum(-1), (c * E).sum(-1)
        for k in range(7):
            conductance[:, post[k]] += g_syn[:, k] * s[:, k]
            driven[:, post[k]] += g_syn[:, k] * s[:, k] * E_s[k]
        if watch is not None:
            power = (c * (V[..., None] - E) ** 2).sum(-1)
            for k in range(7):
                power[:, post[k]] += g_syn[:, k] * s[:, k] * (V[:, post[k]] - E_s[k]) ** 2
            watch(power)
        if noise is not None:
            driven = driven + noise[:, :, step]
        current = (c[..., 1] + c[..., 2]) * (V - E[..., 1])
        safe = np.where(conductance == 0, 1, conductance)
        relaxed = driven / safe + (V - driven / safe) * np.exp(-DT * safe / C)
        V_new = np.where(conductance == 0, V + DT * driven / C, relaxed)
        Ca_inf = 0.05 - 14961 * current
        Ca = Ca_inf + (Ca - Ca_inf) * np.exp(-DT * 2.0**ten / 200)
        m = m_inf + (m - m_inf) * np.exp(-DT * q_m / tau_m)
        h = h_inf + (h - h_inf) * np.exp(-DT * 2.8**ten / tau_h)
        s_inf = 1 / (1 + np.exp((-35 - V[:, pre]) / 5))
        tau_s = K_s * (1 - s_inf) / 1.7**ten
        with np.errstate(divide="ignore"):
            s = np.where(tau_s < DT, s_inf, s + (s_inf - s) * DT / tau_s)
        V = V_new
        out.append(V)
    return np.stack(out, axis=-1)
