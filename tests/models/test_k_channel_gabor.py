"""The potassium channel against a NumPy loop and closed forms; the Gabor cell against counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.models import k_channel as package
from lanternfish.models.gabor import CELL, gabor, receptive_field, transformed
from lanternfish.models.gabor import simulate as simulate_cell

module = __import__("importlib").import_module("lanternfish.models.k_channel")
FLOAT32 = 2e-4  # relative to the largest current
THETA = np.array(
    [
        [0.1, -3.0, -20.0, 40.0, 0.02, 1e-4, 0.03, 2e-4],
        [0.5, 5.0, 30.0, 1_500.0, 0.3, 0.04, 0.2, 0.03],
    ]
)


def loop(theta, command, dt):
    """Currents (sweeps, t) of one channel, the recursion written out in float64; no noise."""
    t1, t2, t3, t4, t5, t6, t7, t8 = theta
    q = 2.3**1.4
    u = command - t3
    with np.errstate(over="ignore"):
        tau = t4 / (np.exp(-(t5 * u + t6 * u**2)) + np.exp(t7 * u + t8 * u**2)) / q
    m_inf = 1 / (1 + np.exp(-t1 * command + t2))
    m = m_inf[:, 0]
    out = np.empty(command.shape)
    for t in range(command.shape[1]):
        out[:, t] = q * m * (command[:, t] + 86.7)
        m = m_inf[:, t] + (m - m_inf[:, t]) * np.exp(-dt / np.maximum(tau[:, t], 1e-300))
    return out / np.abs(out).max()


def test_currents_against_a_loop():
    dt, every = 0.1, 5
    found = module.responses(THETA, np.zeros(2), noise=0.0, dt=dt, every=every)
    for row, theta in zip(found, THETA, strict=True):
        for span, command in zip(
            module.spans(dt, every), module.protocols(dt).values(), strict=True
        ):
            expected = loop(theta, command, dt)[:, ::every]
            np.testing.assert_allclose(row[span], expected.ravel(), atol=FLOAT32)


def test_a_step_is_an_exponential():
    """During an activation step m relaxes with the time constant of its voltage."""
    dt = 0.025
    found = module.responses(THETA[:1], [0], noise=0.0, dt=dt, every=1)[0]
    sweep = found[module.spans(dt, 1)[0]].reshape(16, -1)[13]  # to 50 mV
    t1, t2, t3, t4, t5, t6, t7, t8 = THETA[0]
    u = 50 - t3
    tau = t4 / (np.exp(-(t5 * u + t6 * u * u)) + np.exp(t7 * u + t8 * u * u)) / 2.3**1.4
    part = sweep[4_000:24_000] / (50 + 86.7)
    end = 1 / (1 + np.exp(-t1 * 50 + t2))
    scale = part[-1] / (end + (1 / (1 + np.exp(80 * t1 + t2)) - end) * np.exp(-19_999 * dt / tau))
    m = part / scale
    expected = end + (m[0] - end) * np.exp(-np.arange(20_000) * dt / tau)
    np.testing.assert_allclose(m, expected, atol=1e-3)


def test_protocols_are_as_published():
    found = module.protocols()
    shapes = {name: command.shape for name, command in found.items()}
    assert shapes == {
        "activation": (16, 28_000),
        "inactivation": (12, 70_000),
        "deactivation": (15, 28_000),
        "ramp": (1, 116_000),
        "action_potentials": (1, 72_000),
    }
    for name, low, high in (
        ("activation", -80, 70),
        ("inactivation", -80, 70),
        ("deactivation", -100, 70),
        ("ramp", -80, 70),
        ("action_potentials", -68.1, 33.7),
    ):
        assert found[name].min() == pytest.approx(low, abs=0.05)
        assert found[name].max() == pytest.approx(high, abs=0.05)
    spikes = found["action_potentials"][0]
    assert np.sum((spikes[:-1] < 0) & (spikes[1:] >= 0)) == 27


@pytest.fixture(scope="module")
def channel():
    return package(dt=0.2, every=10, draws=60, components=4)


def test_coefficients_are_least_squares(channel):
    """Components of unit length and a constant, fitted by NumPy's own least squares."""
    options = {"dt": 0.2, "every": 10, "noise": 0.5}
    solved = module.basis(0.2, 10, 0.5, 4, 60)
    theta, seeds = channel.prior.sample(3, seed=5).array, np.arange(3, dtype=np.uint64)
    x = module.simulate(theta, seeds, components=4, draws=60, **options)
    assert x.shape == (3, 25) == (3, len(channel.statistics))
    found = module.responses(theta, seeds, **options)
    for k, (span, matrix) in enumerate(zip(module.spans(0.2, 10), solved, strict=True)):
        design = np.linalg.pinv(matrix)
        np.testing.assert_allclose(np.linalg.norm(design[:, :4], axis=0), 1, rtol=1e-5)
        np.testing.assert_allclose(design[:, 4], 1, rtol=1e-5)
        best = np.linalg.lstsq(design, found[:, span].T.astype(float), rcond=None)[0]
        np.testing.assert_allclose(x[:, 5 * k : 5 * k + 5], best.T, atol=1e-6)


