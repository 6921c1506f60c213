"""The laws under test, each beside an oracle from SciPy that shares no code with it."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from lanternfish.core import (
    Beta,
    CorrelatedNormal,
    Custom,
    FromSamples,
    Gamma,
    JointLaw,
    Law,
    LogNormal,
    LogUniform,
    Normal,
    Uniform,
)


@dataclass(frozen=True)
class Case:
    """A law of one parameter, SciPy's frozen distribution, and whether it spans decades."""

    name: str
    law: Law
    oracle: Any
    logarithmic: bool = False

    @property
    def grid(self) -> np.ndarray:
        """2,001 points that hold all but 2e-6 of the mass."""
        low, high = self.oracle.ppf([1e-6, 1 - 1e-6])
        if self.logarithmic:
            return np.geomspace(low, high, 2001)
        return np.linspace(low, high, 2001)


def _log_uniform(low, high):
    return stats.loguniform(low, high)


SCALAR = [
    Case("uniform", Uniform(-1.5, 2.0), stats.uniform(-1.5, 3.5)),
    Case("uniform, 1e-12", Uniform(1e-12, 3e-12), stats.uniform(1e-12, 2e-12)),
    Case("uniform, 1e12", Uniform(-1e12, 1e12), stats.uniform(-1e12, 2e12)),
    Case("log-uniform", LogUniform(0.1, 10), _log_uniform(0.1, 10), True),
    Case("log-uniform, 24 decades", LogUniform(1e-12, 1e12), _log_uniform(1e-12, 1e12), True),
    Case("log-uniform, 1e-12", LogUniform(1e-12, 2e-12), _log_uniform(1e-12, 2e-12), True),
    Case("normal", Normal(-65.0, 5.0), stats.norm(-65, 5)),
    Case("normal, 1e12", Normal(1e12, 1e11), stats.norm(1e12, 1e11)),
    Case("log-normal", LogNormal(0.3, 0.5), stats.lognorm(0.5, scale=np.exp(0.3)), True),
    Case("log-normal, 1e-12", LogNormal(-27.6, 2.0), stats.lognorm(2, scale=np.exp(-27.6)), True),
    Case("beta", Beta(2.0, 3.5), stats.beta(2, 3.5)),
    Case("beta, stretched", Beta(1.5, 4.0, -80, 20), stats.beta(1.5, 4, -80, 100)),
    Case("beta, 1e12", Beta(3.0, 2.0, -1e12, 1e12), stats.beta(3, 2, -1e12, 2e12)),
    Case("gamma", Gamma(2.5, 0.4), stats.gamma(2.5, scale=0.4), True),
    Case("gamma, below 1", Gamma(0.7, 2.0), stats.gamma(0.7, scale=2), True),
    Case("gamma, 1e-12", Gamma(3.0, 1e-12), stats.gamma(3, scale=1e-12), True),
]

MEAN = np.array([1.0, -2.0])
COVARIANCE = np.array([[2.0, 0.9], [0.9, 0.5]])
CLOUD = np.random.default_rng(7).multivariate_normal([100.0, -40.0], [[9, 4], [4, 16]], 300)
BOXED = np.random.default_rng(8).beta(2, 3, (300, 2)) * [2.0, 10.0]


def ramp_sample(key):
    """Density 2 u on the unit square: u is the root of a uniform number, v uniform."""
    u, v = jax.random.uniform(key, (2,), minval=1e-6)
    return jnp.stack([jnp.sqrt(u), v])


def ramp_log_prob(theta):
    return jnp.log(2 * jnp.maximum(theta[0], 1e-30))


def _ramp(points):
    return np.log(2 * points[:, 0])


JOINT = {
    "correlated normal": (
        CorrelatedNormal(("a1", "a2"), MEAN, COVARIANCE),
        stats.multivariate_normal(MEAN, COVARIANCE).logpdf,
    ),
    "from samples": (
        FromSamples(("b1", "b2"), CLOUD),
        lambda points: stats.gaussian_kde(CLOUD.T).logpdf(points.T),
    ),
    "from samples in a box": (FromSamples(("c1", "c2"), BOXED, low=0, high=[2, 10]), None),
    "from samples above 0": (FromSamples(("d1", "d2"), BOXED, low=0), None),
    "from samples below": (FromSamples(("e1", "e2"), BOXED, high=[2, 10]), None),
    "custom": (Custom(("f1", "f2"), ramp_sample, ramp_log_prob, low=0, high=1), _ramp),
}


def as_arrays(law):
    """The law with arrays for parameters, so that laws of one kind share their compilation."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), law)


@eqx.filter_jit
def log_prob(law, theta):
    """Log density of points, shape (n,)."""
    return jax.vmap(law.log_prob)(theta)


@eqx.filter_jit
def bijection(law, z):
    """theta, z again, log |d theta / d z| as the law says it and the Jacobian by autodiff."""
    joint = isinstance(law, JointLaw)

    def one(z):
        theta, log_det = law.constrain(z) if joint else (law.constrain(z), law.log_det(z))
        jacobian = jax.jacfwd(lambda z: law.constrain(z)[0] if joint else law.constrain(z))(z)
        return theta, law.unconstrain(theta), log_det, jacobian

    return jax.vmap(one)(z)


@eqx.filter_jit
def gradients(law, theta):
    """Gradients of the log density and, of a law of one parameter, of the bijection at theta."""
    functions = [law.log_prob]
    functions += [] if isinstance(law, JointLaw) else [law.unconstrain]
    return [jax.vmap(jax.grad(f))(theta) for f in functions]


@eqx.filter_jit
def to_line(law, theta):
    """Unbounded points of parameters, shape (n, k)."""
    return jax.vmap(law.unconstrain)(theta)


@eqx.filter_jit
def line_log_prob(law, z):
    """Log density of a joint law in unbounded space, shape (n,)."""

    def one(z):
        theta, log_det = law.constrain(z)
        return law.log_prob(theta) + log_det

    return jax.vmap(one)(z)
