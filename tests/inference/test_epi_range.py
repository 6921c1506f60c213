"""EPI over a range of properties: one run, any of them, against optima by quadrature; bad input."""

import numpy as np
import pytest
from exponential_family import grid, largest_entropy

import lanternfish as lf
from lanternfish.core import Folder
from lanternfish.inference.epi import Loop, Span
from lanternfish.inference.epi import posterior as epi_posterior


def bent(theta, key):
    """x = a, and y = b^2, which has two branches."""
    return {"x": theta["a"], "y": theta["b"] ** 2}


PRIOR = lf.Prior(a=lf.Uniform(0, 4, unit="nS"), b=lf.Uniform(-2, 2))
MODEL = lf.Model(PRIOR, lf.JaxSimulator(bent, ("x", "y")), name="bent")
RANGE = lf.PropertyRange("bent", x=((0.8, 2.8), 0.4), y=(1.5, 0.4))
QUICK = Loop(batch=128, rate=4e-3, tighten=2_000, polish=1_500)
METHOD = lf.EPI(loop=QUICK, push=lf.flows.Push(layers=3, width=24, bins=8), samples=8_000)


def exact_entropy(mean):
    a, cell_a = grid(0, 4)
    b, cell_b = grid(-2, 2)
    return largest_entropy((a[:, None] - mean) / 0.4, cell_a) + largest_entropy(
        (b[:, None] ** 2 - 1.5) / 0.4, cell_b
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("range")
    return lf.infer(MODEL, RANGE, METHOD, seed=0, store=folder, progress=False), folder


@pytest.mark.slow
def test_all_properties_that_were_judged_have_converged(kept):
    found = kept[0].checks["convergence"]
    assert found["passed"], found["sentence"]
    means = [point["means"]["x"] for point in found["points"]]
    assert means == pytest.approx([1.8, 1.3, 2.3, 0.8, 2.8])
    assert "Converged at all 5 properties that were judged, x from 0.8 to 2.8" in found["sentence"]


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.8, 1.05, 1.8, 2.65])
def test_any_property_of_the_range_is_had_at_once(kept, mean):
    """Also those that nobody judged, between the knots."""
    posterior = kept[0].posterior.at(RANGE.at(x=mean))
    samples = posterior.sample(20_000, seed=4)
    for values, (wanted, sd) in ((samples["a"], (mean, 0.4)), (samples["b"] ** 2, (1.5, 0.4))):
        assert values.mean() == pytest.approx(wanted, abs=0.06 * sd)
        assert values.std() == pytest.approx(sd, rel=0.06)
    assert np.mean(samples["b"] > 0) == pytest.approx(0.5, abs=0.08)
    entropy = -posterior.log_prob(samples).mean()
    assert exact_entropy(mean) - 0.12 < entropy < exact_entropy(mean) + 0.04


@pytest.mark.slow
def test_the_run_s_posterior_is_that_of_the_middle(kept):
    run = kept[0]
    assert run.posterior.target == RANGE.middle
    assert run.posterior.target["x"].mean == pytest.approx(1.8)
    assert run.posterior.at(RANGE.middle) is run.posterior
    assert run.checks["entropy"]["low"] < exact_entropy(1.8) < run.checks["entropy"]["high"]
    assert np.isnan(run.posterior.at(RANGE.at(x=1.0)).entropy)


@pytest.mark.slow
def test_a_posterior_of_a_range_is_read_back(kept):
    run, folder = kept
    again = epi_posterior.read(Folder(str(folder)))
    assert again.range == RANGE
    one, other = (p.at(RANGE.at(x=1.1)).sample(50).array for p in (again, run.posterior))
    assert np.array_equal(one, other)


@pytest.mark.slow
def test_other_properties_are_refused(kept):
    posterior = kept[0].posterior
    with pytest.raises(ValueError, match=r"^Expected a mean of x from 0.8 to 2.8.*got 3"):
        posterior.at(lf.EmergentProperty(x=(3.0, 0.4), y=(1.5, 0.4)))
    for wrong in ({"x": (1.0, 0.5), "y": (1.5, 0.4)}, {"x": (1.0, 0.4), "y": (1.0, 0.4)}):
        with pytest.raises(ValueError, match=r"^Expected a property of the range"):
            posterior.at(lf.EmergentProperty(**wrong))


