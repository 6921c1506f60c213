"""The superior colliculus against a NumPy simulation of its own and published facts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.models import superior_colliculus
from lanternfish.models.superior_colliculus import MODES, prior

TRIALS = 2_000  # of each comparison


def numpy_accuracies(weights, trials, seed, gamma=0.0, window=(0.8, 1.2)):
    """Chances of the left in the Pro task and of the right in the Anti task, (2, trials)."""
    s, v, d, h = weights
    W = np.array([[s, v, d, h], [v, s, h, d], [d, h, s, v], [h, d, v, s]])
    rng = np.random.default_rng(seed)
    left = []
    for task in ("pro", "anti"):
        x = 0.1 + 0.005 * rng.standard_normal((4, trials))
        u = 0.5 * np.arctanh(2 * x - 1) - 0.05
        for i in range(75):
            t = i * 0.024
            LP, LA, RA, RP = 0.75 + 0.5, 0.75, 0.75, 0.75 + 0.5
            if t < 1.2 and task == "pro":
                LP, RP = LP + 0.6, RP + 0.6
            if t < 1.2 and task == "anti":
                LA, RA = LA + 0.6, RA + 0.6
            if t >= 1.2:
                LP, LA, RA, RP = LP + 0.25, LA + 0.25, RA + 0.25, RP + 0.25
            if 1.2 <= t < 1.5:
                LP, LA = LP + 0.5, LA + 0.5
            given = np.array([LP, LA, RA, RP])[:, None]
            given = given + 0.2 * rng.standard_normal((4, trials))
            u = u + 0.024 / 0.09 * (-u + W @ x + given)
            x = 0.5 * np.tanh((u - 0.05) / 0.5) + 0.5
            if window[0] < t < window[1]:
                x = (1 - gamma) * x
        left.append(1 / (1 + np.exp(-100 * (x[0] - x[3]))))
    return np.array([left[0], 1 - left[1]])


CASES = {
    "one regime": ((1.0, -1.0, -0.5, 0.5), {}),
    "competition": ((2.0, -1.0, 1.0, -3.0), {}),
    "weak": ((0.3, -0.2, 0.1, -0.4), {}),
    "inactivated": ((2.0, -1.0, 1.0, -3.0), {"inactivation": 0.675}),
    "inactivated in another window": (
        (0.3, -0.2, 0.1, -0.4),
        {"inactivation": 1.0, "window": (1.3, 1.8)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_accuracies_against_numpy(case):
    weights, options = CASES[case]
    model = superior_colliculus(trials=200, **options)
    run = lf.simulate(model, theta=np.repeat([weights], TRIALS // 200, axis=0), seed=1)
    gamma, window = options.get("inactivation", 0.0), options.get("window", (0.8, 1.2))
    single = numpy_accuracies(weights, TRIALS, 0, gamma, window)
    error = np.sqrt(2) * single.std(axis=1) / np.sqrt(TRIALS)
    assert np.all(np.abs(run.x.array.mean(axis=0) - single.mean(axis=1)) < 4 * error + 1e-4)


def test_few_circuits_of_the_prior_can_switch():
    """Brute force elsewhere: 7 of 4,000 draws lie between 60 and 90 % in both tasks."""
    run = lf.simulate(superior_colliculus(trials=50), 4_000, seed=0)
    assert run.valid.all()
    accepted = np.all((run.x.array > 0.6) & (run.x.array < 0.9), axis=1)
    assert 2 <= accepted.sum() <= 20


def test_no_weights_no_rule():
    """Without recurrence the rule leaves no trace: both tasks are answered alike."""
    run = lf.simulate(superior_colliculus(), theta=np.zeros((20, 4)), seed=0)
    error = run.x.array.std(axis=0).sum() / np.sqrt(20)
    assert run.x.array.sum(axis=1).mean() == pytest.approx(1, abs=4 * error + 1e-3)


def test_modes_are_eigenvectors_of_the_weights():
    """lambda are W's eigenvalues, and the weights are MODES lambda / 4, in the order s, v, h, d."""
    lam = np.array([3.0, -1.0, 0.5, 2.0])
    s, v, h, d = MODES @ lam / 4
    W = np.array([[s, v, d, h], [v, s, h, d], [d, h, s, v], [h, d, v, s]])
    assert np.allclose(np.sort(np.linalg.eigvalsh(W)), np.sort(lam))
    side, task = np.array([1, 1, -1, -1]), np.array([1, -1, -1, 1])
    assert np.allclose(W @ np.ones(4), lam[0])
    assert np.allclose(W @ side, lam[1] * side)
    assert np.allclose(W @ task, lam[2] * task)


def test_gradient_against_finite_differences():
    with jax.enable_x64(True):
        simulate = superior_colliculus(trials=5).simulator.function
        key, weights, h = jax.random.key(1), jnp.array([0.3, -0.2, 0.1, -0.4]), 1e-6

        @jax.jit
        def f(weights):
            x = simulate(dict(zip(prior.names, weights, strict=True)), key)
            return x[0] + 2 * x[1]

        slope = jax.jit(jax.grad(f))(weights)
        expected = [(f(weights + h * e) - f(weights - h * e)) / (2 * h) for e in jnp.eye(4)]
        assert np.allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_traces_hold_both_tasks():
    traces = superior_colliculus().traces(np.zeros((2, 4)), np.arange(2))
    assert traces.values.shape == (2, 8, 75)
    assert traces.channels[:4] == ("Pro LP", "Pro LA", "Pro RA", "Pro RP")
    rule = (traces.time > 0.3) & (traces.time < 1.2)
    mean = traces.values[:, :, rule].mean(axis=(0, 2))
    assert mean[0] > mean[4]  # LP hears of the rule in the Pro task
    assert mean[5] > mean[1]  # LA in the Anti task


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trials": True}, "Expected trials, a whole number of at least 1; got True"),
        ({"inactivation": 1.5}, "Expected an inactivation from 0 to 1; got 1.5"),
        ({"window": (1.2, 0.8)}, "Expected a window of two rising times from 0 to 1.8 s"),
        ({"window": 1.0}, "Expected a window of two rising times"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        superior_colliculus(**options)
