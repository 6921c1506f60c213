"""The pyloric network against published circuits, another integrator, and its own promises."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import stg_oracle as oracle

from lanternfish.models.stg import STATISTICS, TARGETS, compiled, prior, simulate, stg, voltage
from lanternfish.models.stg import table as tables
from lanternfish.models.stg.statistics import COUNTS, NAMES

DATA = Path(os.environ.get("LANTERNFISH_DATA", Path(__file__).parents[3] / "shared" / "data"))

V_TOLERANCE = 1e-3  # mV, over the first 100 ms of the reference circuits
STATISTICS_TOLERANCE = 5e-3  # relative: a plateau is counted in steps of 0.25 ms, of about 50 ms
STEP_TOLERANCE = 2e-4  # mV in 20 ms: 800 steps of the table's 3e-6 and of a last bit of 4e-6 mV
TABLE_TOLERANCE = 5e-6  # relative
SE = 5  # standard errors that a mean may lie off in a test of chance


@pytest.fixture(scope="module")
def reference():
    path = DATA / "stg" / "noise_free_reference.npz"
    if not path.exists():
        pytest.skip(f"The reference circuits are not at {path}; set LANTERNFISH_DATA.")
    with np.load(path) as file:
        return {name: file[name] for name in file}


@pytest.fixture(scope="module")
def path():
    file = DATA / "stg" / "path_coords_80x31.csv"
    if not file.exists():
        pytest.skip(f"The published path is not at {file}; set LANTERNFISH_DATA.")
    low, high = prior.low, prior.high
    z = np.loadtxt(file, delimiter=",")
    return (low + high) / 2 + z * (high - low) / np.sqrt(12)


@pytest.fixture(scope="module")
def theta():
    return prior.sample(48, seed=11).array


def is_same(a, b):
    return np.array_equal(a, b, equal_nan=True)


def test_voltages_of_the_reference_circuits(reference):
    time, V = voltage(reference["theta"], np.zeros(11, int), t_start=0, t_end=100, noise=False)
    assert time[0] == 0
    assert time[-1] == pytest.approx(100)
    assert np.abs(V - reference["voltage_100ms"]).max() < V_TOLERANCE


def test_statistics_of_the_reference_circuits(reference):
    x, weights = simulate(reference["theta"], np.arange(11), noise=False)
    expected = reference["statistics"][:, :18]
    assert is_same(np.isnan(x), np.isnan(expected))
    assert is_same(weights, np.ones(11))
    assert np.nanmax(np.abs(x / expected - 1)) < STATISTICS_TOLERANCE


def test_bursts_and_spikes_of_the_reference_circuits(reference):
    plan = compiled.plan_of(11_000, 40, False, False)
    x, _, steps, _ = compiled.run(reference["theta"], np.arange(11, dtype=np.uint64), plan, 283.0)
    assert is_same(x[:, len(NAMES) :], reference["statistics"][:, 18:])
    assert len(COUNTS) == 6
    assert np.all(steps == 440_000)


@pytest.mark.parametrize("temperature", [283.0, 299.0])
def test_steps_against_an_independent_integrator(theta, temperature):
    steps, seeds = 800, np.arange(len(theta))
    expected = oracle.simulate(theta, steps, compiled.noise_current(seeds, steps), temperature)
    _, V = voltage(theta, seeds, t_start=0, t_end=20, temperature=temperature)
    assert np.abs(V - expected).max() < STEP_TOLERANCE


def test_no_conductance_integrates_the_noise():
    theta = np.concatenate([np.zeros((4, 24)), np.full((4, 7), -100.0)], axis=1)
    steps = 400
    _, V = voltage(theta, np.arange(4), t_start=0, t_end=steps * 0.025)
    kicks = compiled.noise_current(np.arange(4), steps) * (0.025 / 0.6283e-3)
    expected = np.concatenate([np.zeros((4, 3, 1)), np.cumsum(kicks, axis=2)], axis=2) - 50
    assert np.abs(V - expected).max() < STEP_TOLERANCE


def test_noise_is_normal_and_white():
    steps = 40_000
    noise = compiled.noise_current(np.arange(16), steps).astype(float) / 0.001
    n = noise.size
    assert abs(noise.mean()) < SE / np.sqrt(n)
    assert abs(noise.var() - 1) < SE * np.sqrt(2 / n)
    assert abs((noise**4).mean() - 3) < SE * np.sqrt(96 / n)
    for other in (noise[:, :, 1:] * noise[:, :, :-1], noise[:, 1:] * noise[:, :-1]):
        assert abs(other.mean()) < SE / np.sqrt(other.size)
    assert abs((noise[1:] * noise[:-1]).mean()) < SE / np.sqrt(n)


def test_noise_moves_a_passive_membrane_as_it_should():
    """With the leak alone, V is an autoregression: var = a^2 var + ((1 - a) sd / g)^2."""
    g = 0.04 * 0.628e-3
    theta = np.concatenate([np.zeros((16, 24)), np.full((16, 7), -100.0)], axis=1)
    theta[:, [7, 15, 23]] = 0.04
    _, V = voltage(theta, np.arange(16), t_start=200, t_end=2200, every=1)
    a = np.exp(-0.025 * g / 0.6283e-3)
    expected = ((1 - a) * 0.001 / g) ** 2 / (1 - a**2)
    independent = V.size / 50  # correlation time 1 / 0.04 = 25 ms
    assert np.abs(V.mean() + 50) < SE * np.sqrt(expected / independent)
    assert V.var() == pytest.approx(expected, rel=SE * np.sqrt(2 / independent))


def test_result_depends_on_theta_and_seed_only(theta):
    seeds = np.arange(100, 100 + len(theta))
    options = {"abandon": True, "t_max": 4_000}
    x, weights = simulate(theta, seeds, **options)
    order = np.random.default_rng(0).permutation(len(theta))
    mixed, mixed_weights = simulate(theta[order], seeds[order], **options)
    assert is_same(mixed, x[order])
    assert is_same(mixed_weights, weights[order])
    blocks = [slice(0, 1), slice(1, 20), slice(20, 48)]
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda b: simulate(theta[b], seeds[b], **options), blocks))
    assert is_same(np.concatenate([p[0] for p in parts]), x)
    assert is_same(np.concatenate([p[1] for p in parts]), weights)


def test_seed_chooses_the_noise(theta):
    twice = np.repeat(theta[:4], 2, axis=0)
    _, V = voltage(twice, np.array([1, 2] * 4), t_start=0, t_end=5)
    assert not np.any(np.all(V[0::2] == V[1::2], axis=(1, 2)))
    _, again = voltage(twice, np.array([1, 2] * 4), t_start=0, t_end=5)
    assert is_same(V, again)


def test_statistics_agree_between_the_orders(reference):
    theta, seeds = reference["theta"][1:4], np.arange(3)
    options = {"noise": False, "burst_threshold": 40}
    one, _ = simulate(theta, seeds, order="pyloric", **options)
    other, _ = simulate(theta, seeds, order="7_stg", **options)
    a = {c.name: one[:, i] for i, c in enumerate(STATISTICS["pyloric"])}
    b = {c.name: other[:, i] for i, c in enumerate(STATISTICS["7_stg"])}
    for name in a.keys() & b.keys():
        assert is_same(a[name], b[name])
    total = a["start_AB_to_start_LP"] + a["start_LP_to_start_PY"]
    assert b["start_AB_to_start_PY"] == pytest.approx(total)
    fifteen, _ = simulate(theta, seeds, statistics=15, **options)
    assert is_same(fifteen, one[:, :15])


def test_targets_are_the_published_vectors():
    file = DATA / "stg" / "observed_statistics_7_stg_order.npz"
    if not file.exists():
        pytest.skip(f"The measured statistics are not at {file}; set LANTERNFISH_DATA.")
    with np.load(file) as measured:
        expected = measured["summ_stats"]
    target = TARGETS["7_stg"]["prep_845_082"]
    assert target.array_for(STATISTICS["7_stg"]) == pytest.approx(expected, rel=1e-6)


def test_proof_changes_no_valid_row(theta, path):
    circuits = np.concatenate([theta, path[::10]])
    seeds = np.arange(len(circuits), dtype=np.uint64)
    plan = compiled.plan_of(6_000, 40, True, False)
    full, _, whole, _ = compiled.run(circuits, seeds, plan, 283.0)
    proven, weights, steps, _ = compiled.run(circuits, seeds, plan._replace(proof=True), 283.0)
    valid = ~np.isnan(full[:, : len(NAMES)]).any(axis=1)
    given_up = steps < whole
    assert valid.any()
    assert given_up.any()
    assert not np.any(valid & given_up)
    assert is_same(proven[~given_up], full[~given_up])
    assert np.all(weights == 1)


def test_roulette_weights(theta):
    x, weights = simulate(theta, np.arange(len(theta)), abandon=True, t_max=5_000)
    assert np.all(np.isnan(x[weights == 0]))
    one, two = compiled.SURVIVAL
    possible = np.array([1, 1 / one, 1 / two, 1 / one / two])
    assert np.isclose(weights[weights > 0, None], possible).any(axis=1).all()
    assert (weights == 0).any()


def test_path_is_valid_at_twenty_points(path):
    """Over up to six noise seeds: validity dips to 75 % in one stretch of the published path."""
    points = path[np.linspace(0, 79, 20).round().astype(int)]
    missing = np.arange(20)
    for seed in range(6):
        x, _ = simulate(points[missing], np.full(len(missing), seed))
        missing = missing[np.isnan(x).any(axis=1)]
        if len(missing) == 0:
            return
    pytest.fail(f"No valid rhythm at points {missing}.")


def test_a_row_of_nan_spoils_no_other(theta):
    broken = theta[:8].copy()
    broken[3] = np.nan
    _, V = voltage(broken, np.arange(8), t_start=0, t_end=10)
    _, expected = voltage(theta[:8], np.arange(8), t_start=0, t_end=10)
    others = np.arange(8) != 3
    assert is_same(V[others], expected[others])
    assert np.isnan(V[3, :, -1]).all()


def test_no_simulations():
    x, weights = simulate(np.empty((0, 31)), np.empty(0, np.uint64))
    assert x.shape == (0, 18)
    assert weights.shape == (0,)


def test_model():
    model = stg(statistics=15, order="7_stg")
    assert len(model.parameters) == 31
    assert [c.name for c in model.statistics] == [c.name for c in STATISTICS["7_stg"][:15]]
    assert model.targets["prep_845_082"]["cycle_period"] == pytest.approx(1170.85859)
    theta = model.prior.sample(3, seed=0).array
    x, weights = model.simulator.function(theta, np.arange(3))
    assert x.shape == (3, 15)
    assert weights.shape == (3,)
    traces = model.traces(theta[:1], np.arange(1))
    assert traces.values.shape == (1, 3, len(traces.time))
    assert model.simulator.fingerprint != stg(noise=False).simulator.fingerprint


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((np.zeros(31), [0]), {}, r"Expected theta of shape \(n, 31\); got \(31,\)"),
        ((np.zeros((2, 30)), [0, 1]), {}, r"Expected theta of shape \(n, 31\); got \(2, 30\)"),
        ((np.zeros((2, 31)), [0]), {}, r"Expected seeds of shape \(2,\); got \(1,\)"),
        ((np.zeros((1, 31)), [-1]), {}, "Expected seeds as whole numbers"),
        ((np.zeros((1, 31)), [0.5]), {}, "Expected seeds as whole numbers"),
        ((np.zeros((1, 31)), [0]), {"statistics": 16}, "Expected 15 or 18 statistics; got 16"),
        ((np.zeros((1, 31)), [0]), {"order": "prinz"}, 'Expected order "pyloric" or "7_stg"'),
        ((np.zeros((1, 31)), [0]), {"t_max": 500}, "Expected t_max above the burn-in"),
        ((np.zeros((1, 31)), [0]), {"t_max": np.nan}, "Expected t_max between"),
        ((np.zeros((1, 31)), [0]), {"burst_threshold": 0}, "Expected a burst_threshold above 0"),
        ((np.zeros((1, 31)), [0]), {"temperature": -10}, "Expected a temperature in K"),
    ],
)
def test_bad_input(arguments, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        simulate(*arguments, **options)


def test_bad_times_of_traces():
    with pytest.raises(ValueError, match="Expected t_start <= t_end"):
        voltage(np.zeros((1, 31)), [0], t_start=20, t_end=10)


def test_table_between_its_nodes():
    V = np.random.default_rng(0).uniform(-110, 130, 20_000)
    position = (V - tables.V_MIN) * tables.ROWS_PER_MV
    row, x = position.astype(int), position % 1
    parts = tables.table(0.025, 283.0).reshape(-1, 3, 24).astype(float)[row]
    found = parts[:, 0] + x[:, None] * (parts[:, 1] + x[:, None] * parts[:, 2])
    expected = tables.gates(V, 0.025, 283.0).T
    kink = np.isclose(expected, 1, atol=0.05)  # where s begins to follow at once
    error = np.abs(found / expected - 1)
    assert error[~kink].max() < TABLE_TOLERANCE


def test_unknown_integrator():
    with pytest.raises(ValueError, match='Expected integrator "compiled" or "jax"'):
        stg(integrator="euler")


def test_bad_model():
    with pytest.raises(ValueError, match="Expected 15 or 18 statistics"):
        stg(statistics=17)


@pytest.mark.slow
def test_energy_against_an_independent_integrator(theta):
    """Sum of c (V - E)^2 over the steps after the burn-in, per area, of all currents."""
    end = 1_010.0
    steps = round(end / 0.025)
    expected = oracle.energy(theta[:3], steps, 40_000) * 0.025 / 1e3 / 0.628e-3 / 1e3
    x, _ = simulate(theta[:3], np.arange(3), noise=False, energy=True, t_max=end)
    assert x.shape == (3, 22)
    np.testing.assert_allclose(x[:, 18:21], expected, rtol=2e-3)
    np.testing.assert_allclose(x[:, 21], x[:, 18:21].sum(axis=1))


def test_energy_changes_nothing_else(theta):
    plain, _ = simulate(theta[:20], np.arange(20), t_max=1_500)
    counted, _ = simulate(theta[:20], np.arange(20), t_max=1_500, energy=True)
    assert is_same(plain, counted[:, :18])
    model = stg(energy=True, statistics=15)
    assert [c.name for c in model.statistics[15:]] == [
        "energy_AB", "energy_LP", "energy_PY", "energy"
    ]  # fmt: skip
    with pytest.raises(ValueError, match='Expected integrator "compiled" for the energy'):
        stg(energy=True, integrator="jax")
