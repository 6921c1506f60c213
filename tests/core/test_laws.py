"""Laws of one parameter against SciPy, quadrature and automatic differentiation."""

import jax.numpy as jnp
import numpy as np
import pytest
from law_table import SCALAR, as_arrays, bijection, gradients, log_prob
from scipy import stats

from lanternfish.core import Beta, Gamma, LogNormal, LogUniform, Normal, Uniform

FLOAT32 = 2.0**-23
LOG_PROB = 400 * FLOAT32  # log densities of size up to 60, a few roundings each
INTEGRAL = 1e-4  # trapezia on 2,001 points, 2e-6 of mass left out
ROUNDING = 1e-7  # quantiles and back in float64, near 1 in steps of 1e-16 over 1e-6
DRAWS = 4_000
FALSE_ALARM = 1e-7
KOLMOGOROV = np.sqrt(np.log(2 / FALSE_ALARM) / (2 * DRAWS))  # Dvoretzky-Kiefer-Wolfowitz bound


laws = pytest.mark.parametrize("case", SCALAR, ids=lambda case: case.name)
SCORED = [case for case in SCALAR if not isinstance(case.law, Beta | Gamma)]


def column(case):
    return f"p{SCALAR.index(case)}"


@laws
def test_log_prob_is_scipys(case):
    got = log_prob(as_arrays(case.law), jnp.asarray(case.grid, jnp.float32))
    inner = slice(20, -20)  # the outermost points lie within float32 rounding of a bound
    expected = case.oracle.logpdf(case.grid)
    np.testing.assert_allclose(got[inner], expected[inner], rtol=LOG_PROB, atol=LOG_PROB)


@laws
def test_density_integrates_to_one(case):
    grid = case.grid
    density = np.exp(np.asarray(log_prob(as_arrays(case.law), jnp.asarray(grid, jnp.float32))))
    if case.logarithmic:
        density, grid = density * grid, np.log(grid)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=INTEGRAL)


@laws
def test_density_is_zero_outside(case):
    span = case.grid[-1] - case.grid[0]
    low, high = float(case.law.low), float(case.law.high)
    outside = np.concatenate([low - span * case.grid[:1000] / case.grid[0], [high + span]])
    outside = outside[np.isfinite(outside) & ((outside < low) | (outside > high))]
    if len(outside):
        padded = jnp.asarray(np.resize(outside, 2001), jnp.float32)
        assert np.all(np.isneginf(log_prob(as_arrays(case.law), padded)))


@laws
def test_samples_follow_the_law(case, draws):
    assert stats.kstest(draws[column(case)], case.oracle.cdf).statistic < KOLMOGOROV


@laws
def test_quantiles_are_scipys(case):
    places = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6])
    values = case.oracle.ppf(places)
    np.testing.assert_allclose(case.law.quantile(places), values, rtol=ROUNDING)
    np.testing.assert_allclose(case.law.share_below(values), places, rtol=ROUNDING)


@laws
def test_samples_lie_inside(case, draws):
    values = draws[column(case)]
    assert np.all((values >= float(case.law.low)) & (values <= float(case.law.high)))
    assert np.all(np.isfinite(values))


@laws
def test_bijection_round_trip_and_log_det(case):
    z = np.linspace(-4, 4, 81)
    theta, back, log_det, slope = bijection(as_arrays(case.law), jnp.asarray(z, jnp.float32))
    assert np.all(np.diff(theta) > 0)
    size = np.abs(np.asarray(theta, float))  # rounding of theta: relative in a logarithm's law
    size = size * (1 + np.abs(np.log(size))) if case.logarithmic else size.max()
    tolerance = 8 * FLOAT32 * (1 + size / np.asarray(slope, float))
    assert np.all(np.abs(back - z) < tolerance)
    np.testing.assert_allclose(log_det, np.log(slope), rtol=LOG_PROB, atol=LOG_PROB)


@pytest.mark.parametrize("case", SCORED, ids=lambda case: case.name)
def test_scores_are_standard_normal(case, draws):
    z = np.asarray(case.law.unconstrain(jnp.asarray(draws[column(case)], jnp.float32)))
    assert stats.kstest(z, stats.norm.cdf).statistic < KOLMOGOROV


@laws
def test_everything_is_finite_at_and_near_the_bounds(case):
    low, high = float(case.law.low), float(case.law.high)
    width = case.grid[-1] - case.grid[0]
    points = [case.grid[0], case.grid[-1]]
    for step in (0.0, 1e-7, 1e-3):
        points += [low + width * step, high - width * step]
    points = np.where(np.isfinite(points), points, case.grid[0])
    points = np.clip(points, low, high).astype(np.float32)
    for gradient in gradients(as_arrays(case.law), jnp.asarray(points)):
        assert np.all(np.isfinite(gradient))
    z = jnp.linspace(-12, 12, 81)
    assert all(np.all(np.isfinite(part)) for part in bijection(as_arrays(case.law), z))


WRONG = {
    "reversed": lambda: Uniform(2, 1),
    "empty": lambda: Uniform(1, 1),
    "infinite": lambda: Uniform(0, float("inf")),
    "NaN": lambda: Uniform(float("nan"), 1),
    "text": lambda: Uniform("0", 1),
    "zero below a logarithm": lambda: LogUniform(0, 1),
    "negative sd": lambda: Normal(0, -1),
    "NaN mean": lambda: Normal(float("nan"), 1),
    "zero sigma": lambda: LogNormal(0, 0),
    "overflowing log-normal": lambda: LogNormal(0, 40),
    "zero a": lambda: Beta(0, 1),
    "reversed beta": lambda: Beta(1, 1, 1, 0),
    "negative shape": lambda: Gamma(-1),
    "finer than float32": lambda: Uniform(1e12, 1e12 + 1),
    "finer than float32, normal": lambda: Normal(1e6, 1e-3),
    "smaller than float32": lambda: LogUniform(1e-40, 1),
    "larger than float32": lambda: Uniform(0, 1e39),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_numbers_are_named(name):
    with pytest.raises(ValueError, match=r"^Expected .+; got .+\.$"):
        WRONG[name]()