def test_components_explain_most_of_the_prior(channel):
    """Of new draws: what four components and a constant leave unexplained is small."""
    theta = channel.prior.sample(40, seed=9).array
    found = module.responses(theta, np.arange(40), noise=0.5, dt=0.2, every=10)
    span, matrix = module.spans(0.2, 10)[0], module.basis(0.2, 10, 0.5, 4, 60)[0]
    part = found[:, span].astype(float)
    left = part - (part @ matrix.T) @ np.linalg.pinv(matrix).T
    assert 1 - left.var() / part.var() > 0.7


def test_rows_depend_on_themselves(channel):
    first = lf.simulate(channel, 6, seed=3)
    again = lf.simulate(channel, 3, first=3, seed=3)
    np.testing.assert_array_equal(first.x.array[3:], again.x.array)
    assert first.valid.all()
    traces = channel.traces(first.theta.array[:1], np.zeros(1, np.uint64))
    assert traces.values.shape[:2] == (1, 16)
    with pytest.raises(ValueError, match="more draws than components"):
        package(draws=5)


def test_spikes_of_the_published_cell():
    """299 in the paper; its mean is T exp(b + |h|^2 / 2), since frames are normal along h."""
    theta = transformed()
    model = gabor()
    sims = lf.simulate(model, theta={k: np.full(150, v) for k, v in theta.items()}, seed=1)
    field = np.asarray(receptive_field(theta))
    expected = 300 * np.exp(CELL["bias"] + np.sum(field**2) / 2)
    spread = sims.x["spikes"].std()
    assert abs(sims.x["spikes"].mean() - expected) < 5 * spread / np.sqrt(150)
    assert abs(299 - expected) < 3 * spread
    assert np.linalg.norm(field) == pytest.approx(CELL["gain"], rel=0.05)


def test_the_average_has_the_law_of_drawn_frames():
    """Mean and covariance of the statistic against frames that are drawn whole, on 5 x 5 pixels."""
    pixels, frames, n = 5, 200, 1_000
    theta = transformed() | {"bias": 1.5, "log_gain": -0.5}
    field = np.asarray(receptive_field(theta, pixels)).ravel()
    rng = np.random.default_rng(2)
    direct = np.empty((n, pixels**2))
    for row in direct:
        v = rng.standard_normal((frames, pixels**2))
        z = rng.poisson(0.025 * np.exp(v @ field + 1.5))
        row[:] = z @ v / max(z.sum(), 1) - v.mean(axis=0)
    keys = jax.random.split(jax.random.key(0), n)
    run = jax.jit(jax.vmap(lambda k: simulate_cell(theta, k, pixels=pixels, frames=frames)["sta"]))
    drawn = np.asarray(run(keys)).reshape(n, -1)
    error = direct.std(axis=0) / np.sqrt(n)
    assert np.abs((direct.mean(axis=0) - drawn.mean(axis=0)) / error).max() < 6
    np.testing.assert_allclose(
        np.cov(drawn.T), np.cov(direct.T), atol=7 * direct.var(axis=0).max() * np.sqrt(2 / n)
    )


def test_the_filter_is_the_formula():
    """Written again in NumPy, in the parameters of the paper."""
    c = CELL
    line = np.linspace(-1, 1, 41)
    x, y = np.meshgrid(line, line)
    dx, dy = x - c["x"], y - c["y"]
    along = dx * np.cos(c["angle"]) + dy * np.sin(c["angle"])
    across = dy * np.cos(c["angle"]) - dx * np.sin(c["angle"])
    sigma = np.sqrt(2 * np.log(2)) / (2 * np.pi * c["frequency"])
    sigma *= (2 ** c["width"] + 1) / (2 ** c["width"] - 1)
    wave = np.cos(2 * np.pi * c["frequency"] * along + c["phase"])
    bump = np.exp(-(along**2 + c["ratio"] ** 2 * across**2) / (2 * sigma**2))
    damp = np.exp(-((2 * np.pi * c["frequency"] * sigma) ** 2)) * np.cos(2 * c["phase"])
    volume = 4 * np.pi * sigma**2 / c["ratio"] * (0.5 + damp)
    expected = c["gain"] * bump * wave / np.sqrt(volume / (4 * 0.05**2))
    np.testing.assert_allclose(receptive_field(transformed()), expected, atol=2e-5)


def test_a_cell_without_spikes_is_invalid():
    theta = transformed() | {"bias": -40.0}
    found = simulate_cell(theta, jax.random.key(1))
    assert jnp.isnan(found["spikes"])
    assert jnp.all(jnp.isnan(found["sta"]))
    with pytest.raises(ValueError, match="4 pixels and 2 frames"):
        gabor(pixels=2)
