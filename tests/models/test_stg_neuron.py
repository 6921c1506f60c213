"""Single neurons of the stomatogastric ganglion: equations, sweeps and classes of firing."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lanternfish as lf
from lanternfish.landscape import firing as by_landscape
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg.networks import NETWORKS, network_parameters
from lanternfish.models.stg_neuron import compiled, liu, simulate, stg_neuron, whole
from lanternfish.models.stg_neuron.firing import FIRING, statistics

BURSTER = np.array(
    [[400.0, 0.0, 8.0, 50.0, 20.0, 50.0, 0.04, 0.0]]
)  # Prinz et al. (2003), figure 3
STEP_TOLERANCE = 0.02  # mV: dt = 0.0025 ms against 1e-9 relative, below threshold
FIRST_ORDER = 0.6  # an exponential Euler step half as long halves the error, roughly


def derivative(t, y, g, taus, steady, hyper):
    """Right-hand side of the equations as the paper writes them; all constants are written anew."""
    V, Ca, m, h = y[0], y[1], y[2:9], y[9:13]
    E = np.array([50, 0, 0, -80, -80, -80, -20, -50.0])
    E[1] = E[2] = 8.31451e3 * 283 / (2 * 96485.3415) * np.log(3000 / Ca)
    c = g * 0.628e-3 * np.append(m ** np.array([3, 3, 3, 3, 4, 4, 1]), 1.0)
    c[:4] *= h
    I_Ca = (c[1] + c[2]) * (V - E[1])
    m_inf, h_inf = steady(V, Ca, hyper)
    tau_m, tau_h = taus(V, hyper)
    dV = -np.sum(c * (V - E)) / 0.6283e-3
    dCa = (0.05 - 14961 * I_Ca - Ca) / 200
    return np.concatenate([[dV, dCa], (m_inf - m) / tau_m, (h_inf - h) / tau_h])


def b(V, half, slope):
    return 1 / (1 + np.exp((V + half) / slope))


def steady(V, Ca, hyper):
    m = [b(V, 25.5, -5.29), b(V, 27.1, -7.2), b(V, 33, -8.1), b(V, 27.2, -8.7)]
    m += [Ca / (Ca + 3) * b(V, 28.3, -12.6), b(V, 12.3, -11.8)]
    m += [b(V, 70, 6) if hyper == "liu" else b(V, 75, 5.5)]
    h = [b(V, 48.9, 5.18), b(V, 32.1, 5.5), b(V, 60, 6.2), b(V, 56.9, 4.9)]
    return np.array(m), np.array(h)


def taus(V, hyper):
    e = np.exp
    m = [2.64 - 2.52 * b(V, 120, -25), 43.4 - 42.6 * b(V, 68.1, -20.5)]
    m += [2.8 + 14 / (e((V + 27) / 10) + e((V + 70) / -13)), 23.2 - 20.8 * b(V, 32.9, -15.2)]
    m += [180.6 - 150.2 * b(V, 46, -22.7), 14.4 - 12.8 * b(V, 28.3, -19.2)]
    h = [1.34 * b(V, 62.9, -10) * (1.5 + b(V, 34.9, 3.6)), 210 - 179.6 * b(V, 55, -16.9)]
    h += [120 + 300 / (e((V + 55) / 9) + e((V + 65) / -16)), 77.2 - 58.4 * b(V, 38.9, -26.5)]
    m, h = np.array(m), np.array(h)
    if hyper == "liu":
        return np.append(m / 2, 272 + 1499 * b(V, 42.2, -8.73)), h / 2
    return np.append(m, 2 / (e(-14.59 - 0.086 * V) + e(-1.87 + 0.0701 * V))), h


def solved(g, times, hyper):
    start = np.concatenate([[-50.0, 0.05], np.zeros(11)])
    found = solve_ivp(
        derivative, (0, times[-1]), start, "LSODA", times, rtol=1e-9, atol=1e-10,
        args=(g, taus, steady, hyper),
    )  # fmt: skip
    return found.y[0]


@pytest.mark.parametrize(("hyper", "kinetics"), [("prinz", eq), ("liu", liu)])
def test_a_cell_against_an_accurate_integrator(hyper, kinetics):
    """100 ms from the same start; errors shrink with the step as a first-order method's do."""
    g = np.array([[0, 5.0, 4.0, 30.0, 10.0, 75.0, 0.03, 0.02], [0, 0, 2.0, 10, 5, 25, 0.05, 0.05]])
    errors = []
    for dt in (0.01, 0.005):
        n = round(100 / dt)
        _, V = compiled.voltage(g, 0, n, round(1 / dt), dt, 283.0, kinetics)
        exact = np.stack([solved(row, np.arange(0, 101.0), hyper) for row in g])
        errors.append(np.abs(V - exact).max())
    assert errors[1] < FIRST_ORDER * errors[0]
    assert errors[1] < 0.2


