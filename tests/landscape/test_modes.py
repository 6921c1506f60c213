"""Modes, shares and conditional modes against closed forms."""

import numpy as np
import pytest
from closed_forms import TABLE, UNIT, Banana, Mixture, Rising, normal, three, uniform_prior

import lanternfish as lf
from lanternfish.landscape import conditional_mode, conditional_modes, modes
from lanternfish.landscape.ascent import newton

ARRIVED = 5e-3  # of a posterior standard deviation: slope 1e-3 over the least curvature, float32


def distances(found, posterior):
    """From each known mode to the nearest found, in standard deviations of the samples."""
    spread = found.samples.array.std(axis=0)
    away = np.abs(posterior.modes()[:, None] - found.theta.array) / spread
    return away.max(axis=2).min(axis=1), away.max(axis=2).argmin(axis=1)


def test_every_mode_is_found_once(closed_form, found):
    away, place = distances(found, closed_form)
    assert len(found) == len(closed_form.modes()) == len(set(place))
    assert away.max() < ARRIVED
    assert found.converged.all()
    assert not any(found.on_bound)
    exact = closed_form.log_prob(closed_form.modes())
    np.testing.assert_allclose(found.log_density[place], exact, atol=1e-3, rtol=1e-5)


def test_shares_are_those_of_the_samples(closed_form, found):
    """Components lie ten widths apart, so a sample belongs to the one it came from."""
    label = np.zeros(len(found.samples), int)
    if isinstance(closed_form, Mixture):
        away = found.samples.array[:, None] - closed_form.means
        precisions = np.linalg.inv(closed_form.covariances)
        label = np.einsum("nki,kij,nkj->nk", away, precisions, away).argmin(axis=1)
    place = distances(found, closed_form)[1]
    np.testing.assert_array_equal(found.label, place[label])
    assert found.share.sum() == pytest.approx(1)
    assert np.all(np.diff(found.share) <= 0)
    n = len(found.samples)
    np.testing.assert_allclose(found.error, np.sqrt(found.share * (1 - found.share) / n))
    assert sum(len(found.members(i)) for i in range(len(found))) == n


