"""The linear system against NumPy's eigenvalues."""

import jax
import numpy as np

import lanternfish as lf
from lanternfish.models.linear_2d import eigenvalue


def test_eigenvalue_is_numpys():
    entries = np.random.default_rng(0).uniform(-10, 10, (500, 4))
    growth, frequency = (np.asarray(v) for v in eigenvalue(*entries.T))
    values = np.linalg.eigvals(entries.reshape(-1, 2, 2))
    np.testing.assert_allclose(growth, values.real.max(axis=1), atol=1e-3)
    np.testing.assert_allclose(frequency, values.imag.max(axis=1), atol=1e-3)


def test_gradients_are_finite_on_both_sides():
    slope = jax.vmap(jax.grad(lambda a: sum(eigenvalue(*a))))
    entries = np.random.default_rng(1).uniform(-10, 10, (500, 4)).astype(np.float32)
    assert np.isfinite(np.asarray(slope(entries))).all()


def test_the_model_and_its_targets():
    model = lf.models.linear_2d()
    sims = lf.simulate(model, 100, seed=0, progress=False)
    assert sims.valid.all()
    assert [c.unit for c in model.statistics] == ["1/s", "rad/s"]
    assert model.targets["oscillation"]["angular_frequency"].mean == 2 * np.pi