def test_gating_under_clamp_is_a_relaxation():
    """Without currents V stays put, and a gate relaxes: checked by a cell with a leak alone."""
    g = np.array([[0, 0, 0, 0, 0, 0, 0, 0.5]])
    _, V = compiled.voltage(g, 0, 2_000, 1, 0.05, 283.0, eq)
    time = np.arange(2_001) * 0.05
    tau = 0.6283e-3 / (0.5 * 0.628e-3)
    np.testing.assert_allclose(V[0], -50.0, atol=1e-4)  # it starts at the leak's reversal
    assert tau == pytest.approx(2.0, rel=1e-3)
    assert time[-1] == 100


def test_cells_do_not_feel_each_other():
    theta = stg_neuron().prior.sample(60, seed=4).array
    plan = compiled.Plan(2_000, 22_000, 0.05)
    together = simulate(theta, None, plan=plan)
    alone = np.concatenate([simulate(theta[i : i + 1], None, plan=plan) for i in (0, 17, 48, 59)])
    np.testing.assert_array_equal(together[[0, 17, 48, 59]], alone)


def test_the_published_burster_bursts():
    x = simulate(BURSTER, None)[0]
    assert FIRING[int(x[0])] == "bursting"
    assert 300 < x[3] < 1_500
    assert x[6] > 2
    silent = simulate(np.array([[0, 0, 0, 0, 0, 0, 0, 0.01]]), None)[0]
    assert FIRING[int(silent[0])] == "silent"
    assert np.isnan(silent[3])


def trains():
    burst = np.concatenate([700 * k + np.array([0, 15, 32, 50, 71]) for k in range(7)])
    rng = np.random.default_rng(3)
    yield np.arange(0.0, 5_000, 50)
    yield burst.astype(float)
    yield np.cumsum(rng.exponential(80, 60))
    yield np.array([])
    yield np.array([10.0])
    yield np.array([10.0, 30.0])
    for _ in range(40):
        yield np.cumsum(rng.choice([12.0, 14.0, 90.0, 400.0], rng.integers(2, 40)))


def test_classes_are_those_of_the_landscape():
    """Two pieces of code, written apart, of the same rule."""
    for times in trains():
        x = np.empty(7)
        statistics(np.asarray(times, float), 5_000.0, x)
        assert FIRING[int(x[0])] == by_landscape(times)


def test_statistics_of_a_known_train():
    times = np.concatenate([700 * k + np.array([0, 15, 32, 50, 71]) for k in range(7)]).astype(
        float
    )
    x = np.empty(7)
    statistics(times, 5_000.0, x)
    np.testing.assert_allclose(x[[1, 3, 4, 5, 6]], [7.0, 700.0, 71.0, 71 / 700, 5.0])


