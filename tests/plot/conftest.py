import numpy as np
import pytest

from lanternfish.core import Column, Observation, Posterior, Prior, Table, Uniform


@pytest.fixture(scope="session")
def seed():
    """The seed of every random test."""
    return 20_240


CURRENTS = {"Na": 500, "CaT": 7.5, "CaS": 8, "A": 60, "KCa": 15, "Kd": 150, "H": 0.2, "leak": 0.01}
HODGKIN_HUXLEY = {
    "g_Na": (r"$g_\mathrm{Na}$", "mS/cm2", 0.5, 80),
    "g_K": (r"$g_\mathrm{K}$", "mS/cm2", 1e-4, 15),
    "g_M": (r"$g_\mathrm{M}$", "mS/cm2", 1e-4, 0.6),
    "g_leak": (r"$g_\mathrm{leak}$", "mS/cm2", 1e-4, 0.6),
    "tau_max": (r"$\tau_\mathrm{max}$", "ms", 50, 3000),
    "V_T": ("$V_T$", "mV", -90, -40),
    "noise": (r"$\sigma$", "uA/cm2", 1e-4, 0.15),
    "E_leak": (r"$E_\mathrm{leak}$", "mV", -110, -50),
}


def hodgkin_huxley(d):
    rows = list(HODGKIN_HUXLEY.items())[:d]
    return {n: Uniform(low, high, unit=unit, label=la) for n, (la, unit, low, high) in rows}


def crab_circuit():
    cells = {
        f"g_{current}_{cell}": Uniform(0, high, unit="mS/cm2")
        for cell in ("ABPD", "LP", "PY")
        for current, high in CURRENTS.items()
    }
    pairs = ("ABPD_LP", "ABPD_PY", "LP_ABPD", "LP_PY", "PY_LP", "ABPD_LP_chol", "ABPD_PY_chol")
    return cells | {f"g_syn_{p}": Uniform(-12, -4, unit="log nS") for p in pairs}


class Stand(Posterior):
    """A posterior that is its prior, squeezed towards the middle."""

    kind = "stand"
    statistics = (Column("rate", "Hz"),)
    observation = Observation(rate=1.0)

    def __init__(self, prior):
        self.prior = prior

    def sample(self, n, seed=0):
        rng = np.random.default_rng(seed)
        d = len(self.prior)
        mixed = rng.normal(size=(n, d)) @ np.linalg.cholesky(0.6 * np.eye(d) + 0.4)
        unit = 1 / (1 + np.exp(-mixed))
        low, high = self.prior.low, self.prior.high
        return Table(low + (high - low) * unit, self.parameters)

    def log_density(self, theta):
        raise NotImplementedError

    def at(self, observation):
        return self

    def write(self, folder):
        raise NotImplementedError


def posterior_of(d):
    laws = crab_circuit() if d == 31 else hodgkin_huxley(d)
    assert len(laws) == d
    return Stand(Prior(**laws))


@pytest.fixture(scope="session", params=[1, 2, 8, 31])
def posterior(request):
    """Posteriors of 1, 2 and 8 parameters of Hodgkin-Huxley, and of the crab's 31."""
    return posterior_of(request.param)


@pytest.fixture(scope="session")
def two():
    return posterior_of(2)
