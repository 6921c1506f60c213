"""Equations of the Hodgkin-Huxley neuron with eight parameters, stated once for Numba and JAX.

    C dV/dt = g_Na m^3 h (E_Na - V) + g_K n^4 (E_K - V) + g_l (E_l - V) + g_M p (E_K - V)
              + I + sigma xi(t)

    dx/dt = alpha_x (1 - x) - beta_x x                        for x in {m, h, n}
    dp/dt = (p_inf - p) / tau_p

    with u = V - V_T and L(x) = x / (e^x - 1):
    alpha_m = 1.28 L(-(u - 13) / 4)                           beta_m = 1.4 L((u - 40) / 5)
    alpha_h = 0.128 e^(-(u - 17) / 18)                        beta_h = 4 / (1 + e^(-(u - 40) / 5))
    alpha_n = 0.16 L(-(u - 15) / 5)                           beta_n = 0.5 e^(-(u - 10) / 40)
    p_inf = 1 / (1 + e^(-(V + 35) / 10))
    tau_p = tau_max / (3.3 e^((V + 35) / 20) + e^(-(V + 35) / 20))

Units: mV, ms, mS/cm2, uA/cm2, uF/cm2. A step of dt is exponential Euler: the voltage first, from
the old gates and the current I + sigma N(0, 1) / sqrt(dt), then the gates, from the new voltage;

    y <- y + dt (a - b y) phi(b dt),    phi(x) = (1 - e^-x) / x,    for dy/dt = a - b y

Reference: Pospischil, Toledo-Rodriguez, Monier, Piwkowska, Bal, Fregnac, Markram & Destexhe (2008),
Biol. Cybern. 99:427-441, with constants as used by Goncalves et al. (2020), eLife 9:e56261.

The functions take numbers, arrays or vectors of lanes, and ``exp(x)`` and ``where_less(a, b, yes,
no)`` of whoever calls: the compiled kernel (`hodgkin_huxley_kernel`) or JAX (`hodgkin_huxley_jax`).
L and phi are written such that no digits cancel at small x in float32: the slow gate p takes steps
of 1e-5 time constants, and with 1 - e^-x as it stands its speed would be wrong by up to 0.3 %. For
the same reason V and p are summed with compensation (Kahan 1965, Commun. ACM 8:40): a float32 V of
-70 mV stands still where it should move by less than 4e-6 mV in a step, which stopped it 2e-3 mV
away from rest.
"""

from numba.extending import register_jitable

E_NA = 53.0  # mV
E_K = -107.0  # mV; C = 1 uF/cm2 does not appear below

compiled = register_jitable(error_model="numpy", forceinline=True)


@compiled
def linoid(x, a, b, where_less):
    """x / (e^x - 1), given a and b with e^x = a / b; its series where |x| < 0.3 (error 6e-11)."""
    square = x * x
    series = 1.0 - 0.5 * x + square * (1 / 12 - square * (1 / 720 - square * (1 / 30240)))
    difference = where_less(square, 0.09, 1.0, a - b)  # no 0 / 0 on the way not taken
    return where_less(square, 0.09, series, x * b / difference)


@compiled
def phi(x):
    """(1 - e^-x) / x by the diagonal Pade approximant of order 4 of e^-x.

    Its relative error is 2.4e-8 at x = 1, 3.5e-6 at 2 and 1e-3 at 5. At the height of a spike the
    membrane reaches x = 1 in a step of 0.01 ms, a gate 0.3; elsewhere x is far smaller. For any x,
    x phi(x) lies between 0 and 1, so that no gate leaves its range.
    """
    square = x * x
    top = 1.0 + square * (1 / 42)
    return top / (top + x * (1 / 2 + x * (1 / 12 + x * (1 / 84 + x * (1 / 1680)))))


@compiled
def rates(v, v_t, tau_max, exp, where_less):
    """Opening rates, and opening + closing rates, of m, h, n and p at v (mV): two tuples, 1/ms."""
    u = v - v_t
    e_5 = exp(0.2 * (u - 40.0))
    e_20 = exp(0.05 * (v + 35.0))
    alpha_m = 1.28 * linoid(0.25 * (13.0 - u), exp(0.25 * (13.0 - u)), 1.0, where_less)
    beta_m = 1.4 * linoid(0.2 * (u - 40.0), e_5, 1.0, where_less)
    alpha_h = 0.128 * exp((17.0 - u) * (1 / 18))
    beta_h = 4.0 * e_5 / (e_5 + 1.0)
    alpha_n = 0.16 * linoid(0.2 * (15.0 - u), 0.006737946999085467, e_5, where_less)  # e^-5
    beta_n = 0.5 * exp(0.025 * (10.0 - u))
    square = e_20 * e_20
    rate_p = (3.3 * square + 1.0) / (e_20 * tau_max)
    opening = alpha_m, alpha_h, alpha_n, rate_p * square / (1.0 + square)
    return opening, (alpha_m + beta_m, alpha_h + beta_h, alpha_n + beta_n, rate_p)


@compiled
def add(total, change, lost):
    """total + change, and what rounding lost of it, given what it lost before."""
    change = change + lost
    after = total + change
    return after, change - (after - total)


@compiled
def rest(v, kinetics, exp, where_less):
    """State (see ``step``) with all gates in equilibrium at v (mV)."""
    (m, h, n, p), rate = rates(v, kinetics[0], kinetics[1], exp, where_less)
    zero = v - v
    return v, m / rate[0], h / rate[1], n / rate[2], p / rate[3], zero, zero


@compiled
def step(state, conductances, kinetics, current, dt, exp, where_less):
    """State after dt ms.

    Args:
        state: (V, m, h, n, p, lost of V, lost of p); mV and fractions.
        conductances: (g_Na, g_K, g_l, g_M, E_l); mS/cm2, mV.
        kinetics: (V_T, tau_max); mV, ms.
        current: stimulus and noise over the step, uA/cm2.
    """
    v, m, h, n, p, v_lost, p_lost = state
    g_na, g_k, g_l, g_m, e_l = conductances
    sodium = g_na * (m * m * m * h)
    potassium = g_k * ((n * n) * (n * n)) + g_m * p
    total = sodium + potassium + g_l
    net = sodium * (E_NA - v) + potassium * (E_K - v) + g_l * (e_l - v) + current
    v, v_lost = add(v, dt * net * phi(dt * total), v_lost)
    opening, rate = rates(v, kinetics[0], kinetics[1], exp, where_less)
    m = m + dt * (opening[0] - rate[0] * m) * phi(dt * rate[0])
    h = h + dt * (opening[1] - rate[1] * h) * phi(dt * rate[1])
    n = n + dt * (opening[2] - rate[2] * n) * phi(dt * rate[2])
    p, p_lost = add(p, dt * (opening[3] - rate[3] * p) * phi(dt * rate[3]), p_lost)
    return v, m, h, n, p, v_lost, p_lost
