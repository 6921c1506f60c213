"""The Hodgkin-Huxley neuron against published values, float64 equations and itself."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lanternfish.core import Observation
from lanternfish.models import hodgkin_huxley_jax
from lanternfish.models.current_clamp import STATISTICS, Stimulus, measure, step_current
from lanternfish.models.hodgkin_huxley import (
    PARAMETERS,
    STEP,
    TARGETS,
    THETA,
    hodgkin_huxley,
    prior,
    simulate,
    simulate_jax,
    standard_normals,
    voltage,
)
from lanternfish.models.hodgkin_huxley_equations import linoid, phi, rates

NOISE_FREE = np.array([5, -70.2772, 0.0083, -56.4534, 375.1854, 3.7038, 18.3247])  # published
DIGITS = 6e-5  # half of the last of the four published decimals, and float32's share
NOISY_MEAN = np.array([5, -70.282, 0.036, -56.452, 375.158, 3.704, 18.326])  # 100 noise seeds
NOISY_SD = np.array([0, 0.12, 0.013, 0.043, 0.482, 0.004, 0.021])
PRIOR_SD = np.array([7.65, 13.80, 6.86, 15.41, 354.7, 4.13, 19.20])  # 1000 prior draws
SILENT = 0.474  # share of them without a spike
BEFORE_SPIKES = 1e-3  # mV below -45 mV, where float32's 4e-6 mV grow towards a first spike
# Float32 shifts a spike by about 1e-5 ms; it moves at 500 mV/ms, so that the moments of 100 ms
# agree to about 1e-5 of their scale (20 mV, its powers, and 1), and to more in single draws.
FLOAT32 = np.array([0, 2e-4, 1e-3, 2e-4, 4e-3, 4e-4, 4e-3])
STANDARD_ERRORS = 4.5  # for comparisons of random samples: false alarms below 1e-5 each
SHORT = step_current(3.0, duration=30.0, t_on=5.0, t_off=25.0, dt=0.01, v_0=-70.0)


@pytest.fixture
def rng():
    return np.random.default_rng(20260)


@pytest.fixture
def draws(rng):
    """48 parameter sets of the prior, the published one first, and their seeds."""
    theta = rng.uniform(prior.low, prior.high, (48, 8))
    theta[0] = THETA
    return theta, rng.integers(0, 2**63, 48, dtype=np.uint64)


def oracle(theta, stimulus, normals):
    """Voltages (n, samples) straight from the equations, float64 throughout."""
    g_na, g_k, g_l, g_m, tau_max, minus_v_t, sigma, minus_e_l = np.asarray(theta).T
    v = np.full(len(theta), stimulus.v_0)

    def ratio(x):
        small = np.abs(x) < 1e-4
        return np.where(small, 1 - x / 2, x / np.expm1(np.where(small, 1.0, x)))

    def gates(v):
        u = v + minus_v_t
        a_m, b_m = 0.32 * 4 * ratio(-(u - 13) / 4), 0.28 * 5 * ratio((u - 40) / 5)
        a_h, b_h = 0.128 * np.exp(-(u - 17) / 18), 4 / (1 + np.exp(-(u - 40) / 5))
        a_n, b_n = 0.032 * 5 * ratio(-(u - 15) / 5), 0.5 * np.exp(-(u - 10) / 40)
        tau_p = tau_max / (3.3 * np.exp((v + 35) / 20) + np.exp(-(v + 35) / 20))
        p_inf = 1 / (1 + np.exp(-(v + 35) / 10))
        target = np.stack([a_m / (a_m + b_m), a_h / (a_h + b_h), a_n / (a_n + b_n), p_inf])
        return target, np.stack([1 / (a_m + b_m), 1 / (a_h + b_h), 1 / (a_n + b_n), tau_p])

    gate, _ = gates(v)
    trace = np.empty((len(stimulus.current), len(theta)))
    for i, current in enumerate(stimulus.current):
        trace[i] = v
        m, h, n, p = gate
        g = np.stack([g_na * m**3 * h, g_k * n**4 + g_m * p, g_l])
        drive = current + sigma * normals[:, i] / np.sqrt(stimulus.dt)
        v_inf = (g[0] * 53 - g[1] * 107 - g[2] * minus_e_l + drive) / g.sum(0)
        v = v_inf + (v - v_inf) * np.exp(-stimulus.dt * g.sum(0))
        target, tau = gates(v)
        gate = target + (gate - target) * np.exp(-stimulus.dt / tau)
    return trace.T


def described(v, stimulus):
    """The seven statistics of one trace, by SciPy and float64."""
    i = np.arange(len(v))
    on, off = round(stimulus.t_on / stimulus.dt), round(stimulus.t_off / stimulus.dt)
    inside = v[(i > on) & (i < off)]
    peaks = [k for k in range(on + 1, off) if v[k] > -10 and v[k - 1] <= v[k] > v[k + 1]]
    intervals = np.diff(peaks, prepend=-np.inf) * stimulus.dt
    sd = inside.std()
    return [
        np.sum(intervals > 0.5 - 1e-9),
        v[i < on].mean(),
        v[(i >= 0.9 * on - 1e-9) & (i < on)].std(),
        inside.mean(),
        *(stats.moment(inside, k) / sd**power for k, power in ((2, 0), (3, 3), (4, 4))),
    ]


def without_noise(theta, **options):
    theta = np.atleast_2d(theta)
    return simulate(theta, np.zeros(len(theta), np.uint64), noise=False, **options)


def test_noise_free_statistics_are_the_published_ones():
    np.testing.assert_allclose(without_noise(THETA)[0], NOISE_FREE, atol=DIGITS)


def test_noisy_statistics_scatter_as_published():
    x = simulate(np.tile(THETA, (400, 1)), np.arange(400, dtype=np.uint64))
    error = NOISY_SD * np.sqrt(1 / 100 + 1 / 400)
    assert np.all(np.abs(x.mean(0) - NOISY_MEAN) <= STANDARD_ERRORS * error + 1e-3)
    # the standard deviation of an sd is sd / sqrt(2 n)
    error = NOISY_SD * np.sqrt(1 / 200 + 1 / 800)
    assert np.all(np.abs(x.std(0) - NOISY_SD) <= STANDARD_ERRORS * error + 1e-3)
    target = TARGETS["synthetic"].array_for(STATISTICS)
    assert np.all(np.abs(target - x.mean(0)) <= STANDARD_ERRORS * x.std(0))


def test_prior_predictive_is_the_published_one(rng):
    n = 4000
    x = simulate(rng.uniform(prior.low, prior.high, (n, 8)), np.arange(n, dtype=np.uint64))
    assert np.all(np.isfinite(x))
    error = np.sqrt(SILENT * (1 - SILENT) * (1 / 1000 + 1 / n))
    assert abs(np.mean(x[:, 0] == 0) - SILENT) < STANDARD_ERRORS * error
    sd = x.std(0)
    error = sd * np.sqrt((stats.kurtosis(x, fisher=False) - 1) / 4 * (1 / 1000 + 1 / n))
    assert np.all(np.abs(sd - PRIOR_SD) < STANDARD_ERRORS * error)


@pytest.mark.parametrize("noise", [False, True])
def test_kernel_follows_the_equations(draws, noise):
    theta, seeds = draws
    normals = standard_normals(seeds, len(STEP.current)) * noise
    reference = oracle(theta, STEP, normals)
    time, v = voltage(theta, seeds, noise=noise)
    np.testing.assert_allclose(time, 0.01 * np.arange(12_001))
    quiet = np.cumsum(reference > -45, axis=1) == 0
    assert quiet.mean() > 0.3
    assert np.max(np.abs(v - reference)[quiet]) < BEFORE_SPIKES
    expected = np.array([described(row, STEP) for row in reference])
    x = simulate(theta, seeds, noise=noise)
    excess = np.abs(x - expected) - FLOAT32
    assert np.all(excess <= 0), excess.max(0)


def test_jax_follows_the_kernel(draws):
    theta, seeds = draws
    normals = standard_normals(seeds, len(STEP.current))
    x = simulate(theta, seeds)
    y = jax.vmap(simulate_jax)(jnp.asarray(theta, jnp.float32), normals)
    excess = np.abs(x - y) - FLOAT32
    assert np.all(excess <= 0), excess.max(0)


def test_statistics_of_a_trace_are_scipys(draws):
    theta, seeds = draws
    _, v = voltage(theta, seeds)
    expected = np.array([described(row.astype(float), STEP) for row in v])
    np.testing.assert_allclose(measure(v, STEP), expected, rtol=2e-5, atol=1e-7)
    np.testing.assert_array_equal(measure(v, STEP), simulate(theta, seeds))
    jax_measured = jax.vmap(measure_in_jax)(v)
    np.testing.assert_allclose(jax_measured, expected, rtol=2e-4, atol=1e-5)


@jax.jit
def measure_in_jax(row):
    return hodgkin_huxley_jax.measure(row, STEP.protocol())


@pytest.mark.parametrize("offset", [49, 50, 51])
def test_maxima_closer_than_half_a_millisecond_are_one_spike(offset):
    v = np.full(len(STEP.current), -70.0)
    for place in (2000, 2000 + offset, 11_010):  # the last one comes after the stimulus
        v[place] = 20.0
    assert measure(v, STEP)[0, 0] == (2 if offset >= 50 else 1)
    assert measure_in_jax(jnp.asarray(v, jnp.float32))[0] == (2 if offset >= 50 else 1)


def test_fewer_statistics_are_the_first_ones(draws):
    theta, seeds = draws
    x = simulate(theta, seeds)
    for k in (1, 4):
        np.testing.assert_array_equal(simulate(theta, seeds, statistics=k), x[:, :k])


def test_a_simulation_is_its_theta_and_seed_alone(draws, rng):
    theta, seeds = draws
    x = simulate(theta, seeds, stimulus=SHORT)
    order = rng.permutation(len(theta))
    np.testing.assert_array_equal(simulate(theta[order], seeds[order], stimulus=SHORT), x[order])
    for size in (1, 5, 17):
        cuts = range(0, len(theta), size)
        with ThreadPoolExecutor(3) as pool:
            parts = pool.map(
                lambda i, n=size: simulate(theta[i : i + n], seeds[i : i + n], stimulus=SHORT),
                cuts,
            )
        np.testing.assert_array_equal(np.concatenate(list(parts)), x)
    again = simulate(theta, seeds + np.uint64(1), stimulus=SHORT)
    assert np.all(again[:, 1] != x[:, 1])


def test_a_simulation_that_fails_costs_itself_only(draws):
    theta, seeds = draws
    x = simulate(theta, seeds, stimulus=SHORT)
    theta[7, 0] = np.nan
    y = simulate(theta, seeds, stimulus=SHORT)
    assert np.all(np.isnan(y[7]))
    np.testing.assert_array_equal(np.delete(y, 7, axis=0), np.delete(x, 7, axis=0))


def test_noise_does_not_depend_on_the_step():
    seeds = np.arange(300, dtype=np.uint64)
    spread = []
    for dt in (0.01, 0.02):
        stimulus = step_current(0.0, duration=24.0, t_on=20.0, t_off=22.0, dt=dt, v_0=-70.0)
        spread.append(simulate(np.tile(THETA, (300, 1)), seeds, stimulus=stimulus)[:, 1].std())
    assert abs(spread[0] / spread[1] - 1) < STANDARD_ERRORS * np.sqrt(1 / 600 + 1 / 600)


def test_no_input_and_no_noise_stay_at_rest():
    stimulus = step_current(0.0, duration=400.0, t_on=350.0, t_off=390.0, dt=0.02, v_0=-70.0)
    x = without_noise(THETA, stimulus=stimulus, statistics=4)[0]
    assert x[0] == 0
    assert x[2] < 1e-3


# The equations at their difficult points


def exact(x):
    return np.where(x == 0, 1.0, x / np.expm1(np.where(x == 0, 1.0, x)))


def where_less(a, b, yes, no):
    return np.where(a < b, yes, no)


def test_linoid_and_phi_keep_their_digits():
    x = np.concatenate([np.linspace(-20, 20, 4001), [-1e-5, 0.0, 1e-7, 0.3, -0.3]])
    values = [
        linoid(x.astype(t), np.exp(x.astype(t)), t(1), where_less) for t in (float, np.float32)
    ]
    np.testing.assert_allclose(values[0], exact(x), rtol=1e-9)
    np.testing.assert_allclose(values[1], exact(x), rtol=1e-5)
    x = np.geomspace(1e-7, 2.0, 400)
    share = -np.expm1(-x) / x
    np.testing.assert_allclose(phi(x), share, rtol=4e-6)
    np.testing.assert_allclose(phi(x[x < 1]), share[x < 1], rtol=3e-8)
    np.testing.assert_allclose(phi(x[x < 1].astype(np.float32)), share[x < 1], rtol=3e-7)
    x = np.geomspace(1e-3, 1e6, 400)
    assert np.all((x * phi(x) > 0) & (x * phi(x) <= 1))


@pytest.mark.parametrize("u", [13.0, 15.0, 40.0])
def test_rates_are_smooth_where_their_denominators_vanish(u):
    def opening(v):
        pick = lambda a, b, yes, no: jnp.where(a < b, yes, no)  # noqa: E731
        return jnp.stack(rates(v, -60.0, 600.0, jnp.exp, pick)[0])

    with jax.enable_x64(True):
        v = u - 60.0
        slope = jax.jacfwd(opening)(v)
        np.testing.assert_allclose(opening(v + 1e-4) - opening(v - 1e-4), 2e-4 * slope, rtol=1e-6)


def test_gradients_are_those_of_finite_differences():
    normals = standard_normals(np.array([3], np.uint64), len(SHORT.current))[0].astype(float)
    smooth = slice(1, 7)  # the spike count has no derivative

    with jax.enable_x64(True):
        theta = jnp.asarray(THETA)
        h = 1e-5 * theta

        def function(theta):
            return simulate_jax(theta, normals, stimulus=SHORT)[smooth]

        slope = jax.jit(jax.jacrev(function))(theta)
        moved = jnp.concatenate([theta + jnp.diag(h), theta - jnp.diag(h)])
        up, down = jnp.split(jax.jit(jax.vmap(function))(moved), 2)
        # the third derivative at a spike's steep flank leaves about four digits
        np.testing.assert_allclose(slope, ((up - down) / (2 * h[:, None])).T, rtol=1e-3, atol=1e-6)


# The model


def test_model_has_names_units_targets_and_traces():
    model = hodgkin_huxley()
    assert [c.name for c in model.parameters] == [c.name for c in PARAMETERS]
    assert [c.name for c in model.statistics] == [c.name for c in STATISTICS]
    assert all(c.label for c in (*model.parameters, *model.statistics))
    assert isinstance(model.targets["synthetic"], Observation)
    seeds = np.arange(3, dtype=np.uint64)
    theta = np.tile(THETA, (3, 1))
    np.testing.assert_array_equal(model.simulator.function(theta, seeds), simulate(theta, seeds))
    traces = model.traces(theta, seeds)
    assert traces.values.shape == (3, 1, len(traces.time))


@pytest.mark.parametrize("statistics", [1, 4])
def test_model_of_fewer_statistics(statistics):
    model = hodgkin_huxley(statistics=statistics)
    assert len(model.statistics) == len(model.targets["synthetic"]) == statistics


def test_model_in_jax_runs_and_is_told_apart():
    compiled, other = hodgkin_huxley(), hodgkin_huxley(integrator="jax")
    assert compiled.simulator.fingerprint != other.simulator.fingerprint
    theta = dict(zip(prior.names, THETA, strict=True))
    x = jax.jit(other.simulator.function)(theta, jax.random.key(0))
    assert np.all(np.abs(x - NOISY_MEAN) <= 6 * NOISY_SD + 1e-2)


ONE = np.zeros((1, 8)), np.zeros(1, np.uint64)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: simulate(np.zeros(8), ONE[1]), r"Expected theta of shape \(n, 8\); got \(8,\)"),
        (lambda: simulate(np.zeros((2, 7)), ONE[1]), r"got \(2, 7\)"),
        (lambda: simulate(ONE[0], np.zeros(2, np.uint64)), r"Expected seeds of shape \(1,\)"),
        (lambda: simulate(ONE[0], np.zeros(1)), "whole numbers of 0 or more; got float64"),
        (lambda: simulate(ONE[0], np.array([-1])), "whole numbers of 0 or more"),
        (lambda: simulate(*ONE, statistics=5), "Expected statistics to be 7, 4 or 1; got 5"),
        (lambda: simulate_jax(ONE[0][0], statistics=2), "7, 4 or 1; got 2"),
        (lambda: measure(np.zeros(5), STEP), r"Expected voltages of shape \(n, 12001\)"),
        (lambda: hodgkin_huxley(integrator="c"), '"compiled" or "jax"; got \'c\''),
        (lambda: hodgkin_huxley(area=1e-4), "beside the path of a recording, .*; got area"),
        (lambda: hodgkin_huxley("a.nwb", areas=1), "Expected sweep, area, .*; got areas"),
        (lambda: Stimulus(np.zeros((2, 2)), 0.01, -70, 1, 2), "Expected a finite current"),
        (lambda: Stimulus(np.full(900, np.nan), 0.01, -70, 1, 2), "900 values not finite"),
        (lambda: Stimulus(np.zeros(900), 0.1, -70, 1, 2), "dt of at most 0.05 ms; got 0.1"),
        (lambda: Stimulus(np.zeros(900), 0.01, np.nan, 1, 2), "Expected a finite v_0"),
        (lambda: Stimulus(np.zeros(900), 0.01, -70, 0, 2), "got t_on = 0 and t_off = 2"),
        (lambda: Stimulus(np.zeros(900), 0.01, -70, 3, 2), "got t_on = 3 and t_off = 2"),
        (lambda: Stimulus(np.zeros(900), 0.01, -70, 1, 9), "t_off <= 8.99 ms"),
    ],
)
def test_bad_input_gives_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
