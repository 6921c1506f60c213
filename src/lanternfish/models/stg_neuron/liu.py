"""The gates of Liu, Golowasch, Marder & Abbott (1998), of which Prinz et al. made theirs.

Steady states as in ``stg.equations`` and every time constant half as long, but for H:

    m_inf = 1 / (1 + e^((V + 70) / 6)),    tau = 272 + 1499 / (1 + e^((V + 42.2) / -8.73))    (ms).

Reference: J. Neurosci. 18:2309.
"""

from lanternfish.models.stg import equations as eq
from lanternfish.models.stg.equations import h_inf as h_inf


def m_inf(V, exp):
    """Steady activation of Na, CaT, CaS, A, KCa (without calcium), Kd, H."""
    return (*eq.m_inf(V, exp)[:6], eq.sigmoid(V + 70, 6, exp))


def tau_m(V, exp):
    """Time constants of activation (ms) of Na, CaT, CaS, A, KCa, Kd, H."""
    return (
        *(tau / 2 for tau in eq.tau_m(V, exp)[:6]),
        272 + 1499 * eq.sigmoid(V + 42.2, -8.73, exp),
    )


def tau_h(V, exp):
    """Time constants of inactivation (ms) of Na, CaT, CaS, A."""
    return tuple(tau / 2 for tau in eq.tau_h(V, exp))
