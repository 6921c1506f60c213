"""Exponential families fitted to two moments, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lanternfish.inference import families
from lanternfish.inference.contrast import contrast
from lanternfish.inference.families import Region, exponential

MIX = np.array([[1.0, 0.3], [-0.4, 0.8], [0.5, 0.5]])


def linear_gaussian(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(n, 2))
    return theta, theta @ MIX.T + 0.5 * rng.normal(size=(n, 3))


def test_a_linear_gaussian_model_is_found():
    """l(x, s) - l(x, t) is the difference of log likelihoods."""
    theta, x = linear_gaussian(2_000)
    family = exponential(theta, x, Region(theta), seed=0, steps=60)
    assert family is not None
    some, points = x[:5], np.random.default_rng(1).uniform(-1, 1, (40, 2))
    found = np.array([[float(family.log_prob(a, t)) for t in points] for a in some])
    true = np.array([multivariate_normal.logpdf(points @ MIX.T, a, 0.25) for a in some])
    differences = lambda logs: logs - logs.mean(axis=1, keepdims=True)  # noqa: E731
    error = differences(found) - differences(true)
    assert np.std(error) < 0.1 * np.std(differences(true))


def test_a_generalised_linear_model_is_found():
    """Bernoulli outcomes of a known design: A is a sum of one softplus for each row of it."""
    rng = np.random.default_rng(3)
    design = rng.normal(size=(40, 2))
    theta = 1.5 * rng.normal(size=(3_000, 2))
    chance = 1 / (1 + np.exp(-theta @ design.T))
    x = (rng.uniform(size=chance.shape) < chance) @ design
    family = exponential(theta, x, Region(theta), seed=0, steps=100)
    assert family is not None
    points = np.stack(np.meshgrid(*2 * (np.linspace(-2.5, 2.5, 11),)), axis=-1).reshape(-1, 2)
    true = -np.logaddexp(0, points @ design.T).sum(axis=1)
    for some in x[:3]:
        found = np.array([float(family.log_prob(jnp.asarray(some), t)) for t in points])
        exact = true + points @ some
        likely = exact > exact.max() - 6
        error = (found - exact)[likely]
        assert np.std(error) < 0.15 * np.std(exact[likely])


def test_the_pseudo_likelihood_is_a_normal_one_and_its_slopes_are_right():
    rng = np.random.default_rng(0)
    roots, left = rng.normal(size=(50, 3, 3)), rng.normal(size=(50, 3))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(3)

    def plain(left, covariances):
        solved = jnp.linalg.solve(covariances, left[..., None])[..., 0]
        return jnp.sum(
            0.5 * jnp.sum(left * solved, axis=1) + 0.5 * jnp.linalg.slogdet(covariances)[1]
        )

    of = lambda *args: jnp.sum(families._minus_log_normal(*args))  # noqa: E731
    given = (jnp.asarray(left), jnp.asarray(covariances))
    value, slopes = jax.value_and_grad(of, argnums=(0, 1))(*given)
    exact = [multivariate_normal.logpdf(r, cov=c) for r, c in zip(left, covariances, strict=True)]
    assert value == pytest.approx(-sum(exact) - 75 * np.log(2 * np.pi), rel=1e-5)
    for ours, true in zip(slopes, jax.grad(plain, argnums=(0, 1))(*given), strict=True):
        np.testing.assert_allclose(ours, true, rtol=1e-3, atol=1e-5)


def test_rows_that_pad_do_not_count():
    """Rows are filled up to a whole block by repeating the first ones."""
    theta, x = linear_gaussian(700)
    u, y = theta, x + 1.0
    start = families._Free(
        natural=MIX, mean=np.ones(3), root=np.eye(3), heights=np.zeros(4),
        projections=np.ones((4, 3)), offsets=np.zeros(4),
    )  # fmt: skip
    start = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), start)

    def loss(u, y, real):
        rows = families._Rows(jnp.asarray(u), jnp.asarray(y), jnp.asarray(real), jnp.asarray(1.0))
        return float(families._loss(start, rows)[0])

    alone = loss(u, y, np.ones(700, bool))
    padded = loss(np.resize(u, (2048, 2)), np.resize(y, (2048, 3)), np.arange(2048) < 700)
    assert padded == pytest.approx(alone, rel=1e-5)


def test_too_few_pairs_give_no_family():
    theta, x = linear_gaussian(3_000)
    assert exponential(theta[:100], x[:100], Region(theta), seed=0, steps=30) is None


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scales_of_statistics_do_not_matter(scale):
    theta, x = linear_gaussian(1_500)
    told = []
    for unit in (1.0, scale):
        family = exponential(theta, unit * x, Region(theta), seed=0, steps=30)
        assert family is not None
        told.append(contrast(family, theta, unit * x))
    assert told[0] > 1.5
    assert told[1] == pytest.approx(told[0], abs=0.01)


def test_a_statistic_without_noise_gives_a_number():
    theta, x = linear_gaussian(1_500)
    x = np.c_[x, theta[:, 0]]
    family = exponential(theta, x, Region(theta), seed=0, steps=30)
    assert family is not None
    assert np.isfinite(contrast(family, theta, x))
