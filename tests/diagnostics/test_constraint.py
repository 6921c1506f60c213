"""How much a parameter was narrowed down, against widths and under a change of scale."""

import numpy as np
import pytest

import lanternfish as lf
from lanternfish.diagnostics import constraints

DRAWS = 20_000
ERROR = 0.05  # of a ratio of shares of some thousand draws


class Any:
    """As much of a posterior as is asked for."""

    def __init__(self, **laws):
        self.prior = lf.Prior(**laws)
        self.parameters = self.prior.columns


def samples_of(posterior, values):
    return lf.Table(np.asarray(values)[:, None], posterior.parameters)


def test_narrowing_is_the_ratio_of_widths_for_a_uniform_prior():
    posterior = Any(a=lf.Uniform(0, 10, unit="ms"))
    values = np.random.default_rng(0).uniform(4, 5, DRAWS)
    found = constraints(posterior, samples_of(posterior, values))[0]
    assert found.narrowing == pytest.approx(10.0, rel=ERROR)
    assert (found.low, found.high) == pytest.approx((4.05, 4.95), abs=0.01)
    assert (found.prior_low, found.prior_high) == (0.0, 10.0)
    assert found.column.unit == "ms"
    assert found.edge == ""


def test_narrowing_does_not_depend_on_the_scale():
    values = np.random.default_rng(0).uniform(-1, 1, DRAWS)
    plain, log = Any(a=lf.Uniform(-2, 2)), Any(a=lf.LogUniform(1e-2, 1e2))
    first = constraints(plain, samples_of(plain, values))[0]
    second = constraints(log, samples_of(log, 10**values))[0]
    assert first.narrowing == pytest.approx(second.narrowing, rel=ERROR)


def test_a_prior_is_not_narrower_than_itself():
    posterior = Any(a=lf.Normal(0, 1))
    values = np.random.default_rng(0).normal(size=DRAWS)
    found = constraints(posterior, samples_of(posterior, values))[0]
    assert found.narrowing == pytest.approx(1.0, rel=ERROR)
    assert found.prior_low < -2.5
    assert found.prior_high > 2.5


@pytest.mark.parametrize(("values", "edge"), [((0.0, 0.03), "lower"), ((0.97, 1.0), "upper")])
def test_a_posterior_at_the_edge_of_its_prior_is_noticed(values, edge):
    posterior = Any(a=lf.Uniform(0, 1))
    drawn = np.random.default_rng(0).uniform(*values, DRAWS)
    assert constraints(posterior, samples_of(posterior, drawn))[0].edge == edge
