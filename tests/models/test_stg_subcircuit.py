"""The five neurons against a NumPy integration of their own and published frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.models import stg_subcircuit
from lanternfish.models.jax_traces import keys_of
from lanternfish.models.stg_subcircuit import NEURONS, NOISE, frequency, prior, voltage

POINTS = np.array([(5, 1), (6, 1), (6, 2), (7, 2), (4.5, 3)])  # g_el, g_synA, nS
# hub frequency (Hz) of the same integrators in NumPy, softmax 500, to the third digit
PUBLISHED = {
    "published": (0.601, 0.559, 0.660, 0.528, 0.348),
    "accurate": (0.641, 0.598, 0.541, 0.539, 0.335),
}
DIGIT = 6e-4  # Hz
STEP = 2.5  # ms, of the NumPy integration by the midpoint method
MIDPOINT = 2e-3  # Hz, the largest error of the hub at this step over 128 draws


def currents(x, g_el, g_synA):
    """dx/dt of the 15 variables (V in mV, per ms), neuron by neuron, in words of the paper."""
    f1, f2, hub, s1, s2 = x[:5]
    S = {name: 1 / (1 + np.exp((-25 - v) / 5)) for name, v in zip(NEURONS, x[:5], strict=True)}
    I_syn = [
        0.005 * S["f2"] * (f1 + 75),
        0.005 * S["f1"] * (f2 + 75),
        g_synA * (S["f1"] + S["s1"]) * (hub + 75),
        0.005 * S["s2"] * (s1 + 75),
        0.005 * S["s1"] * (s2 + 75),
    ]
    I_el = [0 * f1, g_el * (f2 - hub), g_el * (2 * hub - f2 - s2), 0 * s1, g_el * (s2 - hub)]
    g_Ca = (0.019, 0.019, 0.017, 0.0085, 0.0085)
    g_K, g_h = (0.039, 0.039, 0.019, 0.015, 0.015), (0.025, 0.025, 0.008, 0.010, 0.010)
    out = np.empty_like(x)
    for i in range(5):
        V, N, H = x[i], x[5 + i], x[10 + i]
        M = 0.5 * (1 + np.tanh(V / 20))
        total = 1e-4 * (V + 40) + g_Ca[i] * M * (V - 100) + g_K[i] * N * (V + 80)
        out[i] = -(total + g_h[i] * H * (V + 20) + I_el[i] + I_syn[i])
        out[5 + i] = 0.002 * np.cosh(V / 30) * (0.5 * (1 + np.tanh(V / 15)) - N)
        tau = 272 + 1499 / (1 + np.exp((-V - 42.2) / 87.3))
        out[10 + i] = (1 / (1 + np.exp((V + 78.3) / 10.5)) - H) / tau
    return out


def integrate(theta, dt, midpoint=True):
    """Potentials every 25 ms, shape (n, 5, 300), mV."""
    start = (
        "-.04169771 -.04319491 .00883992 -.06879824 .03048103 .00151316 .19784773 .56514935 "
        ".12214069 .35290397 .08614699 .04938177 .05568701 .07007949 .05790969"
    )
    x = np.array(start.split(), float)
    x[:5] *= 1e3
    x = np.repeat(x[:, None], len(theta), axis=1)
    kept, every = [], round(25 / dt)
    for step in range(300 * every):
        ahead = currents(x, *(theta.T * 1e-3))
        if midpoint:
            ahead = currents(x + dt / 2 * ahead, *(theta.T * 1e-3))
        x = x + dt * ahead
        if (step + 1) % every == 0:
            kept.append(x[:5])
    return np.array(kept).transpose(2, 1, 0)


def numpy_frequency(v, sharpness=100):
    """Frequency of one neuron's potentials (300,), mV, by loops over the definition."""
    v = np.maximum(v[20:] / 1e3, 0)
    v = np.convolve(v, np.ones(20) / 20, "valid")
    v = v - v.mean()
    f = np.arange(101) * 0.01
    X = np.abs([np.sum(v * np.exp(-2j * np.pi * k * np.arange(len(v)) * 0.025)) for k in f])
    weight = np.exp(sharpness * (X - X.max()))
    return np.sum(f * weight) / weight.sum()


def quiet(theta, **options):
    """Statistics without noise, shape (n, k)."""
    model = stg_subcircuit(noise=False, **options)
    rows = jnp.asarray(theta, jnp.float32)

    def one(row):
        named = dict(zip(prior.names, row, strict=True))
        return model.simulator.function(named, jax.random.key(0))

    return np.asarray(jax.jit(jax.vmap(one))(rows))