def test_the_gpu_integrator_agrees():
    theta = np.concatenate([BURSTER, stg_neuron().prior.sample(7, seed=1).array])
    plan = compiled.Plan(4_000, 44_000, 0.05)
    kernel = simulate(theta, None, plan=plan)
    other = simulate(theta, None, plan=plan, integrator="jax")
    assert np.mean(kernel[:, 0] == other[:, 0]) >= 7 / 8  # a spike at the edge may tip a class
    np.testing.assert_allclose(other[0], kernel[0], rtol=0.02)
    assert np.abs(kernel[:, 1] - other[:, 1]).max() <= 0.5 + 1e-9  # one spike in 2 s


def test_grids_are_enumerable():
    model = stg_neuron()
    grid = lf.Sweep(levels=lf.models.stg_neuron_levels()).points(model.prior)
    assert len(grid) == 6**8 == 1_679_616
    np.testing.assert_array_equal(grid.rows(0, 1)[0], np.zeros(8))
    np.testing.assert_allclose(
        grid.rows(1_679_615, 1_679_616)[0], [500, 12.5, 10, 50, 25, 125, 0.05, 0.05]
    )
    short = stg_neuron(burn_in=100, duration=200)
    part = lf.simulate(short, 8, theta=grid, first=1_000_000, seed=0)
    np.testing.assert_array_equal(part.theta.array, grid.rows(1_000_000, 1_000_008))
    whole_sweep = lf.Sweep(levels=lf.models.stg_network_levels()).points(
        lf.models.stg_networks().prior
    )
    assert len(whole_sweep) == NETWORKS == 150 * 5**4 * 6**3


def test_five_conductances_become_eight():
    found = whole(np.array([[300.0, 8.0, 20.0, 10.0, 75.0]]), "goldman2001", (0.25, 0.02, 0.01))
    np.testing.assert_allclose(found, [[300, 2, 6, 20, 10, 75, 0.02, 0.01]])
    model = stg_neuron("goldman2001", burn_in=500, duration=1_000, rhythm=True)
    sims = lf.simulate(model, 24, seed=0)
    labels = lf.models.firing(sims.theta, sims.x)
    assert set(labels) <= set(FIRING)
    classes = lf.landscape.classify(sims, lf.models.firing)
    assert set(classes.names) <= set(FIRING)


def test_networks_are_those_of_the_table():
    theta = network_parameters([[0.2, 1.6, 4.0, 0.0, 1.0, 10.0, 100.0, 3.0, 30.0, 0.0]])[0]
    np.testing.assert_array_equal(theta[:8], [400, 2.5, 6, 50, 10, 100, 0.01, 0])
    np.testing.assert_array_equal(theta[8:16], [100, 0, 10, 50, 5, 100, 0, 0.03])
    np.testing.assert_array_equal(theta[16:24], [500, 2.5, 2, 40, 0, 125, 0.01, 0.03])
    assert theta[24] == theta[30] == -np.inf
    np.testing.assert_allclose(np.exp(theta[25:30]), [1e-6, 1e-5, 1e-4, 3e-6, 3e-5])


def test_cut_synapses_leave_three_single_cells():
    """A network without synapses is its three neurons: spikes of one cell by itself."""
    cells = [[0, 0, 0] + 7 * [0.0]]
    theta = network_parameters(cells)
    from lanternfish.models.stg import voltage

    _, V = voltage(theta, [0], t_start=0, t_end=500, every=0.5, noise=False)
    _, single = compiled.voltage(theta[0, :24].reshape(3, 8), 0, 20_000, 20, 0.025, 283.0, eq)
    np.testing.assert_array_equal(V[0], single)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sweep": "marder"}, "Expected sweep"),
        ({"integrator": "euler"}, 'Expected integrator "compiled" or "jax"'),
        ({"dt": 1.0}, "Expected dt up to 0.2 ms"),
        ({"calcium_t": 2.0}, "Expected calcium_t from 0 to 1"),
    ],
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(ValueError, match=words):
        stg_neuron(**options)