def test_the_same_seed_gives_the_same_modes():
    first, second = (modes(TABLE["three normals"], samples=60, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.theta.array, second.theta.array)
    np.testing.assert_array_equal(first.label, second.label)


def test_the_nearest_mode():
    posterior = three(2)
    near = modes(posterior, samples=300, by="nearest", seed=1)
    np.testing.assert_array_equal(near.label, modes(posterior, samples=300, seed=1).label)


@pytest.mark.parametrize(("gap", "count"), [(2.4, 1), (3.0, 1), (4.0, 2)])
def test_a_shallow_valley_parts_nothing(gap, count):
    """Two unit normals this far apart: the dip is 0.04, 0.44 and 1.31 nats deep."""
    means = np.array([[-gap / 2], [gap / 2]])
    prior = uniform_prior([-20], [20])
    posterior = Mixture(prior, means, np.ones((2, 1, 1)), np.array([0.5, 0.5]))
    assert len(modes(posterior, samples=80)) == count
    assert len(modes(posterior, samples=80, valley=0)) == 2


def test_a_ring_with_ripples_is_one_regime():
    """Bumps on a thin circle, 0.4 nats deep between; straight lines between them leave it."""
    angle = np.arange(12) * np.pi / 6
    out = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = np.stack([-out[:, 1], out[:, 0]], axis=1)
    covariances = 0.09 * out[:, :, None] * out[:, None] + 1.2 * along[:, :, None] * along[:, None]
    prior = uniform_prior([-9, -9], [9, 9])
    posterior = Mixture(prior, 5 * out, covariances, np.tile([0.4, 0.6], 6) / 6)
    assert len(modes(posterior, samples=200)) == 1
    assert len(modes(posterior, samples=200, valley=0.01)) > 3


def test_a_density_that_rises_to_the_bound():
    found = modes(Rising(UNIT), samples=40)
    assert len(found) == 1
    assert found.on_bound == (("a",),)
    np.testing.assert_allclose(found.theta.array, [[1.0, 0.5]], atol=1e-3)
    assert "*" in repr(found)
    assert "a" in repr(found[0]).split("bound of ")[1]


def test_the_text_of_modes():
    told = repr(modes(TABLE["three normals"], samples=300, seed=1))
    assert told.startswith("Modes: 3 of the posterior, by 300 samples\n")
    assert "a (mS/cm2)" in told
    assert len({len(line) for line in told.splitlines()[1:]}) == 1  # aligned


def test_conditional_mode_of_a_normal():
    """theta_2 given theta_1: m_2 + C_21 / C_11 (theta_1 - m_1)."""
    posterior = normal(31)
    c, m = posterior.covariances[0], posterior.means[0]
    names = posterior.prior.names
    sd = np.sqrt(np.diag(c))
    fixed = {names[0]: m[0] + sd[0], names[7]: m[7] - sd[7]}
    found = conditional_mode(posterior, fixed)
    held, free = [0, 7], np.setdiff1d(np.arange(31), [0, 7])
    move = np.linalg.solve(c[np.ix_(held, held)], [sd[0], -sd[7]])
    expected = m[free] + c[np.ix_(free, held)] @ move
    np.testing.assert_allclose((found.theta.array[0, free] - expected) / sd[free], 0, atol=ARRIVED)
    assert found.theta.array[0, held].tolist() == list(fixed.values())
    assert found.fixed == (names[0], names[7])
    assert f"given {names[0]}, {names[7]}" in repr(found)


def test_no_fixed_parameter_gives_the_highest_mode():
    posterior = three(2)
    found = conditional_mode(posterior)
    np.testing.assert_allclose(found.theta.array[0], posterior.means[1], atol=1e-3)


def test_start_chooses_the_regime():
    posterior = three(2)
    found = conditional_mode(posterior, start={"a": -9.5, "b": 0.3})
    np.testing.assert_allclose(found.theta.array[0], posterior.means[0], atol=1e-3)


def test_conditional_modes_follow_a_bent_ridge():
    """Given a, the mode of the banana is b = bend (a^2 - 1)."""
    values = np.linspace(-1.5, 1.5, 7)
    found = conditional_modes(TABLE["banana"], "a", values)
    np.testing.assert_array_equal(found.theta["a"], values)
    np.testing.assert_allclose(found.theta["b"], 2 * (values**2 - 1), atol=5e-3)
    assert len(found) == len(list(found)) == 7
    assert found[2].fixed == ("a",)
    assert repr(found).startswith("ModePath: 7 modes given a from -1.5 to 1.5")


def test_newton_step_of_a_quadratic(seed):
    """With as many pairs as dimensions along conjugate directions the step is Newton's own."""
    d = 4
    root = np.random.default_rng(seed).normal(size=(d, d))
    curvature = root @ root.T + np.eye(d)
    moves = np.linalg.eigh(curvature)[1].T
    slope = np.ones((1, d))
    step = newton(slope, moves[None], (moves @ curvature)[None])
    np.testing.assert_allclose(step[0], np.linalg.solve(curvature, slope[0]), rtol=1e-9)


class Nowhere(Rising):
    def log_density(self, theta):
        return -np.inf * theta[0] ** 0


B = Banana(uniform_prior([-6, -6], [6, 60]))
WRONG = {
    "no posterior": (lambda: modes(B.sample(10)), "Posterior; got Table"),
    "by": (lambda: modes(B, by="share"), "'share'"),
    "samples": (lambda: modes(B, samples=1), "got 1"),
    "valley": (lambda: modes(B, valley=-1), "got -1"),
    "no density": (lambda: modes(Nowhere(UNIT), samples=20), "got none in 20 samples"),
    "unknown": (lambda: conditional_mode(B, {"z": 1}), "got z"),
    "outside": (lambda: conditional_mode(B, {"a": 7}), "a between -6 and 6.+got 7"),
    "NaN": (lambda: conditional_mode(B, {"a": np.nan}), "got nan"),
    "all fixed": (lambda: conditional_mode(B, {"a": 0, "b": 0}), "got all 2 fixed"),
    "start outside": (lambda: conditional_mode(B, start=[0, 61]), "b between.+got 61"),
    "start of wrong shape": (lambda: conditional_mode(B, start=[0]), r"got \(1,\)"),
    "several starts": (lambda: conditional_mode(B, start=np.zeros((2, 2))), "got 2 rows"),
    "no values": (lambda: conditional_modes(B, "a", []), "got shape"),
    "one value outside": (lambda: conditional_modes(B, "a", [0, 9]), "got 9"),
    "unknown on a path": (lambda: conditional_modes(B, "z", [0]), "got z"),
    "no density there": (lambda: conditional_mode(Nowhere(UNIT), {"a": 0.1}), "got none at any"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    call, told = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=rf"^Expected [^\n]*{told}[^\n]*\.$"):
        call()


def test_the_room_is_public():
    assert lf.landscape.modes is modes
