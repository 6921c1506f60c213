"""What a step of EPI aims at in many dimensions, where importance weights say nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.inference.epi.dual import Spread, natural_of_driven, own, tilted
from lanternfish.inference.epi.objective import Draws, aim, drives, objective_of_many
from lanternfish.inference.epi.problem import Problem

PRIOR = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1))


def spread(mean, variance):
    return Spread(jnp.array([mean]), jnp.array([[variance]]), jnp.array([variance]))


def test_the_penalty_does_not_slacken_three_deviations_away():
    """A third as far, a third as strong; of few dimensions it is as strong from one on."""
    none = jnp.zeros((2, 1))
    far, near = (float(aim(none, spread(m, 1.0), many=True)[0, 0]) for m in (3.0, 1.0))
    assert far == pytest.approx(3 * near, rel=0.01)
    far, near = (float(aim(none, spread(m, 1.0))[0, 0]) for m in (3.0, 1.0))
    assert far == pytest.approx(near, rel=0.01)


def test_what_widens_a_statistic_acts_about_no_mean():
    """Of a square below zero, it is about the mean; and the part of it that is above acts alone."""
    step, mean = (jnp.array([0.5]), jnp.array([2.0])), jnp.array([0.25])

    def moved(square):
        found = tilted(jnp.array([[0.0], [square]]), step, mean, 1.0, driven=True)
        return np.asarray(found)[:, 0]

    assert moved(-9.0) == pytest.approx([0.5 - 2 * 0.25 * 2, -7.0])
    assert moved(-1.0) == pytest.approx([0.5 - 2 * 0.25 * 1, 1.0])
    assert moved(9.0) == pytest.approx([0.5, 11.0])


class Shifted:
    """Noise whose first coordinate is shifted: by a number, and by what drives it."""

    dim = 2

    def __init__(self, by):
        self.by = by

    def forward(self, noise):
        along = self.by[0] + self.by[1] * drives(noise, 1)[:, 0]
        return noise.at[0].add(along), jnp.zeros(noise.shape[1])

    def log_prob(self, points):
        """Of points without finite statistics, of which there are none."""
        return jnp.zeros(points.shape[1])


def test_a_step_widens_a_statistic_by_what_noise_tells():
    """In place of a pull that grows with the distance, one along the drive, sqrt(2 eta_2) times."""
    model = lf.Model(PRIOR, lf.JaxSimulator(lambda t, key: {"x": t["a"]}, ("x",)))
    problem = Problem(model, lf.EmergentProperty(x=(0.0, 1.0)), 1, "prior")
    noise = jax.random.normal(jax.random.key(0), (2, 4_000))
    draws = Draws(noise, noise[:, :8], jax.random.key(1))

    def slope(square):
        loss = lambda by: objective_of_many(Shifted(by), problem, eta, draws)[0]  # noqa: E731
        eta = jnp.array([[0.0], [square]])
        return np.asarray(jax.grad(loss)(jnp.zeros(2)))

    change = slope(8.0) - slope(0.0)
    drive = np.asarray(drives(noise, 1))[:, 0]
    assert change == pytest.approx([-4 * drive.mean(), -4 * (drive**2).mean()], rel=1e-3)


@pytest.mark.parametrize("square", [-2.0, 0.0, 0.5, 60.0])
def test_what_a_statistic_varies_beside_what_drives_it(square):
    """Of variance 0.1 by itself, in the moments of draws whose mean is what drives them."""
    rng = np.random.default_rng(0)
    driven = np.sqrt(2 * max(square, 0.0)) * 0.1 * rng.normal(size=400_000)
    u = driven + np.sqrt(0.1) * rng.normal(size=400_000)
    found = own(spread(0.0, float(u.var())), jnp.array([square]))
    assert float(found.covariance[0, 0]) == pytest.approx(0.1, rel=0.01)
    assert float(found.variance[0]) == pytest.approx(u.var())


def test_a_driven_statistic_is_narrowed_at_once_and_widened_slowly():
    """Nine tenths of a variance of 1 are driven: what narrows it is that much stronger."""
    square = jnp.array([45.0])  # of 0.1: 0.1 + 2 x 45 x 0.1^2 = 1

    def step(variance):
        found = natural_of_driven(spread(0.2, variance), square, 100.0, 0.01, 100.0)
        return [float(part[0]) for part in found[:2]]

    (mean, wider), (_, narrower) = step(0.9), step(1.1)
    own_variance = float(own(spread(0.0, 0.9), square).covariance[0, 0])
    assert mean == pytest.approx(-0.2 / own_variance, rel=0.01)
    assert wider == pytest.approx(0.1 / (2 * 0.9**2), rel=0.01)
    assert narrower < -5 * wider


def test_what_drives_is_independent_and_nearly_normal():
    found = np.asarray(drives(jax.random.normal(jax.random.key(2), (100, 20_000)), 3))
    assert found.shape == (20_000, 3)
    assert np.corrcoef(found.T) == pytest.approx(np.eye(3), abs=0.12)
    assert np.abs(found.mean(axis=0)).max() < 0.03
    assert found.std(axis=0) == pytest.approx(1, abs=0.05)