def test_a_range_by_itself():
    assert RANGE.at(x=1.0) == lf.EmergentProperty(x=(1.0, 0.4), y=(1.5, 0.4))
    assert RANGE.middle != RANGE
    assert lf.PropertyRange.from_plain(RANGE.as_plain(), "bent") == RANGE
    assert lf.EmergentProperty.from_plain(RANGE.as_plain(), "bent") == RANGE
    np.testing.assert_allclose(RANGE.place({"x": 2.3, "y": 1.5}), [0.5])
    assert repr(RANGE) == "PropertyRange(x=0.8 to 2.8 ± 0.4, y=1.5 ± 0.4)"


@pytest.mark.parametrize(
    ("moments", "words"),
    [
        ({"x": (1, 0.4)}, r"^Expected an interval for some mean.* got none"),
        ({"x": ((2, 1), 0.4)}, r"^Expected an interval of means from low to high for x"),
        ({"x": ((1, 2, 3), 0.4)}, r"^Expected an interval of means from low to high for x"),
        ({"x": ((1, 2), 0.0)}, r"^Expected a standard deviation above 0 for x"),
    ],
)
def test_ranges_that_are_none(moments, words):
    with pytest.raises(ValueError, match=words):
        lf.PropertyRange(**moments)


def test_means_that_have_no_interval():
    with pytest.raises(ValueError, match=r"^Expected means of x, which have an interval; got y"):
        RANGE.at(y=1.0)


def test_who_takes_no_range():
    with pytest.raises(TypeError, match=r"^Expected EPI for a range of properties; got SMC"):
        lf.infer(MODEL, RANGE, lf.SMC(simulations=100), progress=False)
    slow = lf.Model(PRIOR, lf.PythonSimulator(lambda theta, rng: [1.0, 2.0], ("x", "y")))
    with pytest.raises(ValueError, match=r"^Expected a JaxSimulator for a range of properties"):
        lf.infer(slow, RANGE, METHOD, progress=False)


def test_interpolation_between_knots():
    """Shares of knots sum to 1, and give back any function that is linear."""
    two = Span(lf.PropertyRange(x=((0, 2), 0.5), y=((1, 3), 0.25), z=(0, 1)))
    knots = two.grid()
    assert knots.shape == (16, 2)
    for c in np.random.default_rng(0).uniform(-1, 1, (20, 2)):
        shares = np.asarray(two.weights(c))
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(shares @ knots, c, atol=1e-5)
        np.testing.assert_allclose(two.away(c), [2 * c[0], 4 * c[1], 0], rtol=1e-5)
    with pytest.raises(ValueError, match=r"^Expected intervals for at most 3 means at once; got 4"):
        Span(lf.PropertyRange(**dict.fromkeys("abcd", ((0, 1), 1))))


def test_a_property_alone_is_one_knot():
    alone = Span(RANGE.middle)
    assert alone.dim == 0
    assert alone.grid().shape == alone.judged().shape == (1, 0)
    assert np.asarray(alone.weights(np.zeros(0))).tolist() == [1.0]
    assert np.asarray(alone.away(np.zeros(0))).tolist() == [0.0, 0.0]


def test_a_tilt_at_c_is_one_at_the_middle():
    """eta . T_c and the tilt of the middle's T differ by a constant."""
    span = Span(RANGE)
    eta, away = np.array([[0.3, -0.2], [-0.5, -0.7]]), np.asarray(span.away(np.array([0.6])))
    u = np.random.default_rng(1).normal(size=(50, 2))
    there = (u - away) @ eta[0] + (u - away) ** 2 @ eta[1]
    here = np.asarray(span.to_middle(eta, away))
    apart = there - (u @ here[0] + u**2 @ here[1])
    np.testing.assert_allclose(apart, apart[0], atol=1e-4)
