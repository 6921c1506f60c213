"""Classes of behaviour: spike trains made to be of one class, information in closed form."""

import numpy as np
import pytest

import lanternfish as lf
from lanternfish import landscape

SIGMAS = 5.0
PERIOD = 100.0


def trains(rng):
    """Spike trains by class: made, not found."""
    bursts = (np.arange(12)[:, None] * PERIOD + np.arange(5) * 6.0).ravel()
    return {
        "silent": [[], [3.0]],
        "tonic": [np.arange(40) * 10.0, np.cumsum(rng.normal(10, 1, 200))],
        "bursting": [bursts, bursts + rng.normal(0, 0.8, bursts.size), bursts[:17]],
        "irregular": [np.cumsum(rng.exponential(10, 300)), [0.0, 5.0], [0.0, 1.0, 50.0]],
    }


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.mark.parametrize("name", ["silent", "tonic", "bursting", "irregular"])
def test_trains_of_a_class_are_found_to_be_of_it(rng, name):
    for times in trains(rng)[name]:
        assert landscape.firing(np.sort(times)) == name


def test_a_class_does_not_depend_on_the_unit_of_time_or_its_beginning(rng):
    for name, made in trains(rng).items():
        for times in made:
            assert landscape.firing(1e-3 * np.sort(times) + 7) == name


def test_traces_are_classified_channel_by_channel():
    time = np.arange(0, 1_000, 0.1)
    tonic = 60 * (np.sin(2 * np.pi * time / 20) > 0.99) - 60.0
    bursting = np.where(time % 200 < 60, tonic, -60.0)
    silent = np.full(time.shape, -55.0)
    traces = lf.Traces(time, np.array([[silent, tonic], [bursting, silent * np.nan]]), ("a", "b"))
    expected = [["silent", "tonic"], ["bursting", "silent"]]
    assert landscape.firing_of(traces).tolist() == expected


def test_spikes_are_found_between_samples():
    """A straight rise from -60 at 1 ms to 40 at 2 ms passes -10 in the middle."""
    assert np.allclose(landscape.spikes([0, 1, 2, 3], [-60, -60, 40, -60]), [1.5])


@pytest.fixture(scope="module")
def quadrants():
    """The label is the sign of a, or of b: c has no say."""
    prior = lf.Prior(a=lf.Uniform(-1, 1), b=lf.Uniform(-1, 1), c=lf.Uniform(-1, 1))
    model = lf.Model(prior, lf.BatchSimulator(lambda theta, seeds: theta[:, :1], ("x",)))
    return lf.simulate(model, 20_000, seed=3)


def test_shares_and_information_in_closed_form(quadrants):
    """P(a > 1/2) = 1/4; a tells all 0.811 bits of it, in 12 bins of which 9 to 12 are above."""
    classes = landscape.classify(quadrants, lambda theta, x: theta["a"] > 0.5)
    assert classes.names == ("False", "True")
    found = classes.shares["True"]
    assert found.low < 0.25 < found.high
    importance = classes.importance()
    entropy = -0.25 * np.log2(0.25) - 0.75 * np.log2(0.75)
    assert importance.entropy == pytest.approx(entropy, abs=0.02)
    assert importance.bits[0] == pytest.approx(entropy, abs=0.03)  # a bin lies on the border
    assert np.all(np.abs(importance.bits[1:]) < SIGMAS * importance.error[1:] + 1e-3)
    assert importance.order[0] == 0
    assert "1 of 3 parameters tell something" in importance.sentence


def test_noisy_information_in_closed_form(quadrants):
    """A label flipped in one case of ten leaves 1 - H(0.1) bits; its error bar holds."""
    flip = np.random.default_rng(2).random(len(quadrants)) < 0.1
    classes = landscape.classify(quadrants, lambda t, x: (t["b"] > 0) ^ flip)
    importance = classes.importance()
    left = 1 + 0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)
    assert abs(importance.bits[1] - left) < SIGMAS * importance.error[1]
    assert 0.001 < importance.error[1] < 0.02


def test_what_decides_only_together_says_nothing_alone(quadrants):
    classes = landscape.classify(quadrants, lambda t, x: t["a"] * t["b"] > 0)
    assert classes.importance().sentence.startswith("No parameter by itself")


def test_chance_is_passed_in_one_case_of_a_hundred():
    """Labels without relation: in few of 60 sets is one of five parameters told as telling."""
    rng = np.random.default_rng(5)
    told = 0
    for _ in range(60):
        theta = lf.Table(rng.random((300, 5)), list("abcde"))
        classes = landscape.Classes(theta, ("x", "y"), rng.integers(0, 2, 300), np.ones(300))
        importance = classes.importance(seed=int(rng.integers(2**31)))
        told += importance.bits.max() > importance.chance
    assert told <= 5  # P(Bin(60, 0.01) > 5) < 1e-4


def test_grids_have_a_bin_for_each_level():
    levels = np.repeat([0.0, 1.0, 5.0], 4)
    assert landscape.classes.binned(levels).tolist() == np.repeat([0, 1, 2], 4).tolist()
    many = np.random.default_rng(0).random(1_200)
    assert np.all(np.bincount(landscape.classes.binned(many)) == 100)


def test_without_a_function_validity_is_the_class():
    prior = lf.Prior(a=lf.Uniform(0, 1))
    broken = lf.BatchSimulator(lambda t, s: np.where(t < 0.5, np.nan, t), ("x",))
    sims = lf.simulate(lf.Model(prior, broken), 500, seed=0)
    classes = landscape.classify(sims)
    assert set(classes.names) == {"valid", "invalid"}
    assert np.all(classes.of("invalid")["a"] < 0.5)
    with pytest.raises(ValueError, match=r"class out of .*; got 'silent'"):
        classes.of("silent")
    with pytest.raises(ValueError, match=r"label for each of 500 simulations; got shape \(3,\)"):
        landscape.classify(sims, lambda theta, x: [1, 2, 3])
    with pytest.raises(ValueError, match=r"labels out of no; got yes too"):
        landscape.classify(sims, lambda theta, x: ["yes"] * 500, names=["no"])


def test_the_crab_is_pyloric(data):
    """So are the measured statistics, in either order; not when LP starts after PY."""
    for order in ("pyloric", "7_stg"):
        model = lf.models.stg(order=order)
        crab = model.targets["prep_845_082"]
        x = crab.table_for(model.statistics)
        assert lf.models.pyloric(None, x).tolist() == ["pyloric-like"]
        late = dict(crab) | {"start_AB_to_start_LP": 1_000.0}
        wrong = lf.Observation(**late).table_for(model.statistics)
        assert lf.models.pyloric(None, wrong).tolist() == ["triphasic"]
        nothing = lf.Table(np.full((1, 18), np.nan), model.statistics)
        assert lf.models.pyloric(None, nothing).tolist() == ["no triphasic rhythm"]
