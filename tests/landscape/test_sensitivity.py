"""Hessians, eigenvalues and directions against closed forms and finite differences."""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pytest
from closed_forms import (
    TABLE,
    UNIT,
    Banana,
    ClosedForm,
    Cusp,
    Rising,
    normal,
    uniform_prior,
)

import lanternfish as lf
from lanternfish.landscape import Mode, conditional_mode, sensitivity
from lanternfish.landscape.sensitivity import derivatives, prior_widths

FLOAT32 = 2e-3  # relative to the largest entry: a mode found in float32, differentiated in it


def test_hessian_at_each_mode(closed_form):
    for i, theta in enumerate(closed_form.modes()):
        widths = np.sqrt(1 / np.abs(np.diag(closed_form.hessian(i))))
        exact = closed_form.hessian(i) * np.outer(widths, widths)
        found = derivatives(closed_form, theta, widths)[1]
        np.testing.assert_allclose(found, exact, atol=FLOAT32 * np.abs(exact).max())


def test_hessian_against_finite_differences_off_the_mode():
    posterior, theta, step = TABLE["banana"], np.array([0.8, -0.5]), 1e-2
    rows = [posterior.gradient(theta + s * step * e)[0] for e in np.eye(2) for s in (1, -1)]
    numeric = np.array([(a - b) / (2 * step) for a, b in zip(rows[::2], rows[1::2], strict=True)])
    slope, found = derivatives(posterior, theta, np.ones(2))
    np.testing.assert_allclose(found, posterior.hessian_at(*theta), rtol=1e-4)
    np.testing.assert_allclose(found, numeric, rtol=5e-3, atol=0.05)
    np.testing.assert_allclose(slope, posterior.gradient(theta)[0], rtol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 31])
def test_directions_of_a_normal(d):
    """In units where the parameters are alike: eigenvalues are those of the precision."""
    posterior = normal(d)
    found = sensitivity(posterior, posterior.means[0])
    scaled = posterior.covariances[0] / np.outer(found.widths, found.widths)
    exact = -1 / np.linalg.eigvalsh(scaled)
    np.testing.assert_allclose(found.eigenvalues, exact, rtol=FLOAT32)
    np.testing.assert_allclose(found.lengths, np.linalg.eigvalsh(scaled) ** 0.5, rtol=FLOAT32)
    assert np.all(np.diff(found.eigenvalues) >= 0)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(d), atol=1e-9)
    largest = np.abs(found.vectors).argmax(axis=1)
    assert np.all(found.vectors[np.arange(d), largest] > 0)


def test_half_a_nat_is_lost_over_each_length():
    posterior = normal(31)
    found = sensitivity(posterior, posterior.means[0])
    ends = found.at.array + found.arrows.array
    np.testing.assert_allclose(found.log_density - posterior.log_prob(ends), 0.5, rtol=1e-2)
    steps = found.lengths[:, None] * found.directions.array
    np.testing.assert_allclose(found.arrows.array, steps)


def test_units_change_the_directions_and_the_prior_does_not():
    """The same normal in uS instead of mS: by the prior's widths nothing changes."""
    first = normal(2)
    factor = np.array([1_000.0, 1.0])
    prior = uniform_prior(first.prior.low * factor, first.prior.high * factor)
    covariance = first.covariances * np.outer(factor, factor)
    second = type(first)(prior, first.means * factor, covariance, first.shares)
    one, two = (sensitivity(p, p.means[0]) for p in (first, second))
    np.testing.assert_allclose(one.eigenvalues, two.eigenvalues, rtol=FLOAT32)
    np.testing.assert_allclose(one.vectors, two.vectors, atol=FLOAT32)
    raw = [sensitivity(p, p.means[0], scale="units") for p in (first, second)]
    assert abs(raw[0].vectors[0] - raw[1].vectors[0]).max() > 0.1
    np.testing.assert_allclose(raw[0].eigenvalues, np.linalg.eigvalsh(first.hessian(0)), rtol=1e-3)


def test_the_sign_follows_a_parameter():
    posterior = normal(31)
    found = sensitivity(posterior, posterior.means[0], positive="g3")
    assert np.all(found.vectors[:, 3] > 0)


def test_the_mode_is_found_where_none_is_given():
    found = sensitivity(TABLE["three normals"])
    np.testing.assert_allclose(found.at.array[0], TABLE["three normals"].means[1], atol=1e-3)
    again = sensitivity(TABLE["three normals"], lf.landscape.modes(TABLE["three normals"])[0])
    assert again.log_density != found.log_density


def test_a_conditional_mode_keeps_all_directions():
    posterior = TABLE["banana"]
    found = sensitivity(posterior, conditional_mode(posterior, {"a": 1.0}), scale="units")
    exact = np.linalg.eigvalsh(posterior.hessian_at(1.0, 0.0))
    np.testing.assert_allclose(found.eigenvalues, exact, rtol=1e-2)
    assert len(found) == 2


def test_parameters_at_a_bound_are_held():
    mode = conditional_mode(Rising(UNIT))
    found = sensitivity(Rising(UNIT), mode)
    assert found.held == ("a",)
    assert len(found) == 1
    np.testing.assert_allclose(found.eigenvalues, [-100], rtol=1e-3)
    np.testing.assert_array_equal(found.vectors, [[0, 1]])
    assert found.slope[0] == pytest.approx(5, rel=1e-3)
    assert "held at the prior's bound: a" in repr(found)


