"""Laws of several parameters against SciPy, quadrature and automatic differentiation."""

import jax.numpy as jnp
import numpy as np
import pytest
from law_table import (
    CLOUD,
    COVARIANCE,
    JOINT,
    MEAN,
    bijection,
    gradients,
    line_log_prob,
    log_prob,
    to_line,
)
from scipy import stats

from lanternfish.core import Column, CorrelatedNormal, Custom, FromSamples, Prior, Table

FLOAT32 = 2.0**-23
LOG_PROB = 2_000 * FLOAT32  # triangular solve and sums over 300 kernels
SIDE = 121  # points of the quadrature along each axis
INTEGRAL = 1e-3  # trapezia two or more to a kernel's width; the ramp's bound in float32
DRAWS = 4_000
FALSE_ALARM = 1e-7
KOLMOGOROV = np.sqrt(np.log(2 / FALSE_ALARM) / (2 * DRAWS))


joint = pytest.mark.parametrize("name", JOINT)


def of(law, draws):
    """The law's own columns of the draws, shape (DRAWS, 2)."""
    return draws[[c.name for c in law.columns]].array


@pytest.mark.parametrize("name", [n for n, (_, oracle) in JOINT.items() if oracle])
def test_log_prob_is_scipys(name, draws):
    law, oracle = JOINT[name]
    points = of(law, draws)[:300]
    got = log_prob(law, jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(got, oracle(points), rtol=LOG_PROB, atol=LOG_PROB)


@joint
def test_density_integrates_to_one(name, draws):
    """Over unbounded space, where the density has neither kinks nor bounds."""
    law = JOINT[name][0]
    z = np.asarray(to_line(law, jnp.asarray(of(law, draws), jnp.float32)), float)
    span = z.max(axis=0) - z.min(axis=0)
    a, b = np.linspace(z.min(axis=0) - span, z.max(axis=0) + span, SIDE).T
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(np.asarray(line_log_prob(law, jnp.asarray(grid, jnp.float32)), float))
    total = np.trapezoid(np.trapezoid(density.reshape(SIDE, SIDE), b, axis=1), a)
    assert total == pytest.approx(1, abs=INTEGRAL)


@joint
def test_bijection_round_trip_and_log_det(name):
    law = JOINT[name][0]
    centre = law.points.mean(axis=0) if isinstance(law, FromSamples) else np.zeros(2)
    z = centre + np.random.default_rng(5).normal(size=(20, 2))
    theta, back, log_det, jacobian = bijection(law, jnp.asarray(z, jnp.float32))
    size = np.max(np.abs(np.asarray(theta, float)), axis=0)
    slope = np.abs(np.diagonal(np.asarray(jacobian, float), axis1=1, axis2=2))
    assert np.all(np.abs(back - z) < 16 * FLOAT32 * (1 + np.abs(z) + size / slope))
    expected = np.linalg.slogdet(np.asarray(jacobian, float))[1]
    np.testing.assert_allclose(log_det, expected, rtol=LOG_PROB, atol=LOG_PROB)


@joint
def test_gradients_are_finite_at_the_bounds(name, draws):
    law = JOINT[name][0]
    inside = of(law, draws)
    points = [inside[0], inside.min(axis=0), inside.max(axis=0)]
    points += [np.where(np.isfinite(end), end, inside[0]) for end in (law.low, law.high)]
    assert np.all(np.isfinite(gradients(law, jnp.asarray(np.stack(points), jnp.float32))[0]))


def test_gradient_of_unbounded_samples_far_from_zero():
    far = FromSamples(("c1", "c2"), CLOUD + 500)
    assert np.all(np.isfinite(gradients(far, jnp.full((5, 2), 500.0))[0]))


def test_correlated_normal_is_whitened(draws):
    law = JOINT["correlated normal"][0]
    z = np.linalg.solve(np.linalg.cholesky(COVARIANCE), (of(law, draws) - MEAN).T)
    for part in (z[0], z[1], (z[0] + z[1]) / np.sqrt(2)):
        assert stats.kstest(part, stats.norm.cdf).statistic < KOLMOGOROV


def test_samples_follow_the_kernels(draws):
    values = of(JOINT["from samples"][0], draws)
    for i in range(2):
        width = np.sqrt(np.cov(CLOUD.T)[i, i]) * len(CLOUD) ** (-1 / 6)
        cdf = stats.norm.cdf((values[:, i][:, None] - CLOUD[:, i]) / width).mean(axis=1)
        order = np.sort(cdf)
        assert stats.kstest(order, stats.uniform.cdf).statistic < KOLMOGOROV


def test_from_samples_takes_a_table():
    columns = [Column("a", "mV"), Column("b")]
    law = FromSamples(columns, Table(CLOUD, columns))
    assert Prior(law).columns[0].unit == "mV"


def test_tiny_covariance_is_resolved():
    tiny = CorrelatedNormal(("a1", "a2"), [0, 0], 1e-24 * COVARIANCE)
    z = np.random.default_rng(6).normal(size=(20, 2))
    theta, back, log_det, _ = bijection(tiny, jnp.asarray(z, jnp.float32))
    np.testing.assert_allclose(theta / 1e-12, z @ np.linalg.cholesky(COVARIANCE).T, atol=1e-5)
    np.testing.assert_allclose(back, z, atol=1e-5)
    assert log_det[0] == pytest.approx(0.5 * np.linalg.slogdet(1e-24 * COVARIANCE)[1], rel=1e-6)


def _constant():
    return np.column_stack([CLOUD[:, 0], np.ones(len(CLOUD))])


WRONG = {
    "mean of wrong shape": lambda: CorrelatedNormal(("a", "b"), [0.0], COVARIANCE),
    "NaN mean": lambda: CorrelatedNormal(("a", "b"), [0, np.nan], COVARIANCE),
    "asymmetric": lambda: CorrelatedNormal(("a", "b"), MEAN, [[1, 0.5], [0, 1]]),
    "asymmetric, small": lambda: CorrelatedNormal(("a", "b"), MEAN, [[1e-9, 5e-10], [0, 1e-9]]),
    "indefinite": lambda: CorrelatedNormal(("a", "b"), MEAN, [[1, 2], [2, 1]]),
    "one name": lambda: CorrelatedNormal("ab", MEAN, COVARIANCE),
    "name twice": lambda: CorrelatedNormal(("a", "a"), MEAN, COVARIANCE),
    "samples of wrong shape": lambda: FromSamples(("a", "b"), CLOUD[:, :1]),
    "too few samples": lambda: FromSamples(("a", "b"), CLOUD[:3]),
    "NaN sample": lambda: FromSamples(("a", "b"), np.where(CLOUD > 100, np.nan, CLOUD)),
    "sample out of bounds": lambda: FromSamples(("a", "b"), CLOUD, low=0),
    "constant sample": lambda: FromSamples(("a", "b"), _constant()),
    "reversed bounds": lambda: FromSamples(("a", "b"), CLOUD, low=1, high=0),
    "draw of wrong shape": lambda: Custom(("a", "b"), lambda key: jnp.zeros(3)),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    with pytest.raises(ValueError, match=r"^Expected .+; got .+\.$"):
        WRONG[name]()
