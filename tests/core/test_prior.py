"""Priors: products of laws by name, their draws, densities, bijections and descriptions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_table import JOINT, SCALAR
from scipy import stats

from lanternfish.core import (
    Column,
    CorrelatedNormal,
    Custom,
    FromSamples,
    LogNormal,
    LogUniform,
    Normal,
    Prior,
    Table,
    Uniform,
)
from lanternfish.core.prior import key_data

FLOAT32 = 2.0**-23
LOG_PROB = 1_000 * FLOAT32  # a sum over seven parameters, log densities of size up to 60
DRAWS = 4_000
PRODUCT = Prior(  # kinds interleaved: laws of one kind are evaluated together
    JOINT["correlated normal"][0],
    u=Uniform(0, 1),
    n=Normal(0, 2),
    v=Uniform(-80, -40),
    m=LogNormal(0, 1),
    w=Uniform(1e-6, 3e-6),
)
ORACLES = {
    "u": stats.uniform(0, 1),
    "n": stats.norm(0, 2),
    "v": stats.uniform(-80, 40),
    "m": stats.lognorm(1),
    "w": stats.uniform(1e-6, 2e-6),
}
SMALL = Prior(u=LogUniform(0.1, 10), k=LogNormal(0, 1))


def test_names_units_labels_and_bounds():
    joint = CorrelatedNormal((Column("a", "mV"), "b"), [0, 0], np.eye(2))
    prior = Prior(joint, u=Uniform(0, 1, unit="mS/cm2", label="$g$"), n=LogUniform(1, 9))
    assert prior.names == ("a", "b", "u", "n")
    assert len(prior) == 4
    assert [c.axis_label for c in prior.columns] == ["a (mV)", "b", "$g$ (mS/cm2)", "n"]
    assert prior.low.tolist() == [-np.inf, -np.inf, 0, 1]
    assert prior.high.tolist() == [np.inf, np.inf, 1, 9]
    assert prior.has_density
    assert repr(prior).splitlines() == [
        "Prior of 4 parameters",
        "  u = Uniform(0, 1) mS/cm2",
        "  n = LogUniform(1, 9)",
        "  a, b: CorrelatedNormal",
    ]


def test_log_prob_is_the_sum_over_laws():
    theta = PRODUCT.sample(200)
    expected = JOINT["correlated normal"][1](theta[["a1", "a2"]].array)
    for name, oracle in ORACLES.items():
        expected = expected + oracle.logpdf(theta[name])
    got = PRODUCT.log_prob(theta)
    np.testing.assert_allclose(got, expected, rtol=LOG_PROB, atol=LOG_PROB)


def test_parameters_are_independent(draws):
    ranks = stats.spearmanr(draws[[f"p{i}" for i in range(len(SCALAR))]].array).statistic
    off = ranks[np.triu_indices(len(SCALAR), 1)]
    assert np.max(np.abs(off)) < 6 / np.sqrt(DRAWS)  # six standard errors


@pytest.mark.parametrize("n", [0, 1, 255, 257, 4_097])
def test_draw_depends_on_seed_and_number_alone(seed, n):
    some, more = SMALL.sample(n, seed=seed), SMALL.sample(300, seed=seed)
    shared = min(n, 300)
    np.testing.assert_array_equal(some.array[:shared], more.array[:shared])


def test_another_seed_gives_other_draws():
    assert not np.any(SMALL.sample(10, seed=1)["u"] == SMALL.sample(10, seed=2)["u"])


def test_draws_at_any_seeds_in_any_order():
    seeds = np.array([5, 2**63, 17], np.uint64)
    np.testing.assert_array_equal(SMALL.sample_at(seeds)[::-1], SMALL.sample_at(seeds[::-1]))


def test_all_draws_lie_inside(everything, draws):
    assert everything.contains(draws).all()


def test_bijection_round_trip_and_log_det():
    prior = PRODUCT
    z = jnp.asarray(np.random.default_rng(2).normal(size=(20, len(prior))), jnp.float32)

    @jax.jit
    @jax.vmap
    def both_ways(z):
        theta, log_det = prior.bijection.transform_and_log_det(z)
        again, inverse_log_det = prior.bijection.inverse_and_log_det(theta)
        jacobian = jax.jacfwd(prior.bijection.transform)(z)
        return theta, again, log_det, inverse_log_det, jacobian

    theta, again, log_det, inverse_log_det, jacobian = both_ways(z)
    np.testing.assert_allclose(again, z, atol=1_000 * FLOAT32)
    np.testing.assert_allclose(log_det, -inverse_log_det, rtol=LOG_PROB, atol=LOG_PROB)
    expected = np.linalg.slogdet(np.asarray(jacobian, float))[1]
    np.testing.assert_allclose(log_det, expected, rtol=LOG_PROB, atol=LOG_PROB)
    assert prior.contains(np.asarray(theta, float)).all()


def test_density_outside_is_zero_and_nan_is_outside():
    array = PRODUCT.sample(200).array.copy()
    place = PRODUCT.names.index("u")
    array[:3, place] = [2.5, -100, np.nan]
    assert np.isneginf(PRODUCT.log_prob(array))[:4].tolist() == [True, True, True, False]
    assert PRODUCT.contains(array)[:4].tolist() == [False, False, False, True]


@pytest.mark.parametrize("case", SCALAR, ids=lambda case: case.name)
def test_description_round_trip_of_scalar_laws(case):
    prior = Prior(p=case.law)
    again = Prior.from_dict(json.loads(json.dumps(prior.to_dict())))
    assert again.to_dict() == prior.to_dict()
    assert again.columns == prior.columns


@pytest.mark.parametrize("name", [n for n in JOINT if n != "custom"])
def test_description_round_trip_of_joint_laws(name):
    law = JOINT[name][0]
    again = Prior.from_dict(json.loads(json.dumps(Prior(law).to_dict()))).joint_laws[0]
    assert again.columns == law.columns
    for part in ("mean", "root", "points", "minimum", "maximum"):
        if hasattr(law, part):
            np.testing.assert_allclose(getattr(again, part), getattr(law, part), rtol=1e-12)


def test_samples_at_the_edge_of_their_bounds_are_read_back():
    samples = np.random.default_rng(3).random((50, 1))
    samples[0] = 1 - 1e-12
    prior = Prior(FromSamples(("a",), samples, low=0, high=1))
    again = Prior.from_dict(json.loads(json.dumps(prior.to_dict())))
    np.testing.assert_array_equal(again.joint_laws[0].given, samples)


def test_theta_as_table_mapping_or_array():
    prior = Prior(a=Uniform(0, 1), b=Uniform(0, 2))
    expected = [-np.log(2)]
    given = [[0.5, 1.5], [[0.5, 1.5]], {"b": 1.5, "a": 0.5}, Table([[1.5, 0.5]], ("b", "a"))]
    for theta in given:
        np.testing.assert_allclose(prior.log_prob(theta), expected, rtol=1e-6)


def test_seeds_to_key_words():
    words = key_data(np.array([2**33 + 7], np.uint64))
    assert words.tolist() == [[2, 7]]


def _without_density():
    return Prior(Custom(("a",), lambda key: jax.random.uniform(key, (1,)), low=0, high=1))


def test_prior_without_density_can_be_sampled():
    prior = _without_density()
    assert not prior.has_density
    assert len(prior.sample(3)) == 3


def _ab():
    return Prior(a=Uniform(0, 1), b=Uniform(0, 2))


def _custom(value):
    return Prior(Custom(("a",), lambda key: jnp.full(1, value), low=0, high=1))


WRONG = {
    "no parameter": lambda: Prior(),
    "name twice": lambda: Prior(JOINT["custom"][0], f1=Uniform(0, 1)),
    "number for a law": lambda: Prior(a=1.0),
    "scalar law without a name": lambda: Prior(Uniform(0, 1)),
    "negative n": lambda: _ab().sample(-1),
    "half a sample": lambda: _ab().sample(2.5),
    "negative seed": lambda: _ab().sample(1, seed=-1),
    "theta of wrong shape": lambda: _ab().log_prob(np.zeros((4, 3))),
    "theta of three axes": lambda: _ab().log_prob(np.zeros((1, 1, 2))),
    "theta of text": lambda: _ab().log_prob([["x", "y"]]),
    "missing name": lambda: _ab().log_prob({"a": 0.1}),
    "unknown name": lambda: _ab().log_prob({"a": 0.1, "b": 0.1, "c": 0.1}),
    "columns of other lengths": lambda: _ab().log_prob({"a": [0.1, 0.2], "b": [1, 1, 1]}),
    "unknown name in a table": lambda: _ab().log_prob(Table([[0.1, 0.1]], ("a", "z"))),
    "outside": lambda: _ab().check_inside([[0.5, 0.5], [0.5, 3.0]]),
    "NaN": lambda: _ab().check_inside([[np.nan, 0.5]]),
    "no density": lambda: _without_density().log_prob([[0.5]]),
    "draw outside its bounds": lambda: _custom(2.0).sample(1),
    "NaN draw": lambda: _custom(np.nan).sample(1),
    "law of another version": lambda: Prior.from_dict(
        {"joint": [], "named": {"a": {"law": "Cauchy"}}}
    ),
    "custom law from a folder": lambda: Prior.from_dict(_without_density().to_dict()),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    with pytest.raises((ValueError, TypeError), match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name]()


def test_out_of_support_names_parameter_bounds_and_row():
    with pytest.raises(ValueError, match=r"b between 0 and 2.+; got 3 in row 1\."):
        _ab().check_inside([[0.5, 0.5], [0.5, 3.0]])