@pytest.mark.parametrize("integrator", PUBLISHED)
def test_published_hub_frequencies(integrator):
    found = quiet(POINTS, integrator=integrator, sharpness=500)[:, 0]
    assert np.all(np.abs(found - PUBLISHED[integrator]) < DIGIT)


def test_all_neurons_against_numpy():
    V = integrate(POINTS, STEP)
    expected = np.array([[numpy_frequency(v) for v in row] for row in V])
    found = quiet(POINTS, statistics="network")
    assert np.all(np.abs(found - expected) < MIDPOINT)
    assert np.all(np.abs(frequency(jnp.asarray(V[0], jnp.float32)) - expected[0]) < 1e-5)


def test_published_map_is_eulers():
    """Against NumPy in float64 over all five neurons: the map, and not only the hub's digits."""
    expected = [
        [numpy_frequency(v) for v in row] for row in integrate(POINTS, 25.0, midpoint=False)
    ]
    found = quiet(POINTS, statistics="network", integrator="published")
    assert np.all(np.abs(found - expected) < 1e-4)


def test_f_is_fast_and_s_is_slow():
    f1, _, hub, s1, _ = quiet([[4.5, 3.0]], statistics="network")[0]
    assert f1 == pytest.approx(0.7, abs=0.05)
    assert s1 < 0.65 * f1
    assert hub == pytest.approx(0.335, abs=0.002)


@pytest.mark.parametrize("integrator", PUBLISHED)
def test_gradient_against_finite_differences(integrator):
    with jax.enable_x64(True):
        function = stg_subcircuit("network", integrator=integrator).simulator.function
        key = jax.random.key(3)

        def total(row):
            return function(dict(zip(prior.names, row, strict=True)), key) @ jnp.arange(1.0, 6)

        points, h = jnp.asarray(POINTS[:2]), 1e-5
        slopes = jax.jit(jax.vmap(jax.grad(total)))(points)
        ends = [points[:, None] + s * h * jnp.eye(2) for s in (1, -1)]
        up, down = (jax.jit(jax.vmap(jax.vmap(total)))(end) for end in ends)
        assert np.allclose(slopes, (up - down) / (2 * h), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("integrator", PUBLISHED)
def test_noise_has_one_variance_for_both_integrators(integrator):
    """The first step's noise, over seeds: 0.025 mV after 25 ms, membrane currents aside."""

    @jax.jit
    def first(keys):
        published = integrator == "published"
        theta = jnp.array([5.0, 1.0])
        return jax.vmap(lambda key: voltage(theta, key, published=published)[:, 0])(keys)

    V = np.asarray(first(keys_of(np.arange(2_000))))
    expected = NOISE * np.sqrt(25)
    within = 4 / np.sqrt(2 * 2_000) if integrator == "published" else 0.6  # currents act in 12.5 ms
    assert np.all(np.abs(V.std(axis=0) / expected - 1) < within)


def test_a_study_finds_both_properties_inside_the_prior():
    run = lf.simulate(stg_subcircuit("network"), 256, seed=0)
    assert run.valid.all()
    hub = run.x["hub_frequency"]
    assert np.sum(np.abs(hub - 0.55) < 0.025) > 10
    assert np.sum(np.all(np.abs(run.x.array - 0.53) < 0.05, axis=1)) > 3


def test_targets_fit_their_statistics():
    assert set(stg_subcircuit().targets) == {"hub"}
    model = stg_subcircuit("network")
    assert set(model.targets) == {"hub", "syncing"}
    assert model.targets["syncing"]["s1_frequency"] == (0.53, 0.025)


def test_traces_are_of_the_simulation():
    model = stg_subcircuit()
    run = lf.simulate(model, 2, seed=4)
    traces = model.traces(run.theta.array, run.seeds)
    assert traces.values.shape == (2, 5, 300)
    expected = [numpy_frequency(v) for v in traces.values[:, 2]]
    assert np.allclose(run.x["hub_frequency"], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"statistics": "all"}, 'Expected statistics "hub" or "network"; got \'all\''),
        ({"integrator": "euler"}, 'Expected integrator "accurate" or "published"'),
        ({"sharpness": 0}, "Expected a sharpness above 0"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        stg_subcircuit(**options)
