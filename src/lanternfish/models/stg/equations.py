"""The pyloric network of the crustacean stomatogastric ganglion (STG): equations and constants.

Neurons j: 0 AB/PD (the pacemaker), 1 LP, 2 PY; each one compartment.

    C dV/dt = - sum_i g_i m_i^p h_i^q (V - E_i) - sum_s g_s s (V - E_s) + I(t)
    dm/dt   = (m_inf(V, Ca) - m) / tau_m(V)                         (same for h)
    dCa/dt  = (Ca_inf - Ca) / 200 ms,  Ca_inf = 0.05 - 14961 (c_CaT + c_CaS)(V - E_Ca)
    ds/dt   = (s_inf(V_pre) - s) / tau_s,  tau_s = K (1 - s_inf)

Units: mV, ms, mS, uA (= mS mV), uF, uM. c_i = g_i m^p h^q.

Every function below is one column of the table of the model, written for numbers or arrays of any
kind: the caller brings ``exp`` and ``log`` of NumPy, of JAX, or of the compiled kernels.

References: Prinz, Bucher & Marder, Nature Neuroscience 7, 1345 (2004), as in Gonçalves et al.,
eLife 9, e56261 (2020), Methods "Circuit model", and as their published code reads where the paper
and the code differ.
"""

CHANNELS = ("Na", "CaT", "CaS", "A", "KCa", "Kd", "H", "leak")
NEURONS = ("AB/PD", "LP", "PY")

AREA = 0.628e-3  # cm2; the published code has 0.628e-3 for the area
CAPACITANCE = 0.6283e-3  # uF; and 0.6283e-3 here, at 1 uF/cm2

E_NA = 50.0  # mV
E_K = -80.0  # mV, of A, KCa and Kd
E_H = -20.0  # mV
E_LEAK = -50.0  # mV

V_START = -50.0  # mV; all gates m, h and s start at 0
CA_START = 0.05  # uM
TAU_CA = 200.0  # ms

GAS = 8.31451e3  # mJ / (mol K)
FARADAY = 96485.3415  # C / mol
CA_OUTSIDE = 3000.0  # uM

NOISE = 0.001  # uA, sd of the current added in every step; not rescaled with dt

# Synapses, (presynaptic, postsynaptic, kind), in the order of the parameters.
SYNAPSES = (
    (0, 1, "glut"),  # AB -> LP
    (0, 1, "chol"),  # PD -> LP
    (0, 2, "glut"),  # AB -> PY
    (0, 2, "chol"),  # PD -> PY
    (1, 0, "glut"),  # LP -> PD
    (1, 2, "glut"),  # LP -> PY
    (2, 1, "glut"),  # PY -> LP
)
V_THRESHOLD = -35.0  # mV, of every synapse; the pyloric package ignores its argument of this name
DELTA = 5.0  # mV, likewise
E_SYNAPSE = {"glut": -70.0, "chol": -80.0}  # mV
K_SYNAPSE = {"glut": 40.0, "chol": 100.0}  # ms, 1 / k_-

# Temperature: a rate or conductance is multiplied by Q^((T - 283) / 10). Caplan et al. 2014 for the
# membrane, as in the published code.
REFERENCE_TEMPERATURE = 283.0  # K
Q10_MEMBRANE = 1.5
Q10_SYNAPSE = 1.5
Q10_TAU_M = (2.4, 2.4, 2.0, 2.4, 1.6, 2.4, 2.4)  # CHANNELS without leak
Q10_TAU_H = 2.8
Q10_TAU_CA = 2.0
Q10_TAU_SYNAPSE = 1.7


def sigmoid(v, slope, exp):
    """1 / (1 + e^(v / slope))."""
    return 1 / (1 + exp(v / slope))


def m_inf(V, exp):
    """Steady activation of Na, CaT, CaS, A, KCa (to be multiplied by ``calcium_gate``), Kd, H."""
    return (
        sigmoid(V + 25.5, -5.29, exp),
        sigmoid(V + 27.1, -7.2, exp),
        sigmoid(V + 33, -8.1, exp),
        sigmoid(V + 27.2, -8.7, exp),
        sigmoid(V + 28.3, -12.6, exp),
        sigmoid(V + 12.3, -11.8, exp),
        sigmoid(V + 75, 5.5, exp),
    )


def tau_m(V, exp):
    """Time constants of activation (ms) of Na, CaT, CaS, A, KCa, Kd, H."""
    return (
        2.64 - 2.52 * sigmoid(V + 120, -25, exp),
        43.4 - 42.6 * sigmoid(V + 68.1, -20.5, exp),
        2.8 + 14 / (exp((V + 27) / 10) + exp((V + 70) / -13)),
        23.2 - 20.8 * sigmoid(V + 32.9, -15.2, exp),
        180.6 - 150.2 * sigmoid(V + 46, -22.7, exp),
        14.4 - 12.8 * sigmoid(V + 28.3, -19.2, exp),
        2 / (exp(-14.59 - 0.086 * V) + exp(-1.87 + 0.0701 * V)),
    )


def h_inf(V, exp):
    """Steady inactivation of Na, CaT, CaS, A."""
    return (
        sigmoid(V + 48.9, 5.18, exp),
        sigmoid(V + 32.1, 5.5, exp),
        sigmoid(V + 60, 6.2, exp),
        sigmoid(V + 56.9, 4.9, exp),
    )


def tau_h(V, exp):
    """Time constants of inactivation (ms) of Na, CaT, CaS, A."""
    return (
        1.34 * sigmoid(V + 62.9, -10, exp) * (1.5 + sigmoid(V + 34.9, 3.6, exp)),
        210 - 179.6 * sigmoid(V + 55, -16.9, exp),
        120 + 300 / (exp((V + 55) / 9) + exp((V + 65) / -16)),
        77.2 - 58.4 * sigmoid(V + 38.9, -26.5, exp),
    )


def calcium_gate(Ca):
    """The calcium factor of KCa's steady activation."""
    return Ca / (Ca + 3.0)


def nernst_slope(temperature):
    """R T / (2 F) in mV; 12.1936 at 283 K."""
    return GAS * temperature / (2 * FARADAY)


def calcium_reversal(Ca, slope, log):
    """E_Ca (mV) = R T / (2 F) ln(3000 / Ca), given ``nernst_slope``."""
    return slope * log(CA_OUTSIDE / Ca)


def calcium_target(I_Ca):
    """Ca_inf (uM) of a calcium current (uA)."""
    return 0.05 - 14961.0 * I_Ca


def s_inf(V, exp):
    """Steady activation of a synapse, from the presynaptic voltage."""
    return sigmoid(V - V_THRESHOLD, -DELTA, exp)


def synapse_rate(V, K, exp):
    """1 / tau_s = 1 / (K (1 - s_inf)) in 1/ms, as (1 + e^((V - V_th) / Delta)) / K."""
    return (1 + exp((V - V_THRESHOLD) / DELTA)) / K


def q10(factor, temperature):
    """How much faster or larger something with this Q10 is at a temperature (K) than at 283 K."""
    return factor ** ((temperature - REFERENCE_TEMPERATURE) / 10)
