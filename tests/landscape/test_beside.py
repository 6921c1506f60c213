"""Two posteriors beside each other, against what is known of two normal distributions."""

import numpy as np
import pytest
from closed_forms import Mixture
from scipy.stats import chi2, norm

import lanternfish as lf
from lanternfish.landscape import beside

PRIOR = lf.Prior(a=lf.Uniform(-30, 30, unit="nS"), b=lf.Uniform(-30, 30))
MODEL = lf.Model(
    PRIOR,
    lf.BatchSimulator(lambda theta, seeds: np.stack([theta[:, 0], theta.sum(1)], 1), ["x", "y"]),
    name="sums",
)
N = 20_000


def normal(mean, sd):
    return Mixture(PRIOR, np.array([mean]), sd**2 * np.eye(2)[None], np.ones(1))


@pytest.fixture(scope="module")
def found():
    """N(0, I) and N((1, 0), 4 I)."""
    pair = normal([0.0, 0.0], 1.0), normal([1.0, 0.0], 2.0)
    return beside(*pair, MODEL, names=("narrow", "wide"), n=N, seed=1)


def within(number, exact):
    return abs(number.value - exact) < 4 * number.error + 1e-3


def test_entropies_and_divergences(found):
    narrow, wide = found.sides
    entropy = np.log(2 * np.pi * np.e)
    assert within(narrow.entropy, entropy)
    assert within(wide.entropy, entropy + 2 * np.log(2))
    assert within(narrow.divergence, 2 * np.log(2) + (2 + 1) / 8 - 1)
    assert within(wide.divergence, -2 * np.log(2) + (8 + 1) / 2 - 1)


def test_overlap_is_that_of_quadrature(found):
    x = np.linspace(-12, 12, 1_201)
    a = norm.pdf(x)[:, None] * norm.pdf(x)
    b = norm.pdf(x, 1, 2)[:, None] * norm.pdf(x, 0, 2)
    exact = np.minimum(a, b).sum() * (x[1] - x[0]) ** 2
    assert within(found.overlap, exact)
    assert found.overlap.error < 0.01


def test_shares_inside_the_other_s_region(found):
    """The disc of radius sqrt(chi2) around 0, or twice that around (1, 0)."""
    radius = np.sqrt(chi2.ppf(0.99, 2))
    draws = np.random.default_rng(0).normal(size=(2_000_000, 2))
    inside = np.mean(np.hypot(draws[:, 0] - 1, draws[:, 1]) < 2 * radius)
    other = np.mean(np.hypot(1 + 2 * draws[:, 0], 2 * draws[:, 1]) < radius)
    narrow, wide = found.sides
    assert narrow.inside.value == pytest.approx(inside, abs=0.01)
    assert wide.inside.value == pytest.approx(other, abs=0.02)


def test_predictions_and_words(found):
    narrow, wide = found.sides
    np.testing.assert_allclose(narrow.mean, [0, 0], atol=0.05)
    np.testing.assert_allclose(wide.sd, [2, 2 * np.sqrt(2)], rtol=0.03)
    assert narrow.valid == wide.valid == 1
    more = wide.entropy.value - narrow.entropy.value
    assert f"wide has {more:.2f} nats more entropy" in found.sentence
    assert "differ: " in found.sentence


def test_the_same_twice_says_the_same():
    one = normal([0.0, 0.0], 1.0)
    same = beside(one, one, MODEL, n=2_000)
    assert same.overlap.value == pytest.approx(1)
    assert same.sides[0].divergence.value == 0
    assert same.sentence.startswith("first and second say the same: 100 %")


def test_two_that_never_meet():
    apart = beside(normal([-20.0, 0], 0.5), normal([20.0, 0], 0.5), MODEL, n=500)
    assert apart.overlap.value < 1e-6
    assert apart.sides[0].inside.value == 0
    assert "differ: 0 % of their mass" in apart.sentence


def test_nothing_valid_is_said():
    broken = lf.Model(PRIOR, lf.BatchSimulator(lambda t, s: np.full((len(t), 1), np.nan), ["x"]))
    one = normal([0.0, 0.0], 1.0)
    found = beside(one, one, broken, n=200)
    assert found.sides[0].valid == 0
    assert np.isnan(found.sides[0].mean).all()


def test_bad_input():
    one = normal([0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match=r"^Expected n of at least 100 samples; got 5"):
        beside(one, one, MODEL, n=5)
    with pytest.raises(ValueError, match=r"^Expected statistics of sums .* got w"):
        beside(one, one, MODEL, statistics=["w"])
    other = lf.Model(lf.Prior(c=lf.Uniform(0, 1)), MODEL.simulator, name="other")
    with pytest.raises(ValueError, match=r"^Expected posteriors over the parameters of other"):
        beside(one, one, other)