def test_a_saddle_is_said():
    posterior = Banana(uniform_prior([-6, -60], [6, 60]))
    assert "(rises)" in repr(sensitivity(posterior, [0.0, 30.0]))
    assert "(rises)" not in repr(sensitivity(posterior, [0.0, -2.0]))


def test_the_text_of_a_sensitivity():
    two = repr(sensitivity(normal(2), normal(2).means[0]))
    assert "v1 stiffest" in two
    assert "in widths of the prior" in two
    many = repr(sensitivity(normal(31), normal(31).means[0], scale="units"))
    assert "and 23 between them" in many
    assert "27 more parameters" in many


def test_widths_of_a_prior_without_bounds():
    prior = lf.Prior(a=lf.Normal(0, 2), b=lf.Uniform(-1, 2))
    widths = prior_widths(prior)
    assert widths[0] == pytest.approx(2 * 2 * 1.96, rel=0.05)  # 4,096 draws
    assert widths[1] == 3


class Kinked(ClosedForm):
    """Not finite beyond a = 0.5, as where simulations are never valid."""

    def sample(self, n, seed=0):
        return self.table(np.random.default_rng(seed).random((n, 2)) / 2)

    def log_density(self, theta):
        import jax.numpy as jnp

        return jnp.sqrt(0.5 - theta[0]) - theta[1] ** 2


MODE = Mode(lf.Table([[0.5, 0.2]], UNIT.columns), 0.0)
WRONG = {
    "no posterior": (lambda: sensitivity(UNIT), "got Prior"),
    "scale": (lambda: sensitivity(normal(2), scale="log"), "got 'log'"),
    "positive": (lambda: sensitivity(normal(2), positive="z"), "got 'z'"),
    "outside": (lambda: sensitivity(Rising(UNIT), [0.5, 2]), "b between 0 and 1.+got 2 in row 0"),
    "shape": (lambda: sensitivity(normal(2), np.zeros(3)), r"got \(3,\)"),
    "several": (lambda: sensitivity(Rising(UNIT), np.full((2, 2), 0.5)), "got 2 rows"),
    "unknown name": (lambda: sensitivity(Rising(UNIT), {"a": 0.5, "z": 1}), "b missing"),
    "corner": (lambda: sensitivity(Rising(UNIT), [1, 0]), "every parameter at a bound"),
    "cusp on the bound": (lambda: sensitivity(Cusp(UNIT), [1.0, 0.5]), "none for b at a = 1"),
    "no density": (lambda: sensitivity(Kinked(UNIT), MODE), "none for a"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    call, told = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=rf"^Expected [^\n]*{told}[^\n]*\.$"):
        call()


@dataclass(frozen=True)
class Rippled(ClosedForm):
    """A normal, times ripples that are finer than it and 50 times as curved."""

    fine: float = 60.0

    def sample(self, n, seed=0):
        return normal(2).sample(n, seed)

    def log_density(self, theta):
        there = normal(2)
        scale = np.sqrt(np.diag(there.covariances[0]))
        phase = self.fine * (theta - there.means[0]) / scale
        return there.log_density(theta) + 0.02 * jnp.sum(jnp.cos(phase))


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("reach", [0.3, 1.0])
def test_a_neighbourhood_of_a_normal_is_as_its_middle(d, reach):
    posterior = normal(d)
    exact = sensitivity(posterior, posterior.means[0])
    found = sensitivity(posterior, posterior.means[0], reach=reach)
    np.testing.assert_allclose(found.eigenvalues, exact.eigenvalues, rtol=0.02)
    np.testing.assert_allclose(found.slope, 0, atol=0.05 * np.abs(exact.eigenvalues).max() ** 0.5)
    assert found.reach == reach
    assert f"over {reach:g} lengths" in repr(found)


def test_ripples_change_the_point_and_not_its_neighbourhood():
    smooth = normal(2)
    rippled = Rippled(smooth.prior)
    exact = sensitivity(smooth, smooth.means[0]).eigenvalues
    at_the_point = sensitivity(rippled, smooth.means[0]).eigenvalues
    around = sensitivity(rippled, smooth.means[0], reach=0.5).eigenvalues
    assert np.all(at_the_point / exact > 10)
    np.testing.assert_allclose(around, exact, rtol=0.1)


def test_a_neighbourhood_at_a_bound_holds_what_is_there():
    posterior = normal(2)
    corner = np.array([posterior.prior.low[0], posterior.means[0][1]])
    found = sensitivity(posterior, corner, reach=0.5)
    assert found.held == (posterior.prior.names[0],)
    assert len(found) == 1


def test_a_neighbourhood_beside_many_bounds():
    """Of 12 parameters each is a tenth of its sd from a bound: hardly a first point is inside."""
    wide, d = normal(12), 12
    sd = np.sqrt(np.diag(wide.covariances[0]))
    middle = wide.means[0]
    narrow = replace(wide, prior=uniform_prior(middle - 0.1 * sd, middle + 60 * sd))
    found = sensitivity(narrow, middle, reach=1.0)
    np.testing.assert_allclose(
        found.eigenvalues, sensitivity(narrow, middle).eigenvalues, rtol=0.05
    )
    assert len(found) == d


def test_a_reach_that_is_none():
    posterior = normal(2)
    with pytest.raises(ValueError, match="reach of 0 or more"):
        sensitivity(posterior, posterior.means[0], reach=-1.0)
