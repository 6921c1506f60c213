"""Scales, ticks and smooth densities against closed forms."""

import numpy as np
import pytest
from scipy import stats

from lanternfish.core import LogUniform, Normal, Prior, Uniform
from lanternfish.plot import densities
from lanternfish.plot.scales import Scale, number_text, number_texts, scale_of
from lanternfish.plot.style import unit_text

N = 20_000
SMOOTH = 0.15  # relative: bias of Silverman's width and noise of 20,000 samples, at the mode
SCALES = [Scale(0, 1), Scale(-80, -40), Scale(1e-12, 3e-12), Scale(1e6, 1e6 + 10)]
SCALES += [Scale(-1e12, 1e12), Scale(1e-3, 1e3, log=True), Scale(2, 5, log=True)]
SCALES += [Scale(1e-12, 1e12, log=True), Scale(5, 5 + 1e-6)]


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_scale_round_trip(scale):
    unit = np.linspace(0, 1, 11)
    np.testing.assert_allclose(scale.to_unit(scale.to_values(unit)), unit, atol=1e-6)
    step = 1e-5
    slope = (scale.to_values(0.5 + step) - scale.to_values(0.5 - step)) / (2 * step)
    np.testing.assert_allclose(scale.slope(0.5), slope, rtol=1e-3)


@pytest.mark.parametrize("scale", SCALES, ids=repr)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_ticks_are_inside_few_and_told_apart(scale, count):
    places, texts = scale.ticks(count)
    assert 2 <= len(places) <= count + 2
    assert len(texts) == len(places) == len(set(texts))
    assert np.all((places > 0) & (places < 1))


def test_numbers_in_words():
    assert number_texts([-80.0, -60.0]) == ["−80", "−60"]
    assert number_texts([0.0, 0.25]) == ["0.00", "0.25"]
    assert number_texts([1e-12, 2e-12]) == [r"$1{\times}10^{-12}$", r"$2{\times}10^{-12}$"]
    assert number_text(1234.5) == "1234"
    assert number_text(-2e-9) == r"$-2.00{\times}10^{-9}$"


def test_units_as_printed():
    assert unit_text("mS/cm2") == "mS/cm²"
    assert unit_text("uA/cm2") == "µA/cm²"
    assert unit_text("s-1") == "s⁻¹"
    assert unit_text("ms") == "ms"
    assert unit_text("") == ""


def test_limits():
    prior = Prior(u=Uniform(0, 10), g=LogUniform(0.1, 10), n=Normal(0, 1))
    some = [np.array([4.0, 5.0])]
    assert scale_of(some, prior, "u", "prior") == Scale(0, 10, closed=True)
    near = scale_of(some, prior, "u", "samples")
    assert 3.9 < near.low < 4 < 5 < near.high < 5.1
    assert scale_of(some, prior, "g", "prior") == Scale(0.1, 10, log=True, closed=True)
    wide = scale_of([np.array([0.0, 9.0])], prior, "n", "prior")
    assert -4 < wide.low < -2
    assert wide.high == 9
    whole = scale_of([np.array([0.0, 10.0])], prior, "u", "samples")
    assert whole == Scale(0, 10, closed=True)
    assert not near.closed
    constant = scale_of([np.full(3, 5.0)], None, "u", "prior")
    assert constant.low < 5 < constant.high


def test_marginal_density_of_a_normal(seed):
    unit = stats.norm(0.5, 0.1).rvs(N, random_state=seed)
    found = densities.marginal(unit)
    assert found.mean() == pytest.approx(1, abs=1e-3)
    exact = stats.norm(0.5, 0.1).pdf(densities.centres())
    assert np.max(np.abs(found - exact)) < SMOOTH * exact.max()


def test_two_modes_stay_two(seed):
    rng = np.random.default_rng(seed)
    parts = stats.norm(0.25, 0.03), stats.norm(0.75, 0.05)
    unit = np.concatenate([part.rvs(N // 2, random_state=rng) for part in parts])
    exact = sum(part.pdf(densities.centres()) for part in parts) / 2
    assert np.max(np.abs(densities.marginal(unit) - exact)) < SMOOTH * exact.max()


def test_no_mass_leaks_over_a_bound(seed):
    unit = np.random.default_rng(seed).random(N)
    found = densities.marginal(unit)
    assert np.max(np.abs(found - 1)) < SMOOTH
    joint = densities.joint((unit, unit[::-1]), (0.1, 0.1), (True, True), 40)
    assert np.max(np.abs(joint / joint.mean() - 1)) < 3 * SMOOTH


def test_contours_hold_their_mass(seed):
    rng = np.random.default_rng(seed)
    places = 0.5 + 0.1 * rng.normal(size=(2, N))
    widths = tuple(densities.width(p) for p in places)
    density = densities.joint(tuple(places), widths, (True, True), 128)
    middle = densities.centres(128)
    radius = np.hypot(*np.meshgrid(middle - 0.5, middle - 0.5)) / 0.1
    for mass, level in zip((0.9, 0.5), densities.mass_levels(density, (0.9, 0.5)), strict=True):
        area = np.sum(density > level) / 128**2
        exact = np.pi * 0.1**2 * stats.chi2(2).ppf(mass)
        assert area == pytest.approx(exact, rel=SMOOTH)
        assert radius[density > level].max() < 1.4 * np.sqrt(stats.chi2(2).ppf(mass))


def test_prior_density_is_exact():
    prior = Prior(g=LogUniform(0.1, 10))
    found = densities.prior_marginal(prior, "g", Scale(0.1, 10, log=True))
    np.testing.assert_allclose(found, 1, rtol=1e-4)


def test_few_or_constant_samples():
    for unit in (np.array([0.5]), np.full(10, 0.5), np.array([]), np.array([0.0, 1.0])):
        found = densities.marginal(unit)
        assert np.all(np.isfinite(found))
        assert densities.joint((unit, unit), (0.01, 0.01), (True, False), 40).shape == (40, 40)
    assert densities.mass_levels(np.zeros((4, 4)), (0.5,)) == [0.0]
