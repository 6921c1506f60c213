"""The amplifying network against eigenvalues of the whole n x n matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.models import amplifying_rnn
from lanternfish.models.amplifying_rnn import STATISTICS, amplification, growth_rate

FLOAT32 = 2e-6  # relative to the largest eigenvalue: Gram matrices sum n squares
SIZES = (2, 3, 4, 5, 10, 50, 250)


BOTH = jax.jit(jax.vmap(lambda X: jnp.stack([growth_rate(X), amplification(X)])))


def whole_matrix(X):
    """Both statistics in NumPy, from V^T U and from W_s, n x n."""
    U, V = X[:, :2], X[:, 2:]
    W = U @ V.T
    return np.linalg.eigvals(V.T @ U).real.max(), np.linalg.eigvalsh((W + W.T) / 2).max()


def draws(n, rows=40, scale=1.0):
    return np.random.default_rng(n).uniform(-1, 1, (rows, n, 4)) * scale


@pytest.mark.parametrize("n", SIZES)
def test_eigenvalues_of_the_whole_matrix(n):
    X = draws(n, rows=8)
    found = BOTH(jnp.asarray(X, jnp.float32))
    expected = np.array([whole_matrix(x) for x in X])
    scale = np.array([np.linalg.norm(x) ** 2 for x in X])[:, None]
    assert np.all(np.abs(found - expected) < FLOAT32 * scale)


def test_both_signs_and_complex_pairs_occur():
    """The draws of the test above hold negative, complex and real leading eigenvalues."""
    products = [x[:, 2:].T @ x[:, :2] for x in draws(2)]
    leading = np.array([np.linalg.eigvals(p) for p in products])
    assert (np.abs(leading.imag) > 0).any()
    assert (leading.real.max(axis=1) < 0).any()
    assert (np.array([whole_matrix(x)[1] for x in draws(2)]) < 0).any()


def test_growth_rate_is_that_of_the_whole_matrix_where_positive():
    for x in draws(50):
        spectral = np.linalg.eigvals(x[:, :2] @ x[:, 2:].T).real.max()
        assert spectral == pytest.approx(max(float(growth_rate(jnp.asarray(x))), 0), abs=1e-4)


@pytest.mark.parametrize("n", [2, 5, 50])
def test_gradient_against_finite_differences(n):
    with jax.enable_x64(True):
        for x in draws(n, rows=5):
            for statistic, oracle in ((growth_rate, 0), (amplification, 1)):
                slope = np.asarray(jax.jit(jax.grad(statistic))(jnp.asarray(x)))
                direction = np.random.default_rng(1).normal(size=x.shape)
                h = 1e-6
                ends = [whole_matrix(x + s * h * direction)[oracle] for s in (1, -1)]
                expected = (ends[0] - ends[1]) / (2 * h)
                assert np.sum(slope * direction) == pytest.approx(expected, rel=1e-5, abs=1e-6)


DEGENERATE = {
    "zero": np.zeros((6, 4)),
    "double eigenvalues": np.eye(6)[:, [0, 1, 0, 1]],
    "rank one": np.ones((6, 4)),
    "defective": np.eye(6)[:, [0, 1, 0, 1]] + np.eye(6)[:, [1, 5, 5, 5]] * 0.5,
    "negative definite": np.eye(2)[:, [0, 1, 0, 1]] * np.array([1, 1, -1, -1]),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_gradients_are_finite_at_degenerate_eigenvalues(case):
    X = jnp.asarray(DEGENERATE[case], jnp.float32)
    expected = whole_matrix(DEGENERATE[case])
    for statistic, value in zip((growth_rate, amplification), expected, strict=True):
        found, slope = jax.jit(jax.value_and_grad(statistic))(X)
        assert found == pytest.approx(value, abs=1e-5)
        assert np.isfinite(slope).all()


def test_law_of_the_noise():
    """Means and variances over noise are those of a NumPy simulation of whole matrices."""
    n, g, trials = 8, 0.1, 4_000
    model = amplifying_rnn(n, g=g)
    theta = model.prior.sample(1, seed=3)
    run = lf.simulate(model, theta=np.repeat(theta.array, trials, axis=0), seed=1)
    X = theta.array.reshape(4, n).T
    rng = np.random.default_rng(0)
    expected = np.array([whole_matrix(X + g * rng.normal(size=X.shape)) for _ in range(trials)])
    error = np.sqrt((run.x.array.var(0) + expected.var(0)) / trials)
    assert np.all(np.abs(run.x.array.mean(0) - expected.mean(0)) < 4 * error)
    ratio = run.x.array.std(0) / expected.std(0)
    assert np.all(np.abs(ratio - 1) < 4 / np.sqrt(trials))


def test_names_and_order():
    model = amplifying_rnn(3)
    assert model.prior.names[:4] == ("u1_0", "u1_1", "u1_2", "u2_0")
    assert model.prior.names[-1] == "v2_2"
    values = np.arange(12.0)
    theta = dict(zip(model.prior.names, jnp.asarray(values), strict=True))
    quiet = amplifying_rnn(3, g=0).simulator.function(theta, jax.random.key(0))
    expected = whole_matrix(values.reshape(4, 3).T)
    assert np.allclose(quiet, expected, rtol=1e-5)


def test_target_is_the_published_property():
    target = amplifying_rnn(2).targets["stable_amplification"]
    assert target["growth_rate"] == (0.5, 0.25)
    assert target["amplification"] == (1.5, 0.25)
    assert [c.name for c in STATISTICS] == list(target)


def test_activity_grows_and_decays():
    """Feed-forward, from the second half of the neurons to the first: no growth, amplification."""
    X = np.zeros((20, 4))
    X[:10, 0] = X[10:, 2] = 1.0
    assert whole_matrix(X) == pytest.approx((0.0, 5.0))
    traces = amplifying_rnn(20, g=0).traces(X.T.reshape(1, -1), np.zeros(1, int))
    size = traces.values[0, 0]
    assert size[0] == pytest.approx(1)
    assert size.max() > 1.5
    assert size[-1] < 0.02


@pytest.mark.parametrize("n", [1, 2.5, True, "3"])
def test_neurons_are_a_whole_number(n):
    with pytest.raises(ValueError, match="Expected n of at least 2 neurons"):
        amplifying_rnn(n)


def test_noise_is_not_negative():
    with pytest.raises(ValueError, match=r"Expected noise g of 0 or more; got -0.1"):
        amplifying_rnn(2, g=-0.1)


def test_a_thousand_parameters_simulate():
    run = lf.simulate(amplifying_rnn(250), 300, seed=0)
    assert run.valid.all()
