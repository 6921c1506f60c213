"""Everything in a step that depends on one neuron's voltage alone, tabulated over that voltage.

A row spans 1/4 mV and holds three quadratics of eight lanes,

    m_inf  Na CaT CaS A | KCa Kd H s
    k_m    Na CaT CaS A | KCa Kd H s        k = 1 - e^(-dt/tau): m <- m + k (m_inf - m)
    h_inf  Na CaT CaS A | k_h Na CaT CaS A

in the order value, slope, curvature, 24 numbers each: one step of all gates of a neuron is nine
loads and six fused multiplications instead of 24 exponentials. s is the neuron's glutamatergic
synapse, forward Euler as published: k = dt / tau_s, and 1 where dt > tau_s. The quadratics meet at
the row borders; their largest relative error is 3e-6.
"""

import functools
import math

import numpy as np
from numpy.typing import DTypeLike

from lanternfish.models.stg import equations as eq

V_MIN = -120.0  # mV; the reversal potentials lie in -80 ... 134 mV, and so does V but for noise
V_MAX = 140.0
ROWS_PER_MV = 4
ROWS = int((V_MAX - V_MIN) * ROWS_PER_MV)
LANES = 8
ROW = 9 * LANES


_exp = np.vectorize(math.exp)  # the C library's: not a different one for every vector width
_expm1 = np.vectorize(math.expm1)


def gates(V, dt, temperature, kinetics=eq):
    """The 24 tabulated quantities at voltages V (mV), float64, shape (24, len(V))."""
    k_m = [
        -_expm1(-dt * eq.q10(q, temperature) / tau)
        for q, tau in zip(eq.Q10_TAU_M, kinetics.tau_m(V, _exp), strict=True)
    ]
    speed_h = dt * eq.q10(eq.Q10_TAU_H, temperature)
    k_h = [-_expm1(-speed_h / tau) for tau in kinetics.tau_h(V, _exp)]
    rate = eq.synapse_rate(V, eq.K_SYNAPSE["glut"], _exp) * eq.q10(eq.Q10_TAU_SYNAPSE, temperature)
    k_s = np.minimum(1.0, dt * rate)
    m_inf, h_inf = kinetics.m_inf(V, _exp), kinetics.h_inf(V, _exp)
    return np.array([*m_inf, eq.s_inf(V, _exp), *k_m, k_s, *h_inf, *k_h])


@functools.lru_cache(maxsize=32)
def table(dt, temperature, kinetics=eq):
    """The table as a flat float32 array whose rows start on 32-byte borders.

    ``kinetics`` has the functions m_inf, tau_m, h_inf and tau_h of ``equations``.

    Slope and curvature are rounded to an eighth of the value's last bit: what the C library leaves
    open in the last bit of its exponentials then never shows.
    """
    nodes = np.arange(2 * ROWS + 1) / (2 * ROWS_PER_MV) + V_MIN
    values = gates(nodes, dt, temperature, kinetics)
    left, middle, right = values[:, :-2:2], values[:, 1::2], values[:, 2::2]
    curvature = 2 * (left + right) - 4 * middle
    slope = right - left - curvature
    grid = np.spacing(left.astype(np.float32)).astype(np.float64) / 8
    parts = (left, np.round(slope / grid) * grid, np.round(curvature / grid) * grid)
    flat = aligned(ROWS * ROW)
    flat[:] = np.stack(parts).transpose(2, 0, 1).ravel()
    flat.flags.writeable = False
    return flat


def aligned(size: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Zeros whose first element lies on a 64-byte border."""
    memory = np.zeros(size + 16, dtype)
    start = (-memory.ctypes.data % 64) // memory.itemsize
    return memory[start : start + size]
